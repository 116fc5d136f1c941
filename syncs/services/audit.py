"""The log of changes to the set-up: who changed which connection, sync or rule, when, and from what to what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import QuerySet

from syncs.models import AuditEvent

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MASK = "•••"  # stands for any value that must not be read


def record(
    act: str, target: models.Model, *, by: User | None, door: str, detail: Mapping[str, Any] | None = None
) -> AuditEvent:
    """Write one event, in the caller's transaction. ``door``: admin, api, cli or system. ``detail``: JSON, without secrets."""
    return AuditEvent.objects.create(
        actor_id=by.pk if by else None,
        door=door,
        act=act,
        target_type=str(target._meta.model_name),
        target_id=target.pk,
        target_name=str(target)[:255],
        detail=dict(detail or {}),
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
