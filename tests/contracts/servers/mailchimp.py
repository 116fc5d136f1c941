"""Emulator of Mailchimp's Marketing API 3.0 (one audience: members in batches, archive, merge fields), from its documents."""

from __future__ import annotations

import base64
import hashlib
from typing import Any
from urllib.parse import unquote

from tests.contracts.harness import HttpHarness
from tests.contracts.servers.base import TOKEN, ContractServer, fault_of
from tests.servers import Answer, Request

AUDIENCE = "9e67587f52"
MERGE_FIELDS: list[dict[str, Any]] = [
    {"tag": "FNAME", "name": "First name", "type": "text", "required": True, "options": {"size": 25}},
    {"tag": "PLAN", "name": "Plan", "type": "dropdown", "required": False, "options": {"choices": ["free", "paid"]}},
]
_STATUS = ("subscribed", "unsubscribed", "cleaned", "pending", "transactional")
_CODES = {"invalid": "ERROR_GENERIC", "duplicate": "ERROR_CONTACT_EXISTS", "required": "ERROR_GENERIC"}


def problem(status: int, title: str, detail: str, errors: list[dict[str, str]] | None = None) -> Answer:
    data: dict[str, Any] = {"type": "https://mailchimp.com/developer/marketing/docs/errors/", "title": title, "status": status}
    return Answer.json({**data, "detail": detail, "instance": "3b4dcb40", **({"errors": errors} if errors else {})}, status)


class Mailchimp(ContractServer):
    """A member is bad as its merge field ``EMAIL`` says; without that field, as its address says. No null is taken."""

    def is_known(self, request: Request) -> bool:
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        return kind == "Basic" and base64.b64decode(value).decode().partition(":")[2] == self.token

    def unauthorized(self) -> Answer:
        return problem(401, "API Key Invalid", "Your API key may be invalid, or it is for another datacenter.")

    def answer(self, request: Request) -> Answer:
        parts = [unquote(part) for part in request.path.strip("/").split("/")]
        if parts[:2] != ["lists", AUDIENCE]:
            return problem(404, "Resource Not Found", "The requested resource could not be found.")
        if request.method == "GET":
            is_fields = parts[2:] == ["merge-fields"]
            return Answer.json({"merge_fields": MERGE_FIELDS} if is_fields else {"id": AUDIENCE, "name": "News"})
        if request.method == "DELETE":
            is_known = self.stored.pop(parts[3], None) is not None
            return Answer(204) if is_known else problem(404, "Resource Not Found", "No member.")
        body = request.json()
        assert body["update_existing"] is True
        return self._subscribed(body["members"])

    def _subscribed(self, members: list[dict[str, Any]]) -> Answer:
        if len(members) > 500:
            return problem(400, "Bad Request", "You can only batch 500 members at a time.")
        for number, member in enumerate(members):
            if member.get("status") not in _STATUS:  # the request as a whole does not fit the schema
                text = f"Value must be one of: {', '.join(_STATUS)}."
                detail = "The resource submitted could not be validated. For field-specific details, see the 'errors' array."
                return problem(400, "Invalid Resource", detail, [{"field": f"members.{number}.status", "message": text}])
            if None in (*member.values(), *member.get("merge_fields", {}).values()):
                return problem(400, "Invalid Resource", "Schema describes string, NULL found instead")
        new, updated, errors = [], [], []
        for member in members:
            address = member["email_address"]
            if fault := fault_of({"email": member.get("merge_fields", {}).get("EMAIL", address)}):
                error = {"email_address": address, "error": fault.message, "error_code": _CODES[fault.kind], "field": "email"}
                errors.append({**error, "field_message": fault.message})
            else:
                flat = {name.lower(): value for name, value in member.get("merge_fields", {}).items()}
                is_new = self.keep(address, {**member, **flat})
                item = {**member, "id": hashlib.md5(address.lower().encode(), usedforsecurity=False).hexdigest()}
                (new if is_new else updated).append({**item, "email_address": address.lower()})
        counts = {"total_created": len(new), "total_updated": len(updated), "error_count": len(errors)}
        return Answer.json({"new_members": new, "updated_members": updated, "errors": errors, **counts})


HARNESS = HttpHarness(
    kind="mailchimp",
    server=Mailchimp,
    config=lambda url: {"base_url": url, "data_center": "us6", "audience_id": AUDIENCE},
    object_name="members",
    secrets={"password": TOKEN},
    payload=lambda key, values: {
        "status": "subscribed",
        "merge_fields": {name.upper(): value for name, value in values.items()},
    },
    drop=lambda data: {**data, "new_members": data["new_members"][:-1]},
)
