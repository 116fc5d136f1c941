"""Emulator of HubSpot's CRM API v3 (batch upsert, create, update; delete by id; properties), from its documented answers."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from tests.contracts.harness import HttpHarness
from tests.contracts.servers.base import ContractServer, Fault, fault_of
from tests.servers import Answer, Request

_CATEGORIES = {"invalid": "VALIDATION_ERROR", "duplicate": "CONFLICT", "required": "VALIDATION_ERROR"}
_CODES = {"invalid": "INVALID_EMAIL", "duplicate": "CONFLICTING_UNIQUE_VALUE", "required": "REQUIRED_FIELD"}

PROPERTIES: list[dict[str, Any]] = [
    {"name": "email", "label": "Email", "type": "string", "hasUniqueValue": False},
    {"name": "external_id", "label": "External id", "type": "string", "hasUniqueValue": True, "modificationMetadata": {}},
    {
        "name": "lifecyclestage",
        "label": "Lifecycle stage",
        "type": "enumeration",
        "options": [{"label": "Lead", "value": "lead"}, {"label": "Customer", "value": "customer"}],
        "modificationMetadata": {"readOnlyValue": False},
    },
    {"name": "createdate", "label": "Create date", "type": "datetime", "modificationMetadata": {"readOnlyValue": True}},
]


class HubSpot(ContractServer):
    def unauthorized(self) -> Answer:
        data = {"status": "error", "category": "INVALID_AUTHENTICATION", "message": "Authentication credentials not found."}
        return Answer.json(data, 401)

    def answer(self, request: Request) -> Answer:
        parts = [unquote(part) for part in request.path.strip("/").split("/")]
        if request.method == "GET":
            return self._read(parts)
        if request.method == "DELETE":
            self.stored.pop(parts[-1].removeprefix("id-"), None)
            return Answer(204)
        inputs = request.json()["inputs"]
        if len(inputs) > 100:
            text = f"The maximum batch size is 100. You sent {len(inputs)}."
            return Answer.json({"status": "error", "category": "VALIDATION_ERROR", "message": text}, 400)
        return self._batch(parts[-1], inputs)

    def _read(self, parts: list[str]) -> Answer:
        if parts[:1] == ["account-info"]:
            return Answer.json({"portalId": 4711, "accountType": "STANDARD"})
        if parts[2] == "properties":
            return Answer.json({"results": PROPERTIES})
        if parts[-1] in self.stored:
            return Answer.json({"id": f"id-{parts[-1]}", "properties": self.stored[parts[-1]]})
        return Answer.json({"status": "error", "message": "resource not found"}, 404)

    def _batch(self, act: str, inputs: list[dict[str, Any]]) -> Answer:
        results, errors, seen = [], [], set()
        for item in inputs:
            properties = item["properties"]
            assert all(isinstance(value, str) for value in properties.values()), "property values are text"
            key = properties["external_id"] if act == "create" else item["id"]
            assert act == "create" or item["idProperty"] == "external_id"
            if key in seen:
                text = f"Duplicate IDs found in batch input: [{key}]"
                return Answer.json({"status": "error", "category": "VALIDATION_ERROR", "message": text}, 400)
            seen.add(key)
            if fault := fault_of(properties):
                errors.append(_error(fault, item["objectWriteTraceId"]))
            else:
                is_new = self.keep(key, properties)
                results.append({"id": f"id-{key}", "properties": properties, "new": is_new, "archived": False})
        data = {"status": "COMPLETE", "results": results}
        if errors:
            data |= {"numErrors": len(errors), "errors": errors}
        return Answer.json(data, 207 if errors else 200)


def _error(fault: Fault, trace: str) -> dict[str, Any]:
    return {
        "status": "error",
        "category": _CATEGORIES[fault.kind],
        "message": fault.message,
        "errors": [{"message": fault.message, "code": _CODES[fault.kind], "context": {"propertyName": [fault.field]}}],
        "context": {"objectWriteTraceId": [trace]},
    }


HARNESS = HttpHarness(
    kind="hubspot",
    server=HubSpot,
    config=lambda url: {"objects": "contacts: external_id", "base_url": url},
    object_name="contacts",
    drop=lambda data: {**data, "results": data["results"][:-1]},
)
