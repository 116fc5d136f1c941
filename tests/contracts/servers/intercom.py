"""Emulator of Intercom's REST API 2.14 (contacts, companies, attributes), from its documented answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from tests.contracts.harness import HttpHarness
from tests.contracts.servers.base import ContractServer, fault_of
from tests.servers import Answer, Request

_CODES = {"invalid": "parameter_invalid", "duplicate": "unique_user_constraint", "required": "parameter_not_found"}
ATTRIBUTES: list[dict[str, Any]] = [
    {"name": "email", "full_name": "email", "data_type": "string", "api_writable": True, "custom": False},
    {"name": "plan", "label": "Plan", "data_type": "string", "api_writable": True, "custom": True, "options": ["free", "paid"]},
    {"name": "score", "label": "Score", "data_type": "integer", "api_writable": False, "custom": True},
    {"name": "old", "label": "Old", "data_type": "string", "api_writable": True, "custom": True, "archived": True},
]


def refusal(status: int, code: str, message: str) -> Answer:
    errors = [{"code": code, "message": message}]
    return Answer.json({"type": "error.list", "request_id": "b1b88e2d", "errors": errors}, status)


@dataclass
class Intercom(ContractServer):
    """``hidden``: external ids that the look-up does not find yet, though the contact is there."""

    hidden: frozenset[str] = frozenset()

    def unauthorized(self) -> Answer:
        return refusal(401, "unauthorized", "Access Token Invalid")

    def answer(self, request: Request) -> Answer:
        assert request.headers["intercom-version"] == "2.14"
        parts = [unquote(part) for part in request.path.strip("/").split("/")]
        if request.method == "GET":
            return self._read(parts, request)
        if request.method == "DELETE":
            self.stored.pop(parts[1].removeprefix("id-"), None)
            return Answer.json({"id": parts[1], "type": "contact", "deleted": True})
        record = request.json()
        if parts[0] == "companies":
            return self._kept(record["company_id"], record, "company", 200)
        if request.method == "POST":
            return self._created(record)
        key = parts[1].removeprefix("id-")
        if key not in self.stored:
            return refusal(404, "not_found", "User Not Found")
        return self._kept(key, record, "contact", 200)

    def _read(self, parts: list[str], request: Request) -> Answer:
        if parts == ["me"]:
            return Answer.json({"type": "admin", "id": "1"})
        if parts == ["data_attributes"]:
            assert request.query["model"][0] in ("contact", "company")
            return Answer.json({"type": "list", "data": ATTRIBUTES})
        key = request.query["company_id"][0] if parts == ["companies"] else parts[-1]
        if key in self.stored and key not in self.hidden:
            return Answer.json({"type": "contact", "id": f"id-{key}"})
        return refusal(404, "not_found", "User Not Found")

    def _created(self, record: dict[str, Any]) -> Answer:
        assert record["role"] == "user"
        key = record["external_id"]
        if key in self.stored:
            return refusal(409, "conflict", f"A contact matching those details already exists with id=id-{key}")
        return self._kept(key, record, "contact", 200)

    def _kept(self, key: str, record: dict[str, Any], kind: str, status: int) -> Answer:
        if fault := fault_of(record):
            return refusal(422 if fault.kind == "invalid" else 400, _CODES[fault.kind], fault.message)
        self.keep(key, {**record, **record.get("custom_attributes", {})})
        return Answer.json({"type": kind, "id": f"id-{key}", "external_id": key}, status)


HARNESS = HttpHarness(
    kind="intercom",
    server=Intercom,
    config=lambda url: {"base_url": url},
    object_name="contacts",
    payload=lambda key, values: {
        "email": values["email"],
        "custom_attributes": {name: value for name, value in values.items() if name != "email"},
    },
    drop=lambda data: {},
)
