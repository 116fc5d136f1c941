"""The last test of a connection: kept on it and in its history, with the time each part took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import Case, Value, When
from django.utils import timezone

from syncs.choices import ConnectionState
from syncs.connectors import CheckReport
from syncs.models import AuditEvent, Connection
from syncs.services import audit, credentials, touches

if TYPE_CHECKING:
    from django.contrib.auth.models import User

PHASES = {
    "credential": "Get a token",
    "resolve": "Look up the name",
    "connect": "Connect",
    "tls": "TLS",
    "answer": "Answer",
}


@dataclass(frozen=True, slots=True)
class LastTest:
    """``phases``: (name for people, milliseconds, its share of the longest in percent)."""

    at: datetime
    by: str
    is_ok: bool
    message: str
    remedy: str
    milliseconds: float
    phases: list[tuple[str, float, float]]
    details: list[tuple[str, str]]


def keep(connection: Connection, report: CheckReport, state: ConnectionState, *, by: User | None, door: str) -> None:
    """A failure that is no ended login leaves an ended login as it is: a host that is down says nothing about it."""
    now = timezone.now()
    message = " ".join(filter(None, (report.message, report.remedy)))
    new_state: Any = state.value
    if state is ConnectionState.FAILING:
        new_state = Case(
            When(state=ConnectionState.REAUTHORIZE, then=Value(ConnectionState.REAUTHORIZE.value)), default=Value(state.value)
        )
    with transaction.atomic():
        Connection.objects.filter(pk=connection.pk).update(state=new_state, state_message=message, checked_at=now)
        audit.record("tested", connection, by=by, door=door, detail=_detail(report))
        touches.touch_connection(connection.pk)
        transaction.on_commit(lambda: credentials.switched(connection.pk), robust=True)
    connection.refresh_from_db(fields=["state", "state_message", "checked_at"])


def _detail(report: CheckReport) -> dict[str, Any]:
    """Lists of pairs where the order counts: a database may keep the names of an object in another."""
    return {
        "is_ok": report.is_ok,
        "message": report.message,
        "remedy": report.remedy,
        "milliseconds": round(report.milliseconds, 1),
        "phases": [[name, round(value, 1)] for name, value in (report.phases or {}).items()],
        "details": [[name, str(value)] for name, value in (report.details or {}).items() if name != credentials.REAUTHORIZE],
    }


def last(history: list[AuditEvent]) -> LastTest | None:
    """The newest test among these events."""
    event = next((event for event in history if event.act == "tested"), None)
    if event is None:
        return None
    detail: Mapping[str, Any] = event.detail
    phases: list[tuple[str, float]] = detail["phases"]
    longest = max((value for _, value in phases), default=0.0) or 1.0
    return LastTest(
        event.at,
        event.actor.get_username() if event.actor else "",
        detail["is_ok"],
        detail["message"],
        detail["remedy"],
        detail["milliseconds"],
        [(PHASES.get(name, name), value, round(100 * value / longest, 1)) for name, value in phases],
        [(name, text) for name, text in detail["details"]],
    )
