"""Destination kind ``salesforce``: sObject Collections for upsert and insert, calls by external id for update and delete, and
Bulk API 2.0 for large upserts.

Facts: developer.salesforce.com/docs/platform/api-rest/guide/resources-composite-sobjects-collections-upsert.html (200 records,
results in order, ``allOrNone``), .../dome-upsert.html (``updateOnly``, API 61 and later; the external id must not stand in the
body), .../resources-sobject-describe.html, .../errorcodes.html. A limit is a 403 there, a lost session a 401.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from syncs.connectors import ConfigField, Issue
from syncs.destinations.base import Field
from syncs.destinations.vendors import salesforce_bulk
from syncs.destinations.vendors.base import DEADLINE, Read, Vendor, VendorDestination, listed, pairs

OLDEST = 61  # of the API's versions: it brought updateOnly
_LOGINS = {
    "oauth2_client_credentials": "Client credentials",
    "oauth2_authorization_code": "A person logs in at Salesforce",
    "oauth2_refresh": "Refresh token of a user",
}

FIELDS: tuple[ConfigField, ...] = (
    ConfigField(
        "base_url",
        "My Domain address",
        is_required=True,
        help="https://yourcompany.my.salesforce.com, from Setup, My Domain. Log-in and calls both go there.",
    ),
    ConfigField(
        "objects",
        "Objects and their external id field",
        is_required=True,
        help="For example Contact: External_Id__c, Account: Account_Key__c. Rows are found by that field; it must be marked "
        "External ID in Salesforce.",
    ),
    ConfigField(
        "login",
        "Log-in",
        "choice",
        default="oauth2_client_credentials",
        choices=tuple(_LOGINS.items()),
        help="As the connected app allows; with the app's consumer key and secret.",
    ),
    ConfigField("client_id", "Consumer key", "secret", is_required=True, help="Of the connected app."),
    ConfigField("client_secret", "Consumer secret", "secret", help="Of the connected app."),
    ConfigField("refresh_token", "Refresh token", "secret", help="For log-in by refresh token only."),
    ConfigField(
        "bulk_above",
        "Bulk API above so many records",
        "integer",
        default=0,
        help="0: never. Else a batch holds up to 10,000 records, and an upsert of more than this many becomes a job of Bulk "
        "API 2.0; Salesforce advises it from 2,000.",
    ),
    ConfigField("api_version", "API version", default="62.0", help=f"{OLDEST}.0 or later."),
    DEADLINE,
)
_TYPES = {
    "duplicate_key": ["DUPLICATE_VALUE", "DUPLICATES_DETECTED", "DUPLICATE_EXTERNAL_ID"],
    "missing_required": ["REQUIRED_FIELD_MISSING", "MISSING_ARGUMENT"],
    "validation": [
        "FIELD_CUSTOM_VALIDATION_EXCEPTION",
        "FIELD_INTEGRITY_EXCEPTION",
        "INVALID_EMAIL_ADDRESS",
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
        "NUMBER_OUTSIDE_VALID_RANGE",
        "STRING_TOO_LONG",
        "JSON_PARSER_ERROR",
        "MALFORMED_ID",
        "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",  # a trigger's refusal; its text is the reason
    ],
    "field_permission": [
        "INVALID_FIELD_FOR_INSERT_UPDATE",
        "INSUFFICIENT_ACCESS_OR_READONLY",
        "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY",
    ],
    "reference_not_found": ["INVALID_CROSS_REFERENCE_KEY", "ENTITY_IS_DELETED"],
    "schema_drift": ["INVALID_FIELD", "INVALID_TYPE"],
}
_LATER = {"type": "destination_unavailable", "is_permanent": False}
_RULES: list[dict[str, Any]] = [
    {"code": ["REQUEST_LIMIT_EXCEEDED", "TXN_SECURITY_METERING_ERROR"], "signal": "rate_limited"},
    {"code": ["INVALID_SESSION_ID", "INVALID_AUTH_HEADER", "API_DISABLED_FOR_ORG", "API_CURRENTLY_DISABLED"], "signal": "auth"},
    {"code": "SERVER_UNAVAILABLE", "signal": "unavailable"},
    {"code": ["UNABLE_TO_LOCK_ROW", "QUERY_TIMEOUT", "STORAGE_LIMIT_EXCEEDED", "LIMIT_EXCEEDED"], **_LATER},
    *({"code": codes, "type": error_type} for error_type, codes in _TYPES.items()),
    {"text": r"^(?:UNABLE_TO_LOCK_ROW|QUERY_TIMEOUT|STORAGE_LIMIT_EXCEEDED|LIMIT_EXCEEDED):", **_LATER},
    {"text": r"^(?:InvalidBatch|ClientInputError)\b", "signal": "config"},  # of a job: its columns, not its rows
    *salesforce_bulk.rules(_TYPES),
]
_ERROR = {"code": "[].errorCode", "message": "[].message", "field": "[].fields[]"}
_NAME = re.compile(r"[A-Za-z]\w{0,79}")


def document(config: Mapping[str, Any]) -> dict[str, Any]:
    base = str(config["base_url"]).rstrip("/")
    named = pairs(config["objects"])
    objects = {name: _object(name, key) for name, key in named.items()}
    if config["bulk_above"]:
        objects |= dict(salesforce_bulk.described(name, key) for name, key in named.items())
    return {
        "base_url": f"{base}/services/data/v{config['api_version']}",
        "auth": {
            "kind": config["login"],
            "token_url": f"{base}/services/oauth2/token",
            "authorize_url": f"{base}/services/oauth2/authorize",
        },
        "check": {"path": "/"},
        "limits": {
            "max_records": 200,
            "max_bytes": 5_000_000,
            "concurrency": 4,  # more calls at once meet more locked rows
            "max_answer_bytes": 10_000_000,
        },
        "error_rules": _RULES,
        "objects": objects,
    }


def names(config: Mapping[str, Any]) -> list[str]:
    return list(pairs(config.get("objects")))


def problems(config: Mapping[str, Any]) -> list[Issue]:
    issues = []
    version = str(config.get("api_version"))
    if not re.fullmatch(r"\d{2,3}\.0", version) or float(version) < OLDEST:
        issues.append(Issue("api_version", f"Write a version like 62.0; {OLDEST}.0 is the oldest that Redrive speaks."))
    try:
        found = pairs(config.get("objects"))
    except ValueError as error:
        return [*issues, Issue("objects", f"“{error}” is no object and field. Write it like Contact: External_Id__c.")]
    if not found:
        issues.append(Issue("objects", "Name at least one object and its external id field, like Contact: External_Id__c."))
    for name, key in found.items():
        if not (_NAME.fullmatch(name) and _NAME.fullmatch(key)):
            issues.append(Issue("objects", f"“{name}: {key}”: use the API names, which hold letters, digits and _."))
        elif key == "Id":
            issues.append(Issue("objects", f"“{name}: Id”: Salesforce upserts by an external id field, not by record ids."))
    above = config.get("bulk_above")
    if not isinstance(above, int) or isinstance(above, bool) or not 0 <= above < salesforce_bulk.MOST_RECORDS:
        issues.append(Issue("bulk_above", f"Write a whole number from 0 (never) to {salesforce_bulk.MOST_RECORDS - 1:,}."))
    return issues


def _object(name: str, key: str) -> dict[str, Any]:
    collection: dict[str, Any] = {
        "per_call": "batch",
        "body": {"list_at": "records", "constants": {"allOrNone": False}},
        "record": {"constants": {"attributes": {"type": name}}},
        "key_field": key,
        "unique_keys_in_batch": True,
        "locator": {
            "kind": "position",
            "results": "",
            "ok": {"path": "success"},
            "code": ["errors[].statusCode", "errorCode"],  # an error as a whole is a list too: for one record they look alike
            "message": ["errors[].message", "message"],
            "field": ["errors[].fields[]", "fields[]"],
        },
        "error": _ERROR,
        "id": "id",
        "detail": {"path": "created", "values": {"true": "created", "false": "updated"}},
    }
    single = {"path": f"/sobjects/{name}/{key}/{{{key}}}", "error": _ERROR, "key_field": key}
    return {
        "operations": {
            "upsert": {**collection, "method": "PATCH", "path": f"/composite/sobjects/{name}/{key}"},
            "insert": {**collection, "path": "/composite/sobjects"},
            "update": {
                **single,
                "method": "PATCH",
                "path": f"{single['path']}?updateOnly=true",
                "record": {"omit": [key]},
                "success": {"status": [200, 204], "ignores_body": True},
            },
            "delete": {
                **single,
                "path": f"/sobjects/{name}/{key}/{{key}}",
                "method": "DELETE",
                "body": {"kind": "none"},
                "success": {"status": [200, 204, 404], "ignores_body": True},
            },
        }
    }


def described(data: Any) -> list[Field]:
    """The fields in the answer of ``describe``. Values of an open picklist are suggestions there, so they are no options."""
    found = []
    for item in listed(data, "fields"):
        name, length = str(item.get("name") or ""), item.get("length")
        is_createable, is_required = item.get("createable") is True, item.get("nillable") is False
        values = item.get("picklistValues") if item.get("restrictedPicklist") is True else None
        active = [value for value in values or () if isinstance(value, Mapping) and value.get("active") is not False]
        found.append(
            Field(
                name,
                label=str(item.get("label") or ""),
                type=str(item.get("type") or ""),
                is_required=is_createable and is_required and item.get("defaultedOnCreate") is not True,
                is_key=item.get("externalId") is True,
                max_length=length if isinstance(length, int) and length > 0 else None,
                options=tuple(str(value.get("value")) for value in active),
                is_writable=is_createable or item.get("updateable") is True,
            )
        )
    return [field for field in found if field.name]


def discover(read: Read, name: str) -> list[Field]:
    return described(read(f"/sobjects/{quote(name, safe='')}/describe"))


VENDOR = Vendor(FIELDS, document, names, problems, discover, salesforce_bulk.SalesforceDestination)
validate, objects = VENDOR.validate, VENDOR.objects


def build(*, config: Mapping[str, Any], **settings: Any) -> VendorDestination:
    """As ``Vendor.build``."""
    destination = VENDOR.build(config=config, **settings)
    assert isinstance(destination, salesforce_bulk.SalesforceDestination)
    destination.above = int(config.get("bulk_above") or 0)
    return destination
