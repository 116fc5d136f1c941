"""Emulator of Klaviyo's API (bulk profile import jobs and their errors), from its documented answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.contracts.harness import HttpHarness
from tests.contracts.servers.base import TOKEN, ContractServer, fault_of
from tests.servers import Answer, Request

REVISION = "2026-07-15"
_CODES = {"invalid": "invalid", "duplicate": "duplicate_profile", "required": "required"}


def problem(status: int, code: str, detail: str, pointer: str = "/data") -> Answer:
    error = {"id": "0f6c", "status": status, "code": code, "title": code, "detail": detail, "source": {"pointer": pointer}}
    return Answer.json({"errors": [error]}, status)


@dataclass
class Klaviyo(ContractServer):
    """``patience``: how often a job says that it works before it is done. ``page``: errors a page holds. ``wrapped``: an error
    repeats the whole profile as it was sent; else its attributes alone."""

    patience: int = 1
    page: int = 2
    wrapped: bool = False
    url: str = ""
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)

    def is_known(self, request: Request) -> bool:
        return request.headers.get("authorization") == f"Klaviyo-API-Key {self.token}"

    def unauthorized(self) -> Answer:
        return problem(401, "not_authenticated", "Authentication credentials were not provided.")

    def answer(self, request: Request) -> Answer:
        assert request.headers["revision"] == REVISION
        parts = request.path.removeprefix("/api/").split("/")
        match request.method, parts:
            case "GET", ["accounts"]:
                return Answer.json({"data": [{"type": "account", "id": "AbC123"}]})
            case "POST", ["profile-bulk-import-jobs"]:
                return self._job(request.json()["data"])
            case "GET", ["profile-bulk-import-jobs", name] if name in self.jobs:
                return self._status(name)
            case "GET", ["profile-bulk-import-jobs", name, "import-errors"] if name in self.jobs:
                return self._errors(name, request)
        return problem(404, "not_found", "The requested object could not be found.")

    def _job(self, data: dict[str, Any]) -> Answer:
        profiles = data["attributes"]["profiles"]["data"]
        if len(profiles) > 10_000:
            return problem(400, "invalid", "Too many profiles.", "/data/attributes/profiles")
        assert all(profile["type"] == "profile" for profile in profiles)
        name = f"job{len(self.jobs) + 1}"
        errors = [error for profile in profiles if (error := self._error(profile)) is not None]
        counts = {"total_count": len(profiles), "completed_count": len(profiles), "failed_count": len(errors)}
        self.jobs[name] = {"errors": errors, "counts": counts, "lists": data.get("relationships")}
        return Answer.json(self._shown(name, "queued"), 202)

    def _error(self, profile: dict[str, Any]) -> dict[str, Any] | None:
        attributes = profile["attributes"]
        if fault := fault_of(attributes):
            told = {"code": _CODES[fault.kind], "title": "Invalid input", "detail": fault.message}
            source = {"pointer": f"/data/attributes/{fault.field}"}
            original = profile if self.wrapped else attributes
            return {
                "type": "import-error",
                "id": "e4ee",
                "attributes": {**told, "source": source, "original_payload": original},
            }
        self.keep(attributes["external_id"], {**attributes, **attributes.get("properties", {})})
        return None

    def _shown(self, name: str, status: str) -> dict[str, Any]:
        counts = (
            self.jobs[name]["counts"] if status == "complete" else {"total_count": self.jobs[name]["counts"]["total_count"]}
        )
        return {"data": {"type": "profile-bulk-import-job", "id": name, "attributes": {"status": status, **counts}}}

    def _status(self, name: str) -> Answer:
        self.asked[name] = self.asked.get(name, 0) + 1
        data = self._shown(name, "complete" if self.asked[name] > self.patience else "processing")
        return Answer.json(self.tamper(data) if self.tamper else data)

    def _errors(self, name: str, request: Request) -> Answer:
        start = int(request.query.get("page[cursor]", ["0"])[0])
        errors = self.jobs[name]["errors"]
        path = f"/api/profile-bulk-import-jobs/{name}/import-errors?page%5Bcursor%5D={start + self.page}"
        following = self.url + path if start + self.page < len(errors) else None
        return Answer.json({"data": errors[start : start + self.page], "links": {"self": "", "next": following}})


def _one_more_failed(data: dict[str, Any]) -> dict[str, Any]:
    attributes = data["data"]["attributes"]
    if attributes["status"] != "complete":
        return data
    return {"data": {**data["data"], "attributes": {**attributes, "failed_count": attributes["failed_count"] + 1}}}


HARNESS = HttpHarness(
    kind="klaviyo",
    server=Klaviyo,
    config=lambda url: {"base_url": url},
    object_name="profiles",
    secrets={"api_key": TOKEN},
    payload=lambda key, values: {
        "email": values["email"],
        "properties": {name: value for name, value in values.items() if name != "email"},
    },
    drop=_one_more_failed,
)
