"""Destination kind ``iterable``: users, by ``/api/users/bulkUpdate``.

Facts: api.iterable.com/api/docs#users_bulkUpdateUser (``users[]`` of ``email`` or ``userId`` and ``dataFields``; counts, and
lists of the keys that failed; ``code`` and ``msg`` of an answer that is an error as a whole); at most 1,000 users and 4 MB a
call, as others send it. A list holds mail addresses or user ids, whichever it is named after, and no reasons. Fields come from
``/api/users/getFields``. Iterable publishes its rate limits per endpoint and project; five calls a second stay below.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from syncs.connectors import ConfigField
from syncs.destinations.base import Field
from syncs.destinations.vendors.base import DEADLINE, Read, Vendor
from syncs.errors import ConfigError

FIELDS: tuple[ConfigField, ...] = (
    ConfigField(
        "region",
        "Data centre",
        "choice",
        is_required=True,
        default="us",
        choices=(("us", "United States"), ("eu", "Europe")),
        help="Where the project is hosted.",
    ),
    ConfigField(
        "identify_by",
        "Users are identified by",
        "choice",
        is_required=True,
        default="userId",
        choices=(("userId", "userId"), ("email", "email")),
        help="As the project is set up. The row key of the sync is this value.",
    ),
    ConfigField("api_key", "API key", "secret", is_required=True, help="A server-side key: Integrations, API keys."),
    ConfigField("base_url", "Base URL", help="Instead of the data centre's own; for a test server only."),
    DEADLINE,
)
_HOSTS = {"us": "https://api.iterable.com", "eu": "https://api.eu.iterable.com"}
_LISTS: dict[str, tuple[str, str]] = {
    "invalid": ("validation", "Iterable does not take this {what}: it is malformed."),
    "invalidData": ("validation", "Iterable does not take the user's data fields, usually for a value of another type."),
    "notFound": ("reference_not_found", "Iterable has no user with this {what}."),
    "conflict": ("duplicate_key", "Another Iterable user has this {what}."),
    "forgotten": ("validation", "Iterable has forgotten this user (a request for deletion) and takes no data of them."),
}
_NOBODY = "error.users.noUserWithIdExists"
_RULES: list[dict[str, Any]] = [
    {"code": ["BadApiKey", "BadAuthorizationHeader", "Forbidden", "JwtUserIdsMismatched"], "signal": "auth"},
    {"code": "RateLimitExceeded", "signal": "rate_limited"},
    {"code": "RequestFieldsTypesMismatched", "type": "schema_drift"},
    {"code": "InvalidEmailAddressError", "type": "validation"},
]
_ERROR = {"code": "code", "message": "msg"}


def document(config: Mapping[str, Any]) -> dict[str, Any]:
    key = config["identify_by"]
    return {
        "base_url": config.get("base_url") or _HOSTS[config["region"]],
        "auth": {"kind": "api_key", "name": "Api-Key"},
        "check": {"path": "/api/users/getFields"},
        "limits": {
            "max_records": 1_000,
            "max_bytes": 4_000_000,
            "concurrency": 4,
            "requests_per_window": 5,
            "max_answer_bytes": 5_000_000,
        },
        "error_rules": _RULES,
        "objects": {"users": {"operations": {"upsert": _upsert(key), "delete": _delete(key)}}},
    }


def _upsert(key: str) -> dict[str, Any]:
    constants = {"preferUserId": True} if key == "userId" else {}
    return {
        "path": "/api/users/bulkUpdate",
        "per_call": "batch",
        "body": {"list_at": "users", "constants": {"createNewFields": True}},  # else unknown fields vanish unsaid
        "record": {"id_at": key, "constants": constants},
        "unique_keys_in_batch": True,
        "locator": {
            "kind": "key_lists",
            "lists": dict(_list(path, kind, what, key) for path, kind, what in _list_names()),
            "written_count": "successCount",
            "failed_count": "failCount",
        },
        "error": _ERROR,
    }


def _list_names() -> list[tuple[str, str, str]]:
    """(path, kind, what its values are). Old answers hold the invalid ones at the top as well."""
    whats = (("Emails", "email"), ("UserIds", "userId"))
    nested = [(f"failedUpdates.{kind}{suffix}", kind, what) for kind in _LISTS for suffix, what in whats]
    return [*nested, *((f"invalid{suffix}", "invalid", what) for suffix, what in whats)]


def _list(path: str, kind: str, what: str, key: str) -> tuple[str, dict[str, Any]]:
    error_type, text = _LISTS[kind]
    found = {"type": error_type, "message": text.format(what=what), "code": path.rpartition(".")[2]}
    if kind != "invalidData":
        found["field"] = what
    return path, found if what == key else {**found, "key": what}


def _delete(key: str) -> dict[str, Any]:
    return {
        "method": "DELETE",
        "path": "/api/users/byUserId/{key}" if key == "userId" else "/api/users/{key}",
        "body": {"kind": "none"},
        "success": {"status": [200, 202, 400], "flag": {"path": "code", "equals": ["Success", _NOBODY]}},
        "error": _ERROR,
    }


def discover(read: Read, name: str) -> list[Field]:
    data = read("/api/users/getFields")
    found = data.get("fields") if isinstance(data, Mapping) else None
    if not isinstance(found, Mapping):
        raise ConfigError("The answer to the question for fields holds no object “fields”. Is base_url Iterable's?")
    known = [
        Field("email", "Email", "string"),
        Field("userId", "User id", "string"),
        Field("dataFields", "Data fields", "object"),
    ]
    own = {name: kind for name, kind in found.items() if name not in ("email", "userId")}
    return [*known, *(Field(f"dataFields.{name}", name, str(kind or "")) for name, kind in sorted(own.items()))]


VENDOR = Vendor(FIELDS, document, lambda config: ["users"], discover=discover)
validate, objects, build = VENDOR.validate, VENDOR.objects, VENDOR.build
