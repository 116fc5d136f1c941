"""Emulator of Zendesk's Support API (user jobs, job statuses, organizations, tickets, fields), from its documented answers."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from tests.contracts.harness import HttpHarness
from tests.contracts.servers.base import TOKEN, ContractServer, Fault, fault_of
from tests.servers import Answer, Request

EMAIL = "agent@acme.test"
USER_FIELDS: list[dict[str, Any]] = [
    {"key": "plan", "title": "Plan", "type": "dropdown", "active": True, "custom_field_options": [{"value": "free"}]},
    {"key": "old", "title": "Old", "type": "text", "active": False},
]
_SAID = {
    "invalid": "Email: {} is not properly formatted",
    "duplicate": "Email: {} is already being used by another user",
    "required": "Email: cannot be blank",
}
_CODES = {"invalid": "InvalidFormat", "duplicate": "DuplicateValue", "required": "BlankValue"}


def said(fault: Fault, record: dict[str, Any]) -> str:
    return _SAID[fault.kind].format(record.get("email"))


def invalid(fault: Fault, record: dict[str, Any]) -> Answer:
    details = {fault.field: [{"description": said(fault, record), "error": _CODES[fault.kind]}]}
    return Answer.json({"error": "RecordInvalid", "description": "Record validation errors", "details": details}, 422)


@dataclass
class Zendesk(ContractServer):
    """``patience``: how often a job says that it works before it is done. ``keys``: idempotency key -> ticket it made."""

    patience: int = 1
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    def is_known(self, request: Request) -> bool:
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        return kind == "Basic" and base64.b64decode(value).decode() == f"{EMAIL}/token:{self.token}"

    def unauthorized(self) -> Answer:
        return Answer.json({"error": "Couldn't authenticate you"}, 401)

    def answer(self, request: Request) -> Answer:
        parts = [unquote(part) for part in request.path.removeprefix("/api/v2/").split("/")]
        if request.method == "GET":
            return self._read(parts, request)
        if request.method == "DELETE":
            self.stored.pop(parts[1].removeprefix("id-"), None)
            return Answer.json({"user": {"id": parts[1], "active": False}}) if parts[0] == "users" else Answer(204)
        match parts:
            case ["users", "create_or_update_many"]:
                return self._job(request.json()["users"])
            case ["organizations", "create_or_update"]:
                return self._organization(request.json()["organization"])
            case ["tickets"]:
                return self._ticket(request.json()["ticket"], request.headers["idempotency-key"])
        return Answer.json({"error": "InvalidEndpoint", "description": "Not found"}, 404)

    def _read(self, parts: list[str], request: Request) -> Answer:
        match parts:
            case ["job_statuses"]:
                return Answer.json({"job_statuses": [], "meta": {"has_more": False}})
            case ["job_statuses", name]:
                return self._status(name)
            case [("user_fields" | "organization_fields") as name]:
                return self._fields(name, request)
            case [kind, "search"]:
                key = request.query["external_id"][0]
                return Answer.json({kind: [{"id": f"id-{key}"}] if key in self.stored else []})
        return Answer.json({"error": "RecordNotFound", "description": "Not found"}, 404)

    def _fields(self, name: str, request: Request) -> Answer:
        """One field a page."""
        start = int(request.query.get("page[after]", ["0"])[0])
        has_more = start + 1 < len(USER_FIELDS)
        following = (
            f"https://acme.zendesk.com/api/v2/{name}?page%5Bafter%5D={start + 1}&page%5Bsize%5D=100" if has_more else None
        )
        page = {name: USER_FIELDS[start : start + 1], "meta": {"has_more": has_more}, "links": {"next": following}}
        return Answer.json(page)

    def _job(self, users: list[dict[str, Any]]) -> Answer:
        if len(users) > 100:
            return Answer.json({"error": "TooManyValues", "description": "Over the limit of 100 users"}, 400)
        name = f"job{len(self.jobs) + 1}"
        results = [self._result(number, user) for number, user in enumerate(users)]
        self.jobs[name] = {"results": results, "total": len(users)}
        return Answer.json({"job_status": {"id": name, "total": len(users), "status": "queued", "results": None}})

    def _result(self, number: int, user: dict[str, Any]) -> dict[str, Any]:
        if fault := fault_of(user):
            return {"id": number, "status": "Failed", "error": "UserUpdateError", "details": said(fault, user)}
        is_new = self.keep(user["external_id"], {**user, **user.get("user_fields", {})})
        key = user["external_id"]
        return {"id": f"id-{key}", "status": "Created" if is_new else "Updated", "email": user["email"], "external_id": key}

    def _status(self, name: str) -> Answer:
        if name not in self.jobs:
            return Answer.json({"error": "RecordNotFound", "description": "Not found"}, 404)
        self.asked[name] = self.asked.get(name, 0) + 1
        if self.asked[name] <= self.patience:
            return Answer.json({"job_status": {"id": name, "status": "working", "progress": 1, "results": None}})
        data = {"job_status": {"id": name, "status": "completed", "message": "Completed at 2026-11-23", **self.jobs[name]}}
        return Answer.json(self.tamper(data) if self.tamper else data)

    def _organization(self, record: dict[str, Any]) -> Answer:
        if fault := fault_of({"email": record.get("name")}):
            return invalid(fault, record)
        is_new = self.keep(record["external_id"], record)
        return Answer.json({"organization": {"id": f"id-{record['external_id']}", **record}}, 201 if is_new else 200)

    def _ticket(self, record: dict[str, Any], key: str) -> Answer:
        lookup = "hit" if key in self.keys else "miss"
        if lookup == "miss":
            self.keys[key] = record["external_id"]
            self.stored[f"ticket {len(self.keys)}"] = record
        return Answer.json({"ticket": {"id": 35436}}, 201, headers={"x-idempotency-lookup": lookup})


HARNESS = HttpHarness(
    kind="zendesk",
    server=Zendesk,
    config=lambda url: {"base_url": url, "subdomain": "acme", "email": EMAIL},
    object_name="users",
    secrets={"password": TOKEN},
    payload=lambda key, values: {
        "name": "Ann",
        "email": values["email"],
        "user_fields": {name: value for name, value in values.items() if name != "email"},
    },
    drop=lambda data: (
        {"job_status": {**data["job_status"], "results": data["job_status"]["results"][:-1]}}
        if data["job_status"].get("status") == "completed"
        else data
    ),
)
