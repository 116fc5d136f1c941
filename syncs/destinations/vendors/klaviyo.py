"""Destination kind ``klaviyo``: profiles, by bulk import jobs.

Facts: github.com/klaviyo/openapi, openapi/stable/apis/bulk_import_profiles.json (10,000 profiles, 5 MB, 100 KB each; found by
id, email, phone number or external id; a job with counts) and get_errors_for_bulk_import_profiles_job.json (pages of at most
100: ``code``, ``title``, ``detail``, ``source.pointer``, ``original_payload``, whose form is not told: read both with and
without ``attributes``); developers.klaviyo.com/en/docs/rate_limits_and_error_handling (10 calls a second, 150 a minute; 429
with ``Retry-After`` in seconds). The order of the errors is not told, so they name their profile by its ``external_id``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from syncs.connectors import ConfigField
from syncs.destinations.vendors.base import DEADLINE, Vendor

FIELDS: tuple[ConfigField, ...] = (
    ConfigField(
        "api_key",
        "Private API key",
        "secret",
        is_required=True,
        help="Account, Settings, API keys, with the scopes accounts:read, profiles:read and write, and lists:write for a list.",
    ),
    ConfigField("list_id", "List id", help="Profiles are added to this list as well. Leave empty for none."),
    ConfigField("base_url", "Base URL", default="https://a.klaviyo.com", help="Change it for a test server only."),
    DEADLINE,
)
_MEDIA = "application/vnd.api+json"
_JOBS = "/api/profile-bulk-import-jobs"
_RULES: list[dict[str, Any]] = [
    {"code": ["not_authenticated", "authentication_failed", "permission_denied"], "signal": "auth"},
    {"code": "throttled", "signal": "rate_limited"},
    {"code": ["duplicate_profile", "duplicate_id"], "type": "duplicate_key"},
    {"code": "required", "type": "missing_required"},
    {"code": "invalid", "type": "validation"},
]
_PROFILE: list[dict[str, Any]] = [
    {"name": "external_id", "label": "External id (the row key)", "type": "string", "is_key": True},
    {"name": "email", "label": "Email", "type": "string"},
    {"name": "phone_number", "label": "Phone (E.164)", "type": "string"},
    {"name": "first_name", "label": "First name", "type": "string"},
    {"name": "last_name", "label": "Last name", "type": "string"},
    {"name": "organization", "label": "Organization", "type": "string"},
    {"name": "locale", "label": "Locale (BCP 47)", "type": "string"},
    {"name": "title", "label": "Title", "type": "string"},
    {"name": "image", "label": "Image (URL)", "type": "string"},
    *(
        {"name": f"location.{name}", "label": label, "type": "string"}
        for name, label in (
            ("address1", "Address"),
            ("address2", "Address, second line"),
            ("city", "City"),
            ("region", "Region"),
            ("zip", "Zip code"),
            ("country", "Country"),
            ("latitude", "Latitude"),
            ("longitude", "Longitude"),
            ("timezone", "Time zone (IANA)"),
            ("ip", "IP address"),
        )
    ),
    {"name": "properties", "label": "Own properties (properties.name)", "type": "object"},
]


def document(config: Mapping[str, Any]) -> dict[str, Any]:
    job: dict[str, Any] = {"type": "profile-bulk-import-job"}
    if config.get("list_id"):
        job["relationships"] = {"lists": {"data": [{"type": "list", "id": config["list_id"]}]}}
    return {
        "base_url": config["base_url"],
        "auth": {"kind": "api_key", "prefix": "Klaviyo-API-Key "},
        "headers": {"revision": "2026-07-15", "Accept": _MEDIA},
        "check": {"path": "/api/accounts"},
        "limits": {
            "max_records": 10_000,
            "max_bytes": 5_000_000,
            "max_record_bytes": 100_000,
            "concurrency": 2,
            "requests_per_window": 140,  # of 150 a minute; a job costs a few
            "window_seconds": 60,
        },
        "error_rules": _RULES,
        "objects": {"profiles": {"operations": {"upsert": _imported(job)}, "fields": _PROFILE}},
    }


def _imported(job: Mapping[str, Any]) -> dict[str, Any]:
    original = "attributes.original_payload"
    return {
        "path": _JOBS,
        "per_call": "batch",
        "headers": {"Content-Type": _MEDIA},
        "body": {"list_at": "data.attributes.profiles.data", "constants": {"data": job}},
        "record": {"properties_at": "attributes", "id_at": "attributes.external_id", "constants": {"type": "profile"}},
        "unique_keys_in_batch": True,
        "job": {
            "id": "data.id",
            "poll": {"path": f"{_JOBS}/{{job.id}}", "every_seconds": 5, "at_most_seconds": 21_600},
            "state": "data.attributes.status",
            "working": ["queued", "processing"],
            "done": ["complete"],
            "failed": ["cancelled"],
            "reads": [
                {
                    "name": "import_errors",
                    "path": f"{_JOBS}/{{job.id}}/import-errors?page%5Bsize%5D=100",
                    "items": "data",
                    "next": "links.next",
                    "unless_zero": "data.attributes.failed_count",
                }
            ],
        },
        "locator": {
            "kind": "key",
            "errors": "import_errors",
            "key": [f"{original}.external_id", f"{original}.attributes.external_id"],
            "code": "attributes.code",
            "message": "attributes.detail",
            "failed_count": "data.attributes.failed_count",
            "least_count": "data.attributes.completed_count",
        },
        "error": {"code": "errors[].code", "message": "errors[].detail"},
    }


VENDOR = Vendor(FIELDS, document, lambda config: ["profiles"])
validate, objects, build = VENDOR.validate, VENDOR.objects, VENDOR.build
