"""The state of a connection's credential: ended logins, expiry watched ahead, and who must act."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from syncs.choices import ConnectionState
from syncs.destinations.base import ENDS_AT
from syncs.errors import CredentialsError
from syncs.models import Connection
from syncs.services import audit, touches
from syncs.signals import connection_switched

logger = logging.getLogger(__name__)

__all__ = ["ENDS_AT", "REAUTHORIZE", "expiry_text", "login_text", "lost", "moment", "refuse_ended", "renewed", "switched"]
REAUTHORIZE = "reauthorize"  # code of a CredentialsError, and key in a report's details: a person must log in again


def lost(connection_id: int, reason: str) -> bool:
    """The other side no longer takes the stored login: from now on no run starts. False: that was known already.

    Called from sending threads too, under the row lock.
    """
    with transaction.atomic():
        known = Connection.objects.filter(pk=connection_id).exclude(state=ConnectionState.REAUTHORIZE)
        changed = known.update(state=ConnectionState.REAUTHORIZE, state_message=reason, checked_at=timezone.now()) == 1
        if changed:
            connection = Connection.objects.only("name").get(pk=connection_id)
            audit.record("login_lost", connection, by=None, door="system", detail={"reason": reason})
            logger.warning("Connection %s needs a person to log in again.", connection_id)
            touches.touch_connection(connection_id)
            transaction.on_commit(lambda: switched(connection_id), robust=True)
    return changed


def renewed(connection_id: int) -> bool:
    """A person gave a new credential: runs may start again; whether it works is for a test or the next run to say."""
    with transaction.atomic():
        waiting = Connection.objects.filter(pk=connection_id, state=ConnectionState.REAUTHORIZE)
        changed = waiting.update(state=ConnectionState.UNCHECKED, state_message="") == 1
        touches.touch_connection(connection_id)
        transaction.on_commit(lambda: switched(connection_id), robust=True)
    return changed


def switched(connection_id: int) -> None:
    """Tell whoever shows the status of syncs; a signal that is lost costs seconds."""
    connection_switched.send_robust(sender=Connection, connection_id=connection_id)


def refuse_ended(connection: Connection) -> None:
    """Raises ``CredentialsError`` where nothing can be sent before a person has logged in."""
    if connection.state == ConnectionState.REAUTHORIZE:
        raise CredentialsError(
            f"{login_text(connection)} Open the connection's page, renew the login there, then run the sync again.",
            code=REAUTHORIZE,
            field="credentials",
        )


def moment(seconds: float | None) -> datetime | None:
    """Unix time as a date and time; None for none."""
    return datetime.fromtimestamp(seconds, tz=UTC) if seconds else None


def login_text(connection: Connection) -> str:
    return f"“{connection.name}”: log in again at the destination."


def expiry_text(connection: Connection, now: datetime) -> str:
    """The warning that is due before a known end of the credential; empty where none is."""
    ends_at = connection.credential_expires_at
    if ends_at is None or ends_at > now + timedelta(days=settings.RETL["CREDENTIAL_WARNING_DAYS"]):
        return ""
    verb = "expired" if ends_at <= now else "expires"
    return f"The credential of “{connection.name}” {verb} on {ends_at:%-d %b %Y}. Renew it on the connection's page."
