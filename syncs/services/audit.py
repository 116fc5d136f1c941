"""The log of changes to the set-up: who changed which connection, sync or rule, when, and from what to what."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import QuerySet

from syncs.models import AuditEvent
from syncs.services import access

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# What belongs to no team's sync.
_EVERYBODYS = ("connection", "tag", "team", "errorrule", "channel", "retentionrule", "purge", "apikey", "serviceaccount")

MASK = "•••"  # stands for any value that must not be read
acting_key: ContextVar[str] = ContextVar("acting_key", default="")  # prefix of the API key that asks; empty: none does


def record(
    act: str, target: models.Model, *, by: User | None, door: str, detail: Mapping[str, Any] | None = None
) -> AuditEvent:
    """Write one event, in the caller's transaction. ``door``: admin, api, cli or system. ``detail``: JSON, without secrets.

    What was done with an API key says with which one.
    """
    key = acting_key.get() if door == "api" else ""
    return AuditEvent.objects.create(
        actor_id=by.pk if by else None,
        door=door,
        act=act,
        target_type=str(target._meta.model_name),
        target_id=target.pk,
        target_name=str(target)[:255],
        detail={**(detail or {}), **({"api_key": key} if key else {})},
    )


def differences(
    before: Mapping[str, Any], after: Mapping[str, Any], *, secret: frozenset[str] = frozenset()
) -> dict[str, list[Any]]:
    """{name: [before, after]} of what differs; values of names in ``secret`` are masked."""
    found: dict[str, list[Any]] = {}
    for name in sorted({*before, *after}):
        one, other = before.get(name), after.get(name)
        if one != other:
            found[name] = [_masked(one), _masked(other)] if name in secret else [one, other]
    return found


def _masked(value: Any) -> Any:
    return MASK if value else value


def history(target: models.Model) -> QuerySet[AuditEvent]:
    """Newest first."""
    chosen = AuditEvent.objects.filter(target_type=str(target._meta.model_name), target_id=target.pk)
    return chosen.select_related("actor")


def seen_by(user: User) -> QuerySet[AuditEvent]:
    """Every event; for who does not see every team's syncs, those of visible syncs and of what belongs to none."""
    rows = AuditEvent.objects.select_related("actor")
    ids = access.visible_sync_ids(user)
    if ids is None:
        return rows
    mine = models.Q(target_type="sync", target_id__in=ids) | models.Q(target_type__in=_EVERYBODYS)
    return rows.filter(mine)
