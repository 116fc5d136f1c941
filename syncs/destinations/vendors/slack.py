"""Destination kind ``slack``: messages to the channel of an incoming webhook (Slack, and others that answer as it does).

Facts: docs.slack.dev/messaging/sending-messages-using-incoming-webhooks (a message is JSON with ``text`` or ``blocks``; the
answer is the bare word ``ok``, or a word that says why not); which word comes with which status:
api.slack.com/changelog/2016-05-17-changes-to-errors-for-incoming-webhooks; docs.slack.dev/apis/web-api/rate-limits (one message
a second, 429 with ``Retry-After``). The address is the credential. A message that is sent twice appears twice, and there is
nothing that can be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from syncs.connectors import CheckReport, ConfigField, Issue
from syncs.destinations.vendors.base import DEADLINE, Vendor, VendorDestination
from syncs.errors import RedriveError
from syncs.http import Failure
from syncs.records import BatchResult

FIELDS: tuple[ConfigField, ...] = (
    ConfigField("base_url", "Host", is_required=True, default="https://hooks.slack.com", help="Of the webhook's address."),
    ConfigField(
        "api_key",
        "Webhook address",
        "secret",
        is_required=True,
        help="The whole address, https://hooks.slack.com/services/…; whoever has it can post. It posts to one channel.",
    ),
    DEADLINE,
)
_GONE = ("invalid_token", "no_active_hooks", "no_service", "no_service_id", "no_team", "team_disabled")
_IS_GONE = "The host says that this webhook is gone. Make a new one and enter its address"
_SEEMS_FINE = "The host answers. Only a message proves the webhook: send one record as a live test."
_RULES: list[dict[str, Any]] = [
    {"code": list(_GONE), "signal": "auth"},
    {
        "code": ["action_prohibited", "channel_is_archived", "channel_not_found", "posting_to_general_channel_denied"],
        "signal": "config",
    },
    {"code": "rollup_error", "signal": "unavailable"},
    {"code": ["rate_limited", "ratelimited"], "signal": "rate_limited"},
    {"code": ["no_text", "missing_text_or_fallback_or_attachments"], "text": "(?P<field>text)", "type": "missing_required"},
    {"code": "user_not_found", "type": "reference_not_found"},
    {"code": ["invalid_blocks", "invalid_blocks_format"], "text": "(?P<field>blocks)", "type": "validation"},
    {"code": "too_many_attachments", "text": "(?P<field>attachments)", "type": "validation"},
]
_MESSAGE: list[dict[str, Any]] = [
    {"name": "text", "label": "Text (mrkdwn)", "type": "string", "is_required": True, "max_length": 40_000},
    {"name": "blocks", "label": "Blocks (JSON)", "type": "array"},
    {"name": "attachments", "label": "Attachments (JSON)", "type": "array"},
    {"name": "mrkdwn", "label": "Format the text", "type": "boolean"},
    {"name": "unfurl_links", "label": "Show previews of links", "type": "boolean"},
]


def document(config: Mapping[str, Any]) -> dict[str, Any]:
    posted = {
        "path": "/",
        "answers": "text",
        "record": {"nulls": "omit"},
        "success": {"flag": {"path": "text", "equals": "ok"}},
        "error": {"code": "text", "message": "text"},
    }
    return {
        "base_url": config["base_url"],
        "auth": {"kind": "api_key", "place": "path"},
        "limits": {"concurrency": 1, "requests_per_window": 1, "window_seconds": 1, "max_bytes": 200_000},
        "error_rules": _RULES,
        "objects": {"messages": {"operations": {"insert": posted}, "fields": _MESSAGE}},
    }


class SlackDestination(VendorDestination):
    def check(self) -> CheckReport:
        """A webhook cannot be read: looking at its address tells at most that it is gone."""
        try:
            answer = self._caller.send("GET", "/", {}, None).answer
        except RedriveError as error:
            return CheckReport(False, self._redactor.message(error.message))
        if isinstance(answer, BatchResult):
            assert answer.error is not None
            return CheckReport(False, answer.error.message)
        if isinstance(answer, Failure):
            return CheckReport(False, answer.message, answer.milliseconds)
        word = answer.body[:100].decode("utf-8", "replace").strip()
        details = {"Status": str(answer.status), "Address": self._config.base_url}
        if answer.status >= 500:
            return CheckReport(False, f"The host has a problem of its own ({answer.status}).", answer.milliseconds, details)
        if word in _GONE or answer.status == 401:
            return CheckReport(False, f"{_IS_GONE} ({answer.status}).", answer.milliseconds, details)
        return CheckReport(True, _SEEMS_FINE, answer.milliseconds, details)


VENDOR = Vendor(FIELDS, document, lambda config: ["messages"], destination=SlackDestination)
objects, build = VENDOR.objects, VENDOR.build


def validate(config: Mapping[str, Any], secrets: Mapping[str, Any]) -> list[Issue]:
    issues = VENDOR.validate(config, secrets)
    address, host = str(secrets.get("api_key") or ""), str(config.get("base_url") or FIELDS[0].default).rstrip("/")
    if not issues and "://" in address and not address.startswith(f"{host}/"):
        return [Issue("api_key", f"The address does not begin with {host}/. Enter that host first, or the right address.")]
    return issues
