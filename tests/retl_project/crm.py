"""The sandbox CRM as tests start it: the real process, on a port of its own, with its own store."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "sandbox-token"


class Crm:
    """A running CRM and a session that holds its token."""

    def __init__(self, address: str, process: subprocess.Popen[str]) -> None:
        self.address = address
        self.process = process
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {TOKEN}"

    def send(self, name: str, records: list[dict[str, Any]], *, operation: str = "upsert", key: str = "") -> requests.Response:
        return self.post(f"/api/objects/{name}/batch/{operation}", json.dumps({"records": records}).encode(), key=key)

    def post(self, path: str, body: bytes, *, key: str = "") -> requests.Response:
        headers = {"Idempotency-Key": key} if key else {}
        return self.session.post(self.address + path, data=body, headers=headers, timeout=10)

    def get(self, path: str, **kwargs: Any) -> requests.Response:
        return self.session.get(self.address + path, timeout=30, **kwargs)

    def records(self, name: str) -> dict[str, dict[str, Any]]:
        """Everything the CRM holds of one object: key -> properties, numbers as written."""
        answer = self.get(f"/admin/records?object={name}&limit=1000000")
        return {record["key"]: record["properties"] for record in json.loads(answer.text)["records"]}

    def receipts(self) -> list[dict[str, Any]]:
        answer = self.get("/admin/receipts?limit=10000000").json()
        found: list[dict[str, Any]] = answer["receipts"]
        return found


@contextmanager
def sandbox_crm(*arguments: str, state: Path | str = ":memory:") -> Iterator[Crm]:
    """Without a request budget and without 503s unless ``arguments`` ask for them."""
    command = [sys.executable, "-m", "retl_project.demo.sandbox_crm", "--port", "0", "--state", str(state)]
    command += ["--budget", "0/1", "--unavailable-every", "0", "--stop-with-stdin", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), address
        crm = Crm(address, process)
        try:
            yield crm
        finally:
            crm.session.close()
            process.stdin.close()
            process.wait(10)


def country(code: str = "US", **changes: Any) -> dict[str, Any]:
    properties = {"code": code, "name": f"Country {code}", "region": "America", "airport_count": 1, **changes}
    return {"ref": code, "properties": properties}


def airport(code: str = "00AA", **changes: Any) -> dict[str, Any]:
    properties = {
        "code": code,
        "name": f"Airport {code}",
        "label": f"Airport {code}, Leoti, US",
        "category": "airport",
        "address": {"city": "Leoti", "country": "US"},
        **changes,
    }
    return {"ref": code, "properties": properties}
