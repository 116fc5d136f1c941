"""An error rule suggested by a dead letter: its status and code, and its message without what differs from row to row."""

from __future__ import annotations

from dlq import fingerprint
from dlq.headlines import headline
from dlq.models import DLQEntry
from syncs.destinations.expressions import MAX_LENGTH, literal, problem
from syncs.destinations.ruled import ASSIGNABLE
from syncs.errors import ErrorType

_NAME_MAX = 120


def suggested(entry: DLQEntry) -> dict[str, str]:
    """The fields of the rule's form. ``entry`` with its sync."""
    said = entry.said_type or entry.error_type
    return {
        "connection": str(entry.sync.destination_id),
        "name": " ".join(headline(said, entry.error_code, entry.field, fingerprint.masked(entry.message)).split())[:_NAME_MAX],
        "statuses": str(entry.http_status or ""),
        "codes": "\n".join(code for code in entry.error_code.split(", ") if code),
        "text": expression(entry.message),
        "error_type": entry.error_type if ErrorType(entry.error_type) in ASSIGNABLE else ErrorType.UNKNOWN.value,
    }


def expression(message: str) -> str:
    """Finds this message and those that differ by ids, numbers, mails, dates and quoted values alone. Empty where no words of
    its own are left."""
    parts = fingerprint.masked(message).split(fingerprint.MASK)
    while parts:
        text = ".*".join(literal(part) for part in parts).strip()
        text = text.removeprefix(".*").removesuffix(".*").strip() if len(parts) > 1 else text
        if len(text) <= MAX_LENGTH:
            return text if sum(character.isalnum() for part in parts for character in part) >= 3 and not problem(text) else ""
        parts.pop()
    return ""
