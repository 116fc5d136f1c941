"""Emulator of Braze's REST API (users/track, users/delete, custom_attributes), from its documented answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.contracts.harness import HttpHarness
from tests.contracts.servers.base import ContractServer, Fault, fault_of
from tests.servers import Answer, Request

ATTRIBUTES: list[dict[str, Any]] = [
    {"name": f"attribute_{number:02}", "data_type": "String", "status": "Active", "description": None} for number in range(60)
]
_ALL_BAD = "Valid data must be provided in the 'attributes', 'events', or 'purchases' fields."


@dataclass
class Braze(ContractServer):
    """``url``: where its links lead."""

    url: str = ""

    def unauthorized(self) -> Answer:
        return Answer.json({"message": "Invalid API Key"}, 401)

    def answer(self, request: Request) -> Answer:
        if request.path == "/custom_attributes":
            return self._attributes(request)
        body = request.json()
        if request.path == "/users/delete":
            return self._deleted(body["external_ids"])
        assert request.path == "/users/track"
        array, items = next(iter(body.items()))
        if len(items) > 75:
            return Answer.json({"message": f"A maximum of 75 {array} may be sent in one request."}, 400)
        return self._tracked(array, items)

    def _tracked(self, array: str, items: list[dict[str, Any]]) -> Answer:
        errors = []
        for index, item in enumerate(items):
            fault = fault_of(item) if array == "attributes" else _fault_of_event(item)
            if fault is not None:
                errors.append({"type": fault.message, "input_array": array, "index": index})
            else:
                self.keep(item["external_id"], item)
        data: dict[str, Any] = {"message": "success", f"{array}_processed": len(items) - len(errors)}
        if len(errors) == len(items):
            return Answer.json({"message": _ALL_BAD, "errors": errors}, 400)
        return Answer.json({**data, "errors": errors} if errors else data, 201)

    def _deleted(self, ids: list[str]) -> Answer:
        if len(ids) > 50:
            return Answer.json({"message": "A maximum of 50 users may be deleted in one request."}, 400)
        known = [key for key in ids if self.stored.pop(key, None) is not None]
        return Answer.json({"deleted": len(known), "message": "success"}, 201)

    def _attributes(self, request: Request) -> Answer:
        start = int(request.query.get("cursor", ["0"])[0])
        page = ATTRIBUTES[start : start + 50]
        link = f'<{self.url}/custom_attributes?cursor={start + 50}>; rel="next"'
        headers = {"Link": link} if start + 50 < len(ATTRIBUTES) else {}
        return Answer.json({"message": "success", "attributes": page}, headers=headers)


def _fault_of_event(item: dict[str, Any]) -> Fault | None:
    missing = next((name for name in ("external_id", "name", "time") if not item.get(name)), None)
    return Fault("required", f"'{missing}' is required", missing) if missing else None


HARNESS = HttpHarness(
    kind="braze",
    server=Braze,
    config=lambda url: {"base_url": url},
    object_name="users",
    payload=lambda key, values: dict(values),
    drop=lambda data: {**data, "attributes_processed": data["attributes_processed"] - 1},
)
