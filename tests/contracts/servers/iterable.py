"""Emulator of Iterable's API (users/bulkUpdate, delete, getFields), from its documented answers: counts and lists of keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from syncs.errors import ErrorType
from tests.contracts.harness import HttpHarness
from tests.contracts.servers.base import TOKEN, ContractServer, fault_of
from tests.servers import Answer, Request


def refusal(status: int, code: str, message: str) -> Answer:
    return Answer.json({"msg": message, "code": code, "params": None}, status)


@dataclass
class Iterable(ContractServer):
    """A taken address is a conflict of the user id; a malformed address stands in the list of addresses; a user without address
    has bad data. ``key``: what users are identified by."""

    key: str = "userId"

    def is_known(self, request: Request) -> bool:
        return request.headers.get("api-key") == self.token

    def unauthorized(self) -> Answer:
        return refusal(401, "BadApiKey", "Invalid API key")

    def answer(self, request: Request) -> Answer:
        parts = [unquote(part) for part in request.path.strip("/").split("/")]
        if parts == ["api", "users", "getFields"]:
            fields = {"email": "string", "userId": "string", "plan": "string", "signupDate": "date", "address.city": "string"}
            return Answer.json({"fields": fields})
        if request.method == "DELETE":
            if self.stored.pop(parts[-1], None) is None:
                return refusal(400, "error.users.noUserWithIdExists", f"No user exists with userId: {parts[-1]}")
            return Answer.json({"msg": "", "code": "Success", "params": None})
        body = request.json()
        assert parts == ["api", "users", "bulkUpdate"]
        assert body["createNewFields"] is True
        if len(body["users"]) > 1000:
            return refusal(400, "BadParams", "[/api/users/bulkUpdate] too many users")
        return Answer.json(self._updated(body["users"]))

    def _updated(self, users: list[dict[str, Any]]) -> dict[str, Any]:
        suffix = "UserIds" if self.key == "userId" else "Emails"
        lists: dict[str, list[str]] = {}
        for user in users:
            assert user.get("preferUserId", False) is (self.key == "userId")
            fault = fault_of(user)
            if fault is None:
                self.keep(user[self.key], {**user, **user.get("dataFields", {})})
            elif fault.kind == "invalid":
                lists.setdefault("invalidEmails", []).append(user["email"])
            else:
                name = {"duplicate": "conflict", "required": "invalidData"}[fault.kind]
                lists.setdefault(name + suffix, []).append(user[self.key])
        failed = sum(map(len, lists.values()))
        nothing: dict[str, list[str]] = {"invalidEmails": [], "invalidUserIds": []}
        counts = {"successCount": len(users) - failed, "failCount": failed}
        return {**counts, **nothing, "filteredOutFields": [], "createdFields": [], "failedUpdates": {**nothing, **lists}}


HARNESS = HttpHarness(
    kind="iterable",
    server=Iterable,
    config=lambda url: {"base_url": url},
    object_name="users",
    secrets={"api_key": TOKEN},
    payload=lambda key, values: {
        "email": values["email"],
        "dataFields": {name: value for name, value in values.items() if name != "email"},
    },
    faults={"bad": ErrorType.VALIDATION, "dup@x.test": ErrorType.DUPLICATE_KEY, None: ErrorType.VALIDATION},
    drop=lambda data: {**data, "successCount": data["successCount"] - 1},
)
