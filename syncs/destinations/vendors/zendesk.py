"""Destination kind ``zendesk``: users by background jobs, organizations and tickets one per call.

Facts: developer.zendesk.com/api-reference/ticketing/users/users (``create_or_update_many``: 100 users, found by ``external_id``
or email, answered with a job), .../ticketing/ticket-management/job_statuses (``queued``, ``working``, ``failed``,
``completed``; gone after a day, by other reports after an hour), .../organizations/organizations (``create_or_update``,
``search``), .../ticketing/introduction (``Idempotency-Key`` of new tickets), .../introduction/rate-limits (429 with
``Retry-After``; calls a minute by plan; thirty jobs at once, ``TooManyJobs``);
support.zendesk.com/hc/en-us/community/posts/4408861015066 (results are in the order of the users, ``Failed`` with ``error`` and
``details``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from syncs.connectors import ConfigField, Issue
from syncs.destinations.base import Field
from syncs.destinations.vendors.base import DEADLINE, Read, Vendor, listed
from syncs.errors import ConfigError

FIELDS: tuple[ConfigField, ...] = (
    ConfigField("subdomain", "Subdomain", is_required=True, help="acme, for acme.zendesk.com."),
    ConfigField("email", "Email of the agent", is_required=True, help="Whose API token it is: an agent who may edit users."),
    ConfigField("password", "API token", "secret", is_required=True, help="Admin Centre, Apps and integrations, Zendesk API."),
    ConfigField(
        "calls_per_minute",
        "Calls per minute",
        "integer",
        default=200,
        help="Of the plan, less what other integrations use: 200 (Team), 400 (Growth, Professional), 700 (Enterprise).",
    ),
    ConfigField("base_url", "Base URL", help="Instead of the subdomain's own; for a test server only."),
    DEADLINE,
)
_RULES: list[dict[str, Any]] = [
    {"code": "TooManyJobs", "signal": "rate_limited"},
    {"text": r"already being used|already been taken|DuplicateValue", "type": "duplicate_key"},
    {"text": r"cannot be blank|is too short|BlankValue", "type": "missing_required"},
    {"text": r"is not properly formatted|InvalidFormat|InvalidValue", "type": "validation"},
]
_ERROR = {"code": ["error.title", "error"], "message": ["details", "error.message", "description", "message", "error"]}


def document(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "base_url": config.get("base_url") or f"https://{config['subdomain']}.zendesk.com",
        "auth": {"kind": "basic", "username": f"{config['email']}/token"},
        "check": {"path": "/api/v2/job_statuses"},
        "limits": {
            "max_records": 100,
            "concurrency": 4,
            "requests_per_window": config["calls_per_minute"],
            "window_seconds": 60,
        },
        "request_id_header": "X-Zendesk-Request-Id",
        "error_rules": _RULES,
        "objects": {"users": _users(), "organizations": _organizations(), "tickets": _tickets()},
    }


def _users() -> dict[str, Any]:
    return {
        "operations": {
            "upsert": {
                "path": "/api/v2/users/create_or_update_many",
                "per_call": "batch",
                "body": {"list_at": "users"},
                "record": {"id_at": "external_id"},
                "unique_keys_in_batch": True,
                "job": {
                    "id": "job_status.id",
                    "poll": {"path": "/api/v2/job_statuses/{job.id}", "every_seconds": 2, "at_most_seconds": 3000},
                    "state": "job_status.status",
                    "working": ["queued", "working"],
                    "done": ["completed"],
                    "failed": ["failed", "killed"],
                    "error": {"message": "job_status.message"},
                },
                "locator": {
                    "kind": "position",
                    "results": "job_status.results",
                    "ok": {"path": "status", "equals": ["Created", "Updated"]},
                    "code": "error",
                    "message": "details",
                },
                "error": _ERROR,
                "id": "id",
                "detail": {"path": "status", "values": {"Created": "created", "Updated": "updated"}},
            },
            "delete": _deleted("users"),
        }
    }


def _organizations() -> dict[str, Any]:
    return {
        "operations": {
            "upsert": {
                "path": "/api/v2/organizations/create_or_update",
                "record": {"properties_at": "organization", "id_at": "organization.external_id"},
                "success": {"present": ["organization.id"]},
                "error": _ERROR,
                "id": "organization.id",
                "detail": {"status": {"200": "updated", "201": "created"}},
            },
            "delete": _deleted("organizations"),
        }
    }


def _tickets() -> dict[str, Any]:
    """A key that came before brings the same ticket again, so that a lost answer is no second ticket."""
    return {
        "operations": {
            "insert": {
                "path": "/api/v2/tickets",
                "record": {"properties_at": "ticket", "id_at": "ticket.external_id"},
                "success": {"present": ["ticket.id"]},
                "error": _ERROR,
                "id": "ticket.id",
                "idempotency": {"kind": "header", "header": "Idempotency-Key"},
            }
        },
        "fields": [
            {"name": "subject", "label": "Subject", "type": "string", "is_required": True},
            {"name": "comment", "label": "First comment (body, public)", "type": "object", "is_required": True},
            {"name": "requester_id", "label": "Requester's id", "type": "integer"},
            {"name": "requester", "label": "Requester (name, email)", "type": "object"},
            {"name": "organization_id", "label": "Organization's id", "type": "integer"},
            {"name": "assignee_id", "label": "Assignee's id", "type": "integer"},
            {"name": "group_id", "label": "Group's id", "type": "integer"},
            {"name": "priority", "label": "Priority", "type": "string", "options": ["urgent", "high", "normal", "low"]},
            {"name": "type", "label": "Type", "type": "string", "options": ["problem", "incident", "question", "task"]},
            {"name": "status", "label": "Status", "type": "string", "options": ["new", "open", "pending", "hold", "solved"]},
            {"name": "due_at", "label": "Due at (tasks)", "type": "datetime"},
            {"name": "tags", "label": "Tags", "type": "array"},
            {"name": "custom_fields", "label": "Custom fields (id, value)", "type": "array"},
        ],
    }


def _deleted(kind: str) -> dict[str, Any]:
    return {
        "method": "DELETE",
        "path": f"/api/v2/{kind}/{{found.id}}",
        "body": {"kind": "none"},
        "lookup": {
            "path": f"/api/v2/{kind}/search?external_id={{key}}",
            "take": {"id": f"{kind}[0].id"},
            "if_missing": "written",
        },
        "error": _ERROR,
    }


def problems(config: Mapping[str, Any]) -> list[Issue]:
    if not re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", str(config.get("subdomain", "")).lower()):
        return [Issue("subdomain", "Only the part before .zendesk.com: letters, digits and dashes.")]
    calls = config.get("calls_per_minute")
    if not (isinstance(calls, int) and 1 <= calls <= _MOST_CALLS):
        return [Issue("calls_per_minute", f"Must lie between 1 and {_MOST_CALLS:,}.")]
    return []


_USER_ROLES = ("end-user", "agent", "admin")
_STANDARD: dict[str, tuple[Field, ...]] = {
    "users": (
        Field("external_id", "External id (the row key)", "string", is_key=True),
        Field("name", "Name", "string", is_required=True),
        Field("email", "Email", "string"),
        Field("phone", "Phone", "string"),
        Field("role", "Role", "string", options=_USER_ROLES),
        Field("organization_id", "Organization's id", "integer"),
        Field("organization", "Organization (name)", "object"),
        Field("locale", "Locale", "string"),
        Field("time_zone", "Time zone", "string"),
        Field("details", "Details", "string"),
        Field("notes", "Notes", "string"),
        Field("tags", "Tags", "array"),
        Field("verified", "Verified", "boolean"),
        Field("suspended", "Suspended", "boolean"),
    ),
    "organizations": (
        Field("external_id", "External id (the row key)", "string", is_key=True),
        Field("name", "Name", "string", is_required=True),
        Field("domain_names", "Domain names", "array"),
        Field("details", "Details", "string"),
        Field("notes", "Notes", "string"),
        Field("group_id", "Group's id", "integer"),
        Field("tags", "Tags", "array"),
    ),
}
_OWN = {"users": ("user_fields", "user_fields"), "organizations": ("organization_fields", "organization_fields")}
_MOST_PAGES = 50
_MOST_CALLS = 10_000


def discover(read: Read, name: str) -> list[Field] | None:
    """The documented fields, and the account's own active ones."""
    if name not in _STANDARD:
        return None
    path, below = _OWN[name]
    own = [item for item in _pages(read, path) if item.get("key") and item.get("active") is not False]
    return [*_STANDARD[name], *(_own_field(below, item) for item in own)]


def _pages(read: Read, name: str) -> Iterator[Mapping[str, Any]]:
    path = f"/api/v2/{name}?page%5Bsize%5D=100"
    for _ in range(_MOST_PAGES):
        data = read(path)
        yield from listed(data, name)
        meta, links = data.get("meta"), data.get("links")
        following = links.get("next") if isinstance(links, Mapping) else None
        if not (isinstance(meta, Mapping) and meta.get("has_more") and isinstance(following, str)):
            return
        parts = urlsplit(following)  # of it only where to go on; the host stays the connection's
        path = f"{parts.path}?{parts.query}"
    raise ConfigError(f"The list of {name} has more than {_MOST_PAGES} pages; type the fields by hand.")


def _own_field(below: str, item: Mapping[str, Any]) -> Field:
    options = item.get("custom_field_options")
    return Field(
        f"{below}.{item['key']}",
        label=str(item.get("title") or ""),
        type=str(item.get("type") or ""),
        options=tuple(str(option.get("value")) for option in options if isinstance(option, Mapping))
        if isinstance(options, list)
        else (),
    )


VENDOR = Vendor(FIELDS, document, lambda config: ["users", "organizations", "tickets"], problems, discover)
validate, objects, build = VENDOR.validate, VENDOR.objects, VENDOR.build
