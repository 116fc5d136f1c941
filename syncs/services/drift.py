"""Drift: a destination changed under a sync. It is noted on the sync, holds its reprocess back, and ends with a preview.

A sync drifts when a breaking change of its destination object touches its mapping. It is settled when the mapping fits again,
or a person has said that it stays as it is, and a preview of the present version, made after the last break, showed no problem.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from syncs.engine import schema_drift
from syncs.engine.schema_drift import Touch
from syncs.errors import ConfigError
from syncs.models import AuditEvent, Connection, FieldMapping, SchemaChange, SchemaSnapshot, Sync
from syncs.services import access, audit, schema_store, touches, versions
from syncs.signals import sync_switched

if TYPE_CHECKING:
    from django.contrib.auth.models import User

logger = logging.getLogger(__name__)

DRIFTED, CLEARED, ACKNOWLEDGED = "schema_drifted", "drift_cleared", "drift_acknowledged"
REASON_MAX = 255


def mark(snapshot: SchemaSnapshot, changes: Sequence[SchemaChange], *, by: User | None, door: str) -> list[Sync]:
    """Note on each sync of the object that these changes of its newest snapshot touch its mapping. Within the transaction that
    stores them. Returns the syncs concerned."""
    if not any(change.is_breaking for change in changes):
        return []
    concerned = []
    used = {"destination_id": snapshot.connection_id, "destination_object": snapshot.object_name}
    for sync in Sync.objects.active().filter(**used).order_by("pk").prefetch_related("mappings"):
        touched = _touches(sync, changes, snapshot)
        if touched:
            _note(sync, snapshot, touched, by=by, door=door)
            concerned.append(sync)
    return concerned


def _touches(sync: Sync, changes: Iterable[SchemaChange], snapshot: SchemaSnapshot) -> list[Touch]:
    lines = sorted(sync.mappings.all(), key=lambda line: (line.position, line.pk))
    mapping = schema_store.mapping_of(lines)
    return schema_drift.touches(list(changes), mapping, schema_store.fields(snapshot), mode=sync.mode)


def _note(sync: Sync, snapshot: SchemaSnapshot, touched: list[Touch], *, by: User | None, door: str) -> None:
    """A break that is found while an older one waits adds to it, and takes back the preview that was made before."""
    anew: dict[str, Any] = {"previewed_at": None, "previewed_digest": ""}
    reason = schema_drift.sentence(touched)
    mine = Sync.objects.filter(pk=sync.pk)
    if not mine.filter(drift_since__isnull=True).update(drift_since=snapshot.taken_at, drift_reason=reason, **anew):
        since = mine.values_list("drift_since", flat=True).get() or snapshot.taken_at
        every = schema_store.changes_since(snapshot.connection_id, snapshot.object_name, since)
        reason = schema_drift.sentence(_touches(sync, every, snapshot))
        mine.filter(drift_since=since).update(drift_reason=reason, **anew)
    detail = {"object": snapshot.object_name, "schema": snapshot.number, "reason": reason}
    audit.record(DRIFTED, sync, by=by, door=door, detail=detail)
    _tell(sync.pk)


def _tell(sync_id: int) -> None:
    touches.touch(sync_id)
    transaction.on_commit(lambda: sync_switched.send_robust(sender=Sync, sync_id=sync_id) and None)


def touches_of(sync: Sync) -> list[Touch]:
    """What has touched the sync's mapping since it drifted and still does, as the mapping is now. Up to three queries."""
    snapshot = schema_store.current(sync.destination, sync.destination_object)
    if sync.drift_since is None or snapshot is None:
        return []
    changes = schema_store.changes_since(sync.destination_id, sync.destination_object, sync.drift_since)
    return _touches(sync, changes, snapshot)


def drifted_fields(sync: Sync) -> frozenset[str]:
    """Names of the fields whose breaking changes are waiting to be settled: a preview is judged by these."""
    if sync.drift_since is None:
        return frozenset()
    changes = schema_store.changes_since(sync.destination_id, sync.destination_object, sync.drift_since)
    return frozenset(changes.filter(is_breaking=True).values_list("field", flat=True))


def note_preview(
    sync: Sync,
    version_digest: str,
    is_clean: bool,
    *,
    snapshot: SchemaSnapshot | None = None,
    by: User | None = None,
    door: str = "admin",
) -> bool:
    """A preview of the version with this digest (``versions.digest_of(versions.snapshot(sync))``, taken before the rows were
    read) was shown; ``is_clean``: no row of it broke a rule of the destination. Only looked at while the sync has drifted.

    ``snapshot``: the one that the rows were judged by; a newer one makes the preview void. True: it ended the drift.
    """
    if not is_clean:
        return False
    mine = Sync.objects.filter(pk=sync.pk, drift_since__isnull=False)
    if snapshot is not None:
        newer = SchemaSnapshot.objects.filter(
            connection_id=OuterRef("destination_id"), object_name=OuterRef("destination_object"), number__gt=snapshot.number
        )
        mine = mine.filter(~Exists(newer))
    if not mine.update(previewed_at=timezone.now(), previewed_digest=version_digest):
        return False
    return settle(sync, by=by, door=door)


def settle(sync: Sync, *, by: User | None, door: str) -> bool:
    """End the drift where nothing speaks against it any more. False: it goes on, or there is none."""
    with transaction.atomic():
        # Saving a sync takes this lock too: the mapping that is judged here is the one that stands when it ends.
        fresh = Sync.objects.select_for_update(no_key=True, of=("self",)).select_related("destination").get(pk=sync.pk)
        if fresh.drift_since is None or not is_previewed(fresh):
            return False
        if any(touch.is_certain for touch in touches_of(fresh)) and acknowledged(fresh) is None:
            return False
        as_read = Sync.objects.filter(pk=fresh.pk, drift_since=fresh.drift_since, previewed_at=fresh.previewed_at)
        if as_read.update(drift_since=None, drift_reason="") != 1:
            return False
        audit.record(CLEARED, fresh, by=by, door=door, detail={"reason": fresh.drift_reason})
        _tell(fresh.pk)
    logger.info("Sync %s: the drift of its destination's schema is settled.", sync.pk)
    return True


def is_previewed(sync: Sync) -> bool:
    """A preview of the sync as it is now, made after the last break, showed no problem. Up to two queries."""
    return _is_after_break(sync) and sync.previewed_digest == versions.digest_of(versions.snapshot(sync))


def _is_after_break(sync: Sync) -> bool:
    if sync.drift_since is None or sync.previewed_at is None or sync.previewed_at < sync.drift_since:
        return False
    return bool(sync.previewed_digest)


def acknowledge(sync: Sync, *, by: User, reason: str, door: str) -> bool:
    """A person says that the mapping stays as it is; the preview is still asked for. True: with it, the drift is settled.

    Raises ``ConfigError`` without a reason, or where nothing has drifted.
    """
    text = reason.strip().replace("\0", "")
    if not text:
        raise ConfigError("Say why the mapping may stay as it is: it is kept in the history.", field="reason")
    if len(text) > REASON_MAX:
        raise ConfigError(f"The reason has {len(text)} characters; at most {REASON_MAX} fit.", field="reason")
    fresh = Sync.objects.get(pk=sync.pk)
    if fresh.drift_since is None:
        raise ConfigError(f"The destination of “{sync.name}” has not changed since its last preview: nothing to acknowledge.")
    with transaction.atomic():
        detail = {"reason": text, "drift": fresh.drift_reason}
        audit.record(ACKNOWLEDGED, fresh, by=by, door=door, detail=detail)
        return settle(fresh, by=by, door=door)


def acknowledged(sync: Sync) -> AuditEvent | None:
    """Who said, since the last break, that the mapping stays as it is."""
    chosen = audit.history(sync).filter(act__in=(ACKNOWLEDGED, DRIFTED), at__gte=_since(sync))
    last = chosen.first()
    return last if last is not None and last.act == ACKNOWLEDGED else None


def _since(sync: Sync) -> datetime:
    assert sync.drift_since is not None
    return sync.drift_since


def drifted() -> list[Sync]:
    """Syncs whose reprocess waits for a preview; usually none. One query, and two more for each that has a preview."""
    found = Sync.objects.filter(drift_since__isnull=False).select_related("source", "destination").order_by("pk")
    return [sync for sync in found if is_held(sync)]


def drifted_at(connection: Connection, user: User) -> list[Sync]:
    """Syncs that write there, have drifted, and that the user may see; each with ``is_held``. Three queries."""
    chosen = Sync.objects.active().filter(destination=connection, drift_since__isnull=False).order_by("drift_since", "pk")
    found = list(access.scoped(chosen, user, by="pk").select_related("source", "destination"))
    pictures = versions.snapshots(found) if found else {}
    for sync in found:
        is_same = _is_after_break(sync) and sync.previewed_digest == versions.digest_of(pictures[sync.pk])
        sync.is_held = not is_same  # type: ignore[attr-defined]
    return found


def is_held(sync: Sync) -> bool:
    """The destination changed under the sync, and no clean preview of it as it is now has been seen since."""
    return sync.drift_since is not None and not is_previewed(sync)


def lines_of(sync: Sync) -> list[FieldMapping]:
    return sorted(sync.mappings.all(), key=lambda line: (line.position, line.pk))
