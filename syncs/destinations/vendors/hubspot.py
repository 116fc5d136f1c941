"""Destination kind ``hubspot``: CRM objects by their batch endpoints of API v3.

Facts: developers.hubspot.com/docs/api-reference/legacy/crm/objects/objects (batch upsert, update, create; 100 inputs a call),
.../working-with-oauth,
.../error-handling (207, 423, 429 ``errorType``), .../crm/properties (``hasUniqueValue``, ``modificationMetadata``). An error of
one input names it by the ``objectWriteTraceId`` it was sent with; results need not carry it, so they are counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from syncs.connectors import ConfigField, Issue
from syncs.destinations.base import Field
from syncs.destinations.vendors.base import DEADLINE, Read, Vendor, listed, pairs

FIELDS: tuple[ConfigField, ...] = (
    ConfigField(
        "objects",
        "Objects and their unique property",
        is_required=True,
        default="contacts: email",
        help="For example contacts: email, companies: domain_key, 2-4711: order_number. Rows are found by that property; it "
        "must be marked unique in HubSpot (contacts: email is).",
    ),
    ConfigField(
        "login",
        "Log-in",
        "choice",
        default="bearer",
        choices=(("bearer", "Token of a private app"), ("oauth2_authorization_code", "A person logs in at HubSpot")),
    ),
    ConfigField(
        "scope",
        "Scopes",
        default="crm.objects.contacts.read crm.objects.contacts.write crm.schemas.contacts.read",
        help="Asked for when a person logs in; those of the app in HubSpot.",
    ),
    ConfigField("token", "Private app token", "secret", help="Begins with pat-."),
    ConfigField("client_id", "Client id", "secret", help="Of the app, for log-in by a person."),
    ConfigField("client_secret", "Client secret", "secret", help="Of the app, for log-in by a person."),
    ConfigField("base_url", "Base URL", default="https://api.hubapi.com", help="Change it for a test server only."),
    DEADLINE,
)
_AUTHORIZE = "https://app.hubspot.com/oauth/authorize"
_PROPERTY_ERRORS = {
    "PROPERTY_DOESNT_EXIST": "schema_drift",
    "READ_ONLY_VALUE": "field_permission",
    "REQUIRED_FIELD": "missing_required",
    "MISSING_REQUIRED_PROPERTY": "missing_required",
    "INVALID_EMAIL": "validation",
    "CONFLICT": "duplicate_key",
    "CONFLICTING_UNIQUE_VALUE": "duplicate_key",
    "OBJECT_NOT_FOUND": "reference_not_found",
}
_RULES: list[dict[str, Any]] = [
    {"code": ["RATE_LIMIT", "RATE_LIMITS"], "signal": "rate_limited"},
    {"status": [423, 477], "signal": "unavailable"},
    {"code": "MISSING_SCOPES", "signal": "auth"},
    *({"code": code, "type": error_type} for code, error_type in _PROPERTY_ERRORS.items()),
]
_ERROR = {"code": "category", "message": "message", "field": "errors[].context.propertyName[]"}


def document(config: Mapping[str, Any]) -> dict[str, Any]:
    base = str(config["base_url"]).rstrip("/")
    login = {"authorize_url": _AUTHORIZE, "token_url": f"{base}/oauth/v1/token", "scope": config["scope"]}
    return {
        "base_url": base,
        "auth": {"kind": config["login"], **({} if config["login"] == "bearer" else login)},
        "check": {"path": "/account-info/v3/details"},
        "limits": {
            "max_records": 100,
            "concurrency": 4,
            "requests_per_window": 90,  # of 100 in ten seconds: others use the account too
            "window_seconds": 10,
            "max_answer_bytes": 5_000_000,
        },
        "request_id_header": "X-HubSpot-Correlation-Id",
        "error_rules": _RULES,
        "objects": {name: _object(name, unique) for name, unique in pairs(config["objects"]).items()},
    }


def names(config: Mapping[str, Any]) -> list[str]:
    return list(pairs(config.get("objects")))


def problems(config: Mapping[str, Any]) -> list[Issue]:
    try:
        found = pairs(config.get("objects"))
    except ValueError as error:
        return [Issue("objects", f"“{error}” is not an object and its property. Write it like contacts: email.")]
    return [] if found else [Issue("objects", "Name at least one object and its unique property, like contacts: email.")]


def _object(name: str, unique: str) -> dict[str, Any]:
    path = f"/crm/v3/objects/{quote(name, safe='')}"
    batch: dict[str, Any] = {
        "per_call": "batch",
        "body": {"list_at": "inputs"},
        "record": {
            "id_at": "id",
            "id_from": unique,
            "keeps_id": True,
            "properties_at": "properties",
            "constants": {"idProperty": unique},
            "correlation_at": "objectWriteTraceId",
            "values_as_strings": True,
            "nulls": "empty_text",
        },
        "key_field": unique,
        "unique_keys_in_batch": True,
        "locator": {
            "kind": "correlation",
            "results": "results",
            "errors": "errors",
            "id": "context.objectWriteTraceId",
            "key": "context.ids",  # an update of what is not there names ids
            "code": ["errors[].code", "category"],
            "message": "message",
            "field": "errors[].context.propertyName[]",
        },
        "error": _ERROR,
    }
    create = {key: value for key, value in batch["record"].items() if key not in ("id_at", "id_from", "keeps_id", "constants")}
    return {
        "operations": {
            "upsert": {**batch, "path": f"{path}/batch/upsert"},
            "update": {**batch, "path": f"{path}/batch/update"},
            "insert": {**batch, "path": f"{path}/batch/create", "record": create},
            "delete": {
                "method": "DELETE",
                "path": f"{path}/{{found.id}}",
                "body": {"kind": "none"},
                "lookup": {
                    "path": f"{path}/{{key}}?idProperty={quote(unique, safe='')}",
                    "take": {"id": "id"},
                    "if_missing": "written",
                },
                "error": _ERROR,
            },
        }
    }


def discover(read: Read, name: str) -> list[Field]:
    found = []
    for item in listed(read(f"/crm/v3/properties/{quote(name, safe='')}"), "results"):
        metadata = item.get("modificationMetadata")
        is_read_only = bool(item.get("calculated")) or (isinstance(metadata, Mapping) and bool(metadata.get("readOnlyValue")))
        options = item.get("options")
        found.append(
            Field(
                str(item.get("name") or ""),
                label=str(item.get("label") or ""),
                type=str(item.get("type") or ""),
                is_key=bool(item.get("hasUniqueValue")) or (name == "contacts" and item.get("name") == "email"),
                options=tuple(str(option.get("value")) for option in options if isinstance(option, Mapping))
                if isinstance(options, list)
                else (),
                is_writable=not is_read_only,
            )
        )
    return [field for field in found if field.name]


VENDOR = Vendor(FIELDS, document, names, problems, discover)
validate, objects, build = VENDOR.validate, VENDOR.objects, VENDOR.build
