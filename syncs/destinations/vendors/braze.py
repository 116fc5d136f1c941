"""Destination kind ``braze``: user attributes, events and purchases by ``/users/track``, deletes by ``/users/delete``.

Facts: braze.com/docs/api/endpoints/user_data/post_user_track (75 objects of a kind a call; ``message`` and ``errors[]`` of
``type``, ``input_array``, ``index``; ``*_processed``), .../post_user_delete (50 ids), .../export/custom_attributes (pages by
the header ``Link``); braze.com/docs/api/api_limits (3,000 calls in three seconds; ``X-RateLimit-Reset`` as Unix time);
braze.com/docs/api/errors (202 ``queued`` during maintenance). A yes of Braze always means: taken into its queue. It is all that
Braze ever says of a record. Events and purchases count each time they are sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from syncs.connectors import ConfigField
from syncs.destinations.base import Field
from syncs.destinations.vendors.base import DEADLINE, Vendor, VendorDestination, listed

FIELDS: tuple[ConfigField, ...] = (
    ConfigField(
        "base_url",
        "REST endpoint",
        is_required=True,
        help="Of your instance, for example https://rest.iad-01.braze.com: Settings, APIs and identifiers.",
    ),
    ConfigField(
        "token",
        "REST API key",
        "secret",
        is_required=True,
        help="With the permissions users.track, users.delete (for deletes) and custom_attributes.get (test and fields).",
    ),
    DEADLINE,
)
_RULES: list[dict[str, Any]] = [
    {"text": r"'?(?P<field>[\w.]+)'? is not valid", "type": "validation"},
    {"text": r"reserved|blocklisted|blacklisted", "type": "field_permission"},
]
_ERROR = {"message": "message"}


def document(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "base_url": config["base_url"],
        "auth": {"kind": "bearer"},
        "check": {"path": "/custom_attributes"},
        "limits": {
            "max_records": 75,
            "max_bytes": 4_000_000,
            "max_record_bytes": 100_000,
            "concurrency": 8,
            "requests_per_window": 3_000,
            "window_seconds": 3,
        },
        "wait": {"kind": "reset_epoch", "header": "X-RateLimit-Reset"},
        "error_rules": _RULES,
        "objects": {
            "users": {"operations": {"upsert": _tracked("attributes", {"id_at": "external_id"}), "delete": _deleted()}},
            "events": {"operations": {"insert": _tracked("events", {})}, "fields": _EVENT},
            "purchases": {"operations": {"insert": _tracked("purchases", {})}, "fields": _PURCHASE},
        },
    }


def _tracked(array: str, record: dict[str, Any]) -> dict[str, Any]:
    return {
        "path": "/users/track",
        "per_call": "batch",
        "body": {"list_at": array},
        "record": record,
        "success": {"flag": {"path": "message", "equals": ["success", "queued"]}},
        "locator": {
            "kind": "index",
            "errors": "errors",
            "index": "index",
            "only": {"path": "input_array", "equals": array},
            "code": "type",
            "message": "type",
            "least_count": f"{array}_processed",
        },
        "error": _ERROR,
    }


def _deleted() -> dict[str, Any]:
    """Ids that Braze does not know are no error there, and the answer counts only those it knew."""
    return {
        "path": "/users/delete",
        "per_call": "batch",
        "max_records": 50,
        "body": {"list_at": "external_ids"},
        "record": {"value_of": "key"},
        "success": {"flag": {"path": "message", "equals": ["success", "queued"]}},
        "error": _ERROR,
    }


_USER = {"name": "external_id", "label": "External id", "type": "string", "is_required": True}
_TIME = {"name": "time", "label": "Time (ISO 8601)", "type": "datetime", "is_required": True}
_EVENT: list[dict[str, Any]] = [
    _USER,
    {"name": "name", "label": "Event", "type": "string", "is_required": True, "max_length": 255},
    _TIME,
    {"name": "app_id", "label": "App id", "type": "string"},
    {"name": "properties", "label": "Properties", "type": "object"},
]
_PURCHASE: list[dict[str, Any]] = [
    _USER,
    {"name": "product_id", "label": "Product id", "type": "string", "is_required": True, "max_length": 255},
    {"name": "currency", "label": "Currency (ISO 4217)", "type": "string", "is_required": True},
    {"name": "price", "label": "Price", "type": "number", "is_required": True},
    {"name": "quantity", "label": "Quantity", "type": "integer"},
    _TIME,
    {"name": "app_id", "label": "App id", "type": "string"},
    {"name": "properties", "label": "Properties", "type": "object"},
]
_STANDARD = (
    Field("external_id", "External id (the row key)", "string", is_key=True),
    Field("email", "Email", "string"),
    Field("phone", "Phone (E.164)", "string"),
    Field("first_name", "First name", "string"),
    Field("last_name", "Last name", "string"),
    Field("country", "Country (ISO 3166-1 alpha-2)", "string"),
    Field("home_city", "Home city", "string"),
    Field("language", "Language (ISO 639-1)", "string"),
    Field("time_zone", "Time zone (IANA)", "string"),
    Field("dob", "Date of birth", "date"),
    Field("gender", "Gender", "string", options=("M", "F", "O", "N", "P")),
    Field("email_subscribe", "Email subscription", "string", options=("opted_in", "unsubscribed", "subscribed")),
    Field("push_subscribe", "Push subscription", "string", options=("opted_in", "unsubscribed", "subscribed")),
)


class BrazeDestination(VendorDestination):
    def fields(self) -> list[Field] | None:
        """Of users: the standard attributes and the workspace's own, fifty a page."""
        if self.object_name != "users":
            return super().fields()
        own = [item for page in self.read_pages("/custom_attributes") for item in listed(page, "attributes")]
        standard = {field.name for field in _STANDARD}
        return [*_STANDARD, *(_attribute(item) for item in own if item.get("name") not in ("", None, *standard))]


def _attribute(item: Mapping[str, Any]) -> Field:
    is_active = str(item.get("status") or "Active").lower() != "blocklisted"
    return Field(str(item["name"]), str(item.get("description") or ""), str(item.get("data_type") or ""), is_writable=is_active)


VENDOR = Vendor(FIELDS, document, lambda config: ["users", "events", "purchases"], destination=BrazeDestination)
validate, objects, build = VENDOR.validate, VENDOR.objects, VENDOR.build
