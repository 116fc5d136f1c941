"""Real servers from PyPI, started as processes of their own for tests: Datasette and Roundup."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

BIN = Path(sys.executable).parent
START_SECONDS = 60.0


@contextmanager
def datasette(folder: Path, tables: str, *, max_rows: int = 100) -> Iterator[tuple[str, str, Path]]:
    """(address, bearer token, database file) of a Datasette whose database ``crm`` has the tables of the SQL script."""
    path = folder / "crm.db"
    with sqlite3.connect(path) as database:
        database.executescript(tables)
    database.close()
    secret = "datasette-secret-of-the-test"
    actor = [part for name in ("insert-row", "update-row", "delete-row") for part in ("-s", f"permissions.{name}.id", "retl")]
    command = [os.fspath(BIN / "datasette"), os.fspath(path), "--port", "0", "--secret", secret, *actor]
    command += ["--setting", "max_insert_rows", str(max_rows)]
    create = [os.fspath(BIN / "datasette"), "create-token", "retl", "--secret", secret]
    token = subprocess.run(create, check=True, capture_output=True, text=True).stdout.strip()
    with _process(command, folder) as log:
        port = _wait_for(log, lambda text: text.rpartition("http://127.0.0.1:")[2].split()[0] if "http://127" in text else "")
        yield f"http://127.0.0.1:{port}", token, path


@contextmanager
def roundup(folder: Path, *, schema: str, detectors: str = "", calls: int = 0, seconds: int = 4) -> Iterator[str]:
    """The address of a Roundup tracker with more classes, and a user ``sync`` (password ``sync-pw``, role ``Sync``)."""
    home = folder / "tracker"
    admin = [os.fspath(BIN / "roundup-admin"), "-i", os.fspath(home)]
    options = "tracker_web=http://127.0.0.1/,rdbms_backend=sqlite,mail_domain=x.test,mail_host=localhost"
    options += f",web_api_calls_per_interval={calls},web_api_interval_in_sec={seconds}"
    subprocess.run([*admin, "install", "minimal", "sqlite", options], check=True, capture_output=True)
    with (home / "schema.py").open("a") as file:
        file.write(f"\n{schema}\n")
    with (home / "initial_data.py").open("a") as file:
        file.write(
            "\nfrom roundup.password import Password\n"
            "user.create(username='sync', password=Password('sync-pw', config=db.config), address='s@x.test', roles='Sync')\n"
        )
    if detectors:
        (home / "detectors").mkdir(exist_ok=True)
        (home / "detectors" / "rules.py").write_text(detectors)
    subprocess.run([*admin, "initialise", "admin-pw"], check=True, capture_output=True)
    command = [sys.executable, "-W", "ignore", "-c", _ROUNDUP_SERVER, os.fspath(home)]
    with _process(command, folder) as log:
        port = _wait_for(log, lambda text: text.partition("port=")[2].split()[0] if "port=" in text else "")
        yield f"http://127.0.0.1:{port}"


# Its own server refuses to run as root, so the tracker's WSGI application is served by the standard library. The tracker must
# know its address, because it compares it with the Origin header.
_ROUNDUP_SERVER = """
import sys, pathlib, re
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from roundup.cgi.wsgi_handler import RequestDispatcher
class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
server = make_server("127.0.0.1", 0, None, Server)
config = pathlib.Path(sys.argv[1], "config.ini")
text = re.sub(r"(?m)^web = .*$", f"web = http://127.0.0.1:{server.server_port}/", config.read_text())
config.write_text(text)
server.set_app(RequestDispatcher(sys.argv[1]))
print(f"port={server.server_port} ", file=sys.stderr, flush=True)
server.serve_forever()
"""


@contextmanager
def _process(command: list[str], folder: Path) -> Iterator[Path]:
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=folder)
    try:
        yield log
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(log: Path, find) -> str:
    """The port, once the log tells it and the server answers there."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        port = find(log.read_text(errors="replace"))
        if port and _answers(port):
            return port
        time.sleep(0.05)
    raise AssertionError(f"The server did not start:\n{log.read_text(errors='replace')[-2000:]}")


def _answers(port: str) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/", timeout=10):
            return True
    except HTTPError as error:
        error.close()
        return True
    except OSError:
        return False
