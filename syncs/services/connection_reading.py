"""A connection as programs read it: who may see its settings, which secrets are set, and what an edit is written against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from syncs.choices import ConnectionRole
from syncs.models import AuditEvent, Connection
from syncs.services import access, audit, connection_kinds, connection_tests, connections, credentials, logins
from syncs.services.connection_tests import LastTest

if TYPE_CHECKING:
    from django.contrib.auth.models import User

CHANGE = "syncs.change_connection"


@dataclass(frozen=True, slots=True)
class Secret:
    name: str
    label: str
    is_required: bool
    is_set: bool


def may_read_settings(user: User) -> bool:
    """Settings are for those who set them up: an address tells a lot."""
    return user.has_perm(CHANGE)


def secrets(connection: Connection) -> list[Secret]:
    """Those that its kind declares, in its order; never a value. Empty where the kind cannot be used here."""
    if connection_kinds.unusable(connection.role, connection.kind):
        return []
    stored = {} if connections.unreadable(connection) else (connection.secrets or {})
    fields = connection_kinds.declared(connection.role, connection.kind)
    return [Secret(one.name, one.label, one.is_required, bool(stored.get(one.name))) for one in fields if one.is_secret]


def editable(connection: Connection) -> dict[str, Any]:
    """The part of its state that an edit can change."""
    ends_at = connection.credential_expires_at
    return {
        "name": connection.name,
        "description": connection.description,
        "config": connection.config,
        "secrets": [one.name for one in secrets(connection) if one.is_set],
        "expires_on": ends_at.date().isoformat() if ends_at else None,
    }


def can_log_in(connection: Connection) -> bool:
    return connection.role == ConnectionRole.DESTINATION and logins.can_log_in(connection)


def last_test(connection: Connection) -> LastTest | None:
    return connection_tests.last(list(audit.history(connection).filter(act="tested").order_by("-id")[:1]))


def problem(connection: Connection) -> str:
    """Why it cannot be used as it is here, whatever the other side says; empty where nothing speaks against it."""
    return connection_kinds.unusable(connection.role, connection.kind) or connections.unreadable(connection)


def warning(connection: Connection) -> str:
    return credentials.expiry_text(connection, timezone.now())


def history(connection: Connection, user: User) -> QuerySet[AuditEvent]:
    """What was done to it, newest first; which row of a sync was taken to try it only for those who may see the sync."""
    found = audit.history(connection)
    ids = access.visible_sync_ids(user)
    return found if ids is None else found.filter(~Q(act="row_taken") | Q(act="row_taken", detail__sync_id__in=ids))
