"""Destination kind ``mailchimp``: members of one audience.

Facts: mailchimp.com/developer/marketing/api/lists/batch-subscribe-or-unsubscribe (500 members; 200 with ``new_members``,
``updated_members`` and ``errors[]`` of ``email_address``, ``error``, ``error_code``, ``field``), .../list-merges,
.../list-members/archive-list-member (the address stands for its hash); mailchimp.com/developer/marketing/docs/errors
(problem documents: ``title``, ``detail``, ``errors[].field``), .../docs/fundamentals (ten calls at once, no rate headers; the
gateway may refuse an overload with a bare 403).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from syncs.connectors import ConfigField, Issue
from syncs.destinations.base import Field
from syncs.destinations.vendors.base import DEADLINE, Vendor, VendorDestination, listed
from syncs.records import Operation

FIELDS: tuple[ConfigField, ...] = (
    ConfigField("data_center", "Data centre", is_required=True, help="The end of the API key after the dash, for example us6."),
    ConfigField(
        "audience_id", "Audience id", is_required=True, help="Audience, Settings, Audience name and defaults. Not its name."
    ),
    ConfigField("password", "API key", "secret", is_required=True, help="Profile, Extras, API keys."),
    ConfigField("base_url", "Base URL", help="Instead of the data centre's own; for a test server only."),
    replace(DEADLINE, default=120),  # a full batch takes Mailchimp a minute
)
_RULES: list[dict[str, Any]] = [
    {"status": 403, "is_json": False, "signal": "rate_limited"},
    {"code": ["API Key Invalid", "API Key Missing", "Forbidden", "User Disabled", "WrongDatacenter"], "signal": "auth"},
    {"code": "ERROR_CONTACT_EXISTS", "type": "duplicate_key"},
    {"text": r"fake or invalid|valid email address|looks fake|compliance state|permanently deleted", "type": "validation"},
    {"text": r"(?P<field>\w+) must be provided|please enter a value", "type": "missing_required"},
]
_ERROR = {"code": "title", "message": ["errors[].message", "detail"], "field": "errors[].field"}


def document(config: Mapping[str, Any]) -> dict[str, Any]:
    path = f"/lists/{quote(config['audience_id'], safe='')}"
    return {
        "base_url": config.get("base_url") or f"https://{config['data_center']}.api.mailchimp.com/3.0",
        "auth": {"kind": "basic", "username": "redrive"},
        "check": {"path": f"{path}?fields=id,name"},
        "limits": {
            "max_records": 500,
            "concurrency": 8,
            "max_answer_bytes": 20_000_000,  # every member comes back whole
        },
        "error_rules": _RULES,
        "objects": {"members": {"operations": {"upsert": _upsert(path), "delete": _archive(path)}}},
    }


def _upsert(path: str) -> dict[str, Any]:
    return {
        "path": path,
        "per_call": "batch",
        "body": {"list_at": "members", "constants": {"update_existing": True}},
        "record": {"id_at": "email_address", "nulls": "empty_text"},  # null is refused, an empty text clears
        "unique_keys_in_batch": True,
        "locator": {
            "kind": "key",
            "results": "new_members",
            "more_results": "updated_members",
            "result_id": "email_address",
            "errors": "errors",
            "key": "email_address",
            "code": "error_code",
            "message": "error",
            "field": "field",
            "failed_count": "error_count",
        },
        "error": _ERROR,
        "id": "id",
    }


def _archive(path: str) -> dict[str, Any]:
    """An archived member keeps its history and can be subscribed again."""
    return {
        "method": "DELETE",
        "path": f"{path}/members/{{key}}",
        "body": {"kind": "none"},
        "success": {"status": [200, 204, 404]},
        "error": _ERROR,
    }


def problems(config: Mapping[str, Any]) -> list[Issue]:
    if not re.fullmatch(r"[a-z]{2,4}\d{1,3}", str(config.get("data_center", ""))):
        return [Issue("data_center", "Looks like us6: the end of the API key after the dash.")]
    return []


_STATUS = ("subscribed", "unsubscribed", "cleaned", "pending", "transactional")
_STANDARD = (
    Field("email_address", "Email address (the row key)", "email", is_key=True),
    Field("status", "Status", "enumeration", is_required=True, options=_STATUS),
    Field("email_type", "Email type", "enumeration", options=("html", "text")),
    Field("language", "Language", "string"),
    Field("vip", "VIP", "boolean"),
    Field("location", "Location (latitude, longitude)", "object"),
    Field("interests", "Interests (id: true or false)", "object"),
    Field("tags", "Tags", "array"),
    Field("timestamp_signup", "Signed up at", "datetime"),
    Field("timestamp_opt", "Opted in at", "datetime"),
    Field("ip_signup", "Sign-up address", "string"),
    Field("ip_opt", "Opt-in address", "string"),
)


class MailchimpDestination(VendorDestination):
    def fields(self) -> list[Field]:
        """The documented fields, and the audience's own merge fields."""
        path = self._object.operations[Operation.UPSERT].path
        own = listed(self.read(f"{path}/merge-fields?count=1000"), "merge_fields")
        return [*_STANDARD, *(_merge_field(item) for item in own if item.get("tag"))]


def _merge_field(item: Mapping[str, Any]) -> Field:
    options = item.get("options")
    options = options if isinstance(options, Mapping) else {}
    choices, size = options.get("choices"), options.get("size")
    return Field(
        f"merge_fields.{item['tag']}",
        label=str(item.get("name") or ""),
        type=str(item.get("type") or ""),
        is_required=item.get("required") is True,
        max_length=size if isinstance(size, int) and item.get("type") == "text" else None,
        options=tuple(map(str, choices)) if isinstance(choices, list) else (),
    )


VENDOR = Vendor(FIELDS, document, lambda config: ["members"], problems, destination=MailchimpDestination)
validate, objects, build = VENDOR.validate, VENDOR.objects, VENDOR.build
