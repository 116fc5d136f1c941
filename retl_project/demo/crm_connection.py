"""How Redrive is told to speak with the sandbox CRM: configuration of the ``http`` destination, no code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from retl_project.demo.crm_schema import OBJECTS, CrmObject
from retl_project.demo.crm_store import MAX_RECORD_BYTES
from retl_project.demo.sandbox_crm import DEFAULT_TOKEN, MAX_BODY_BYTES, MAX_RECORDS

USUAL_PORT = 8055

_ERROR_RULES: list[dict[str, Any]] = [
    {"code": ["REQUIRED_FIELD_MISSING"], "type": "missing_required"},
    {"code": ["DUPLICATE_VALUE"], "type": "duplicate_key"},
    {"code": ["REFERENCE_NOT_FOUND", "RECORD_NOT_FOUND"], "type": "reference_not_found"},
    {"code": ["FIELD_NOT_WRITABLE"], "type": "field_permission"},
    {"code": ["UNKNOWN_FIELD"], "type": "schema_drift"},
    {"code": ["RECORD_TOO_LARGE"], "type": "too_large"},
    {
        "code": ["INVALID_TYPE", "STRING_TOO_LONG", "NUMBER_OUT_OF_RANGE", "INVALID_FORMAT", "INVALID_OPTION"],
        "type": "validation",
    },
]
_EVERY_OPERATION: dict[str, Any] = {
    "method": "POST",
    "per_call": "batch",
    "body": {"list_at": "records"},
    "record": {"properties_at": "properties", "correlation_at": "ref"},
    "locator": {
        "kind": "correlation",
        "results": "results",
        "result_id": "ref",
        "ok": {"path": "status", "equals": ["created", "updated", "unchanged", "deleted"]},
        "error_at": "errors[0]",
        "code": "errors[0].code",
        "message": "errors[0].message",
        "field": "errors[0].field",
    },
    "error": {"code": "error.code", "message": "error.message"},
    "id": "id",
    "detail": {
        "path": "status",
        "values": {"created": "created", "updated": "updated", "unchanged": "unchanged", "deleted": "deleted"},
    },
    "idempotency": {"kind": "header", "header": "Idempotency-Key"},
}


def secrets() -> dict[str, Any]:
    return {"token": DEFAULT_TOKEN}


def config(address: str, *, concurrency: int = 4) -> dict[str, Any]:
    """The whole connection, as a person would type it into the console."""
    return {
        "base_url": address,
        "auth": {"kind": "bearer"},
        "check": {"path": "/api/objects"},
        "request_id_header": "X-Request-Id",
        "limits": {
            "max_records": MAX_RECORDS,
            "max_bytes": MAX_BODY_BYTES,
            "max_record_bytes": MAX_RECORD_BYTES,
            "concurrency": concurrency,
        },
        "wait": {"kind": "retry_after"},
        "error_rules": _ERROR_RULES,
        "defaults": _EVERY_OPERATION,
        "objects": {name: _object(item) for name, item in OBJECTS.items()},
    }


def _object(item: CrmObject) -> dict[str, Any]:
    operations = ("upsert", "insert", "update", "delete")
    return {
        "operations": {name: {"path": f"/api/objects/{item.name}/batch/{name}", "key_field": item.key} for name in operations},
        "discover": {
            "path": f"/api/objects/{item.name}",
            "fields": "fields",
            "name": "name",
            "type": "type",
            "required": {"path": "required"},
            "key": {"path": "key"},
            "writable": {"path": "writable"},
            "max_length": "max_length",
            "options": "options[]",
        },
    }


def port_of(config: Mapping[str, Any]) -> int:
    """The port of the CRM's address in a connection's settings; the usual one where there is none."""
    try:
        return urlsplit(str(config.get("base_url", ""))).port or USUAL_PORT
    except ValueError:
        return USUAL_PORT


def moved(config: Mapping[str, Any], address: str) -> dict[str, Any]:
    """The same settings with the CRM's present address."""
    return {**config, "base_url": address}
