"""Destination kind ``intercom``: contacts and companies, one record per call.

Facts: github.com/intercom/Intercom-OpenAPI, descriptions/2.14 (``/contacts/find_by_external_id``, 410 ``contact_merged``,
``/companies`` creates or updates by ``company_id``, ``/data_attributes``, ``/me``, ``error.list``);
developers.intercom.com/docs/references/2.17/rest-api/errors/rate-limiting (10,000 calls a minute in windows of ten seconds,
``X-RateLimit-Reset`` as Unix time) and .../2.1/rest-api/contacts/create-contact (409 ``conflict``). A 409 is met where another
worker created the contact a moment ago: the next attempt finds it. An archived contact keeps its ids and stays in the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from syncs.connectors import ConfigField
from syncs.destinations.base import Field
from syncs.destinations.vendors.base import DEADLINE, Read, Vendor, listed

FIELDS: tuple[ConfigField, ...] = (
    ConfigField(
        "region",
        "Region",
        "choice",
        is_required=True,
        default="us",
        choices=(("us", "United States"), ("eu", "Europe"), ("au", "Australia")),
        help="Where the workspace is hosted.",
    ),
    ConfigField(
        "token",
        "Access token",
        "secret",
        is_required=True,
        help="Developer Hub, your app, Authentication. It needs the rights to read and write users and companies.",
    ),
    ConfigField("base_url", "Base URL", help="Instead of the region's own; for a test server only."),
    DEADLINE,
)
_HOSTS = {"us": "https://api.intercom.io", "eu": "https://api.eu.intercom.io", "au": "https://api.au.intercom.io"}
_RULES: list[dict[str, Any]] = [
    {"code": ["token_blocked", "token_not_found", "token_revoked", "token_unauthorized", "unauthorized"], "signal": "auth"},
    {"code": "rate_limit_exceeded", "signal": "rate_limited"},
    {"status": 402, "signal": "config"},
    {"status": 410, "code": "contact_merged", "type": "reference_not_found"},
    {"status": 409, "text": "archived", "type": "duplicate_key"},
    {"status": 409, "type": "duplicate_key", "is_permanent": False},
    {"code": "unique_user_constraint", "type": "duplicate_key"},
    {"code": "parameter_not_found", "type": "missing_required"},
    {"text": r"custom attribute '?(?P<field>[\w.]+)'? (?:does not exist|is archived)", "type": "schema_drift"},
]
_ERROR = {"code": "errors[].code", "message": "errors[].message", "field": "errors[].field"}
_SHARED: dict[str, Any] = {"success": {"present": ["id"]}, "error": _ERROR, "id": "id"}


def document(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "base_url": config.get("base_url") or _HOSTS[config["region"]],
        "auth": {"kind": "bearer"},
        "headers": {"Intercom-Version": "2.14"},
        "check": {"path": "/me"},
        "limits": {"concurrency": 8, "requests_per_window": 1_600, "window_seconds": 10},  # of 1,666
        "wait": {"kind": "reset_epoch", "header": "X-RateLimit-Reset"},
        "error_rules": _RULES,
        "objects": {"contacts": _contacts(), "companies": _companies()},
    }


def _contacts() -> dict[str, Any]:
    find = {"path": "/contacts/find_by_external_id/{key}", "take": {"id": "id"}, "missing_status": 404}
    return {
        "operations": {
            "upsert": {
                **_SHARED,
                "method": "PUT",
                "path": "/contacts/{found.id}",
                "record": {"id_at": "external_id"},
                "lookup": {**find, "if_missing": "insert"},
                "detail": {"status": {"200": "updated"}},
            },
            "update": {
                **_SHARED,
                "method": "PUT",
                "path": "/contacts/{found.id}",
                "record": {"id_at": "external_id"},
                "lookup": find,
                "detail": {"status": {"200": "updated"}},
            },
            "insert": {**_SHARED, "path": "/contacts", "record": {"id_at": "external_id", "constants": {"role": "user"}}},
            "delete": _deleted("/contacts/{found.id}", find),
        }
    }


def _companies() -> dict[str, Any]:
    find = {"path": "/companies?company_id={key}", "take": {"id": "id"}, "missing_status": 404}
    return {
        "operations": {
            "upsert": {**_SHARED, "path": "/companies", "record": {"id_at": "company_id"}},
            "delete": _deleted("/companies/{found.id}", find),
        }
    }


def _deleted(path: str, find: dict[str, Any]) -> dict[str, Any]:
    lookup = {**find, "if_missing": "written"}
    return {**_SHARED, "method": "DELETE", "path": path, "body": {"kind": "none"}, "lookup": lookup}


_STANDARD: dict[str, tuple[Field, ...]] = {
    "contacts": (
        Field("external_id", "External id (the row key)", "string", is_key=True),
        Field("email", "Email", "string"),
        Field("phone", "Phone", "string"),
        Field("name", "Name", "string"),
        Field("avatar", "Avatar (URL)", "string"),
        Field("signed_up_at", "Signed up at (Unix time)", "integer"),
        Field("last_seen_at", "Last seen at (Unix time)", "integer"),
        Field("owner_id", "Owner id", "string"),
        Field("unsubscribed_from_emails", "Unsubscribed from emails", "boolean"),
        Field("language_override", "Language", "string"),
    ),
    "companies": (
        Field("company_id", "Company id (the row key)", "string", is_key=True),
        Field("name", "Name", "string"),
        Field("plan", "Plan", "string"),
        Field("size", "Number of employees", "integer"),
        Field("website", "Website", "string"),
        Field("industry", "Industry", "string"),
        Field("monthly_spend", "Monthly spend", "float"),
        Field("remote_created_at", "Created at (Unix time)", "integer"),
    ),
}
_MODELS = {"contacts": "contact", "companies": "company"}


def discover(read: Read, name: str) -> list[Field]:
    """The documented fields, and the workspace's own attributes."""
    own = [item for item in listed(read(f"/data_attributes?model={_MODELS[name]}"), "data") if item.get("custom") is True]
    return [*_STANDARD[name], *(_attribute(item) for item in own if item.get("name") and not item.get("archived"))]


def _attribute(item: Mapping[str, Any]) -> Field:
    options = item.get("options")
    return Field(
        f"custom_attributes.{item['name']}",
        label=str(item.get("label") or ""),
        type=str(item.get("data_type") or ""),
        options=tuple(map(str, options)) if isinstance(options, list) else (),
        is_writable=item.get("api_writable") is not False,
    )


VENDOR = Vendor(FIELDS, document, lambda config: ["contacts", "companies"], discover=discover)
validate, objects, build = VENDOR.validate, VENDOR.objects, VENDOR.build
