"""A throwaway Redrive in a temporary folder, driven from outside: manage.py commands and workers as real processes.

    with Installation("sqlite") as redrive:            # or "postgresql"
        redrive.shell("from syncs.models import Sync; ...")
        worker = redrive.start("retl_worker", "--workers", "1")
        worker.wait_for("cluster redrive: started")
        worker.kill()                                  # SIGKILL, the process alone
        assert redrive.processes() == []

Tables are made once per database kind and test process, and copied. Leaving the ``with`` block ends every process that was
started, and what those started.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from tests import postgres

ROOT = Path(__file__).resolve().parent.parent
_templates: dict[str, str] = {}


def until(condition: Callable[[], Any], seconds: float = 30, what: str = "") -> Any:
    """The first true value of the condition. Waits for what other processes bring about; fails when it does not come."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what or 'what was waited for'} did not come within {seconds} s")
        time.sleep(0.05)


class Started:
    """A manage.py command that runs in a process group of its own; its output is in ``log``."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, words: str, seconds: float = 30) -> None:
        def said() -> bool:
            if words in self.text:
                return True
            assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.text[-3000:]}"
            return False

        try:
            until(said, seconds, f"“{words}”")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.text[-3000:]}") from None

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL to this process alone."""
        self.process.kill()
        self.process.wait()

    def wait(self, seconds: float = 60) -> int:
        return self.process.wait(timeout=seconds)


class Installation:
    """``kind``: sqlite or postgresql. ``settings``: environment variables beside those of a debug installation."""

    def __init__(self, kind: str = "sqlite", **settings: str) -> None:
        self.kind = kind
        self.folder = Path(tempfile.mkdtemp(prefix="redrive-install-"))
        self.database_url = _copy_of_template(kind, self.folder)
        self.environment = {**_bare_environment(), "REDRIVE_VAR": str(self.folder), **settings}
        self.environment.setdefault("DATABASE_URL", self.database_url)
        self._started: list[Started] = []

    def __enter__(self) -> Installation:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for started in self._started:
            started.process.wait()
        if self.kind == "postgresql":
            postgres.drop_database(self.database_url.rpartition("/")[2])
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- commands

    def manage(self, *arguments: str, seconds: float = 120, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run one command to its end; the caller looks at ``returncode``, ``stdout`` and ``stderr``."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env={**self.environment, **settings},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def shell(self, code: str) -> str:
        """Run Python in the installation; its standard output."""
        done = self.manage("shell", "--no-imports", "-c", code)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, *arguments: str, **settings: str) -> Started:
        log = self.folder / f"{arguments[0]}-{len(self._started)}.log"
        environment = {**self.environment, "PYTHONUNBUFFERED": "1", **settings}
        started = Started([sys.executable, "manage.py", *arguments], environment, log)
        self._started.append(started)
        return started

    def processes(self) -> list[psutil.Process]:
        """Every living process of this installation, orphans included: all carry its folder in their environment."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("REDRIVE_VAR") == str(self.folder) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    # -- the database, from outside

    def query(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """``sql`` with ``%s`` for parameters, on either database. Committed."""
        if self.kind == "sqlite":
            with contextlib.closing(sqlite3.connect(self.database_path, timeout=30)) as connection, connection:
                return connection.execute(sql.replace("%s", "?"), parameters).fetchall()
        import psycopg

        with psycopg.connect(self.database_url) as pg, pg.cursor() as cursor:
            cursor.execute(sql.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    @property
    def database_path(self) -> Path:
        return self.folder / "redrive.sqlite3"

    def run_status(self, run_id: int) -> str:
        status: str = self.query("SELECT status FROM syncs_run WHERE id = %s", (run_id,))[0][0]
        return status

    def json(self, code: str) -> Any:
        """``shell`` with ``print(json.dumps(...))`` as its last act."""
        return json.loads(self.shell(f"import json\n{code}").strip().splitlines()[-1])


def _bare_environment() -> dict[str, str]:
    ours = ("REDRIVE_", "RETL_", "DJANGO_", "DATABASE_URL", "Q_CLUSTER_NAME", "SECRET_KEY", "DEBUG", "ALLOWED_HOSTS", "COV_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "PYTHONWARNINGS": "default"}


def _copy_of_template(kind: str, folder: Path) -> str:
    if kind not in _templates:
        _templates[kind] = _make_template(kind)
    template = _templates[kind]
    if kind == "sqlite":
        shutil.copy(template, folder / "redrive.sqlite3")
        return f"sqlite:///{folder / 'redrive.sqlite3'}"
    import psycopg

    name = f"i_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(f"{postgres.ensure()}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())
    return f"{postgres.ensure()}/{name}"


def _make_template(kind: str) -> str:
    folder = Path(tempfile.mkdtemp(prefix="redrive-template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if kind == "sqlite":
        template, url = str(folder / "redrive.sqlite3"), f"sqlite:///{folder / 'redrive.sqlite3'}"
    else:
        template = f"template_{uuid.uuid4().hex[:12]}"
        url = postgres.create_database(template)
        owner = os.getpid()
        atexit.register(lambda: _drop(template) if os.getpid() == owner else None)
    environment = {**_bare_environment(), "REDRIVE_VAR": str(folder), "DATABASE_URL": url}
    subprocess.run([sys.executable, "manage.py", "migrate", "-v", "0"], cwd=ROOT, env=environment, check=True, timeout=120)
    if kind == "sqlite":
        with contextlib.closing(sqlite3.connect(template)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return template


def _drop(template: str) -> None:
    with contextlib.suppress(Exception):  # the server may be gone already
        postgres.drop_database(template)
