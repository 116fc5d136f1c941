"""Exports: small ones at once, large ones written by a worker and offered for some days.

Who may have which, how long they are kept, and what a person does to one. ``export_work`` writes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django_q.models import OrmQ

from dlq.choices import Door, ExportStatus
from dlq.models import Export
from dlq.services import export, export_files, export_plan, export_work, snapshots
from dlq.services.export import Download
from dlq.services.export_plan import Plan
from dlq.services.export_work import work
from dlq.services.moves import Act, ActRefusedError
from dlq.services.snapshots import Snapshot
from syncs.querysets import database_now
from syncs.services import access, audit

if TYPE_CHECKING:
    from django.contrib.auth.models import User

__all__ = ["advance_here", "cancel", "create", "expire", "look_after", "may_fetch", "start", "visible", "work"]

RAW = "dlq.exportraw_dlqentry"
_WAITED = timedelta(seconds=20)
WORKING = (ExportStatus.QUEUED, ExportStatus.RUNNING)


# --- Asking for one


def start(
    snapshot: Snapshot,
    *,
    format: str,
    columns: Sequence[str] = (),
    is_flat: bool = False,
    is_raw: bool = False,
    by: User,
    reason: str = "",
    door: Door,
) -> Download | Export:
    """The file itself up to ``EXPORT_STREAM_ROWS`` entries, else an ``Export`` that a worker writes.

    Raises ``ActRefusedError`` with ``field`` for a bad choice.
    """
    plan = _checked(snapshot, format, columns, is_flat=is_flat, is_raw=is_raw, by=by)
    why = export_plan.checked_reason(reason, is_raw=is_raw)
    if export.is_large(snapshot.count):
        return _create(snapshot, plan, by=by, reason=why, door=door)
    act = Act(by=by, door=door, reason=why, detail=export_work.detail_of(plan))
    try:
        return export.download(snapshots.checked(snapshot), plan, note=lambda ids: export.note_exported(ids, act))
    except OSError as error:
        raise ActRefusedError(export_files.problem(error)) from error


def create(
    snapshot: Snapshot,
    *,
    format: str,
    columns: Sequence[str] = (),
    is_flat: bool = False,
    is_raw: bool = False,
    by: User,
    reason: str = "",
    door: Door,
) -> Export:
    """Queue an export; posting the same confirmation again finds the one that is there. Raises ``ActRefusedError``."""
    plan = _checked(snapshot, format, columns, is_flat=is_flat, is_raw=is_raw, by=by)
    return _create(snapshot, plan, by=by, reason=export_plan.checked_reason(reason, is_raw=is_raw), door=door)


def _checked(snapshot: Snapshot, format: str, columns: Sequence[str], *, is_flat: bool, is_raw: bool, by: User) -> Plan:
    plan = export_plan.checked(format, columns, is_flat=is_flat, is_raw=is_raw)
    if is_raw and not by.has_perm(RAW):
        raise ActRefusedError("You may export masked values only. Leave “unmasked” unticked.", field="is_raw")
    export_plan.check_count(plan, snapshot.count)
    return plan


def _create(snapshot: Snapshot, plan: Plan, *, by: User, reason: str, door: Door) -> Export:
    with transaction.atomic():
        made, is_new = Export.objects.get_or_create(
            token_digest=snapshot.digest,
            defaults={
                "format": plan.format.value,
                "columns": list(plan.columns),
                "is_flat": plan.is_flat,
                "is_raw": plan.is_raw,
                "query": snapshot.query,
                "ids": None if snapshot.ids is None else list(snapshot.ids),
                "max_id": snapshot.max_id,
                "as_of": snapshot.as_of,
                "expected_count": snapshot.count,
                "created_by": by,
                "reason": reason,
                "door": door,
            },
        )
        if is_new:
            detail = {**export_work.detail_of(plan), "expected": made.expected_count, "reason": reason}
            audit.record("begun", made, by=by, door=door, detail=detail)
            export_work.ring(made)
    return made


# --- Looking after them


def look_after() -> None:
    """On the tick: wake a worker where a message was lost or a worker died; take away the files whose time is over."""
    now = database_now()
    for made in _waiting(now, queued_before=now - _WAITED).order_by("pk")[:10]:
        # A message that still waits will wake somebody; one that a cluster has taken is locked far into the future.
        if not OrmQ.objects.filter(key=export_work.cluster(made), lock__lte=timezone.now()).exists():
            export_work.ring(made)
    Export.objects.filter(status=ExportStatus.READY, expires_at__lte=now).update(status=ExportStatus.EXPIRED)
    over = Export.objects.filter(status__in=(ExportStatus.EXPIRED, ExportStatus.CANCELLED)).exclude(file_name="")
    for made in over.order_by("pk")[:100]:
        export_files.remove(made.file_name)
        Export.objects.filter(pk=made.pk).update(file_name="")
    export_files.remove_orphans()


def _waiting(now: datetime, *, queued_before: datetime) -> QuerySet[Export]:
    return Export.objects.filter(
        Q(status=ExportStatus.QUEUED, created_at__lte=queued_before) | Q(status=ExportStatus.RUNNING, lease_until__lt=now)
    )


def advance_here() -> bool:
    """Write the next export in this process. False: none waits."""
    now = database_now()
    made = _waiting(now, queued_before=now).order_by("pk").values_list("pk", flat=True).first()
    return made is not None and work(made)


def cancel(made: Export, *, by: User | None, door: Door | None = None) -> bool:
    """Stop one that is not ready yet. False: it is over already."""
    working = Export.objects.filter(pk=made.pk, status__in=WORKING)
    message = f"Cancelled by {_name(by)}."
    with transaction.atomic():
        if not working.update(status=ExportStatus.CANCELLED, lease_until=None, finished_at=timezone.now(), message=message):
            return False
        _note("cancelled", made, by, door)
    return True


def expire(made: Export, *, by: User | None, door: Door | None = None) -> bool:
    """Take the file away before its time. False: there is none."""
    ready = Export.objects.filter(pk=made.pk, status=ExportStatus.READY)
    message = f"The file was deleted by {_name(by)}."
    with transaction.atomic():
        if not ready.update(status=ExportStatus.EXPIRED, expires_at=timezone.now(), message=message):
            return False
        _note("file_deleted", made, by, door)
    export_files.remove(made.file_name)
    Export.objects.filter(pk=made.pk).update(file_name="")
    return True


def _name(by: User | None) -> str:
    return by.get_username() if by else "the command line"


def _note(act: str, made: Export, by: User | None, door: Door | None) -> None:
    audit.record(act, made, by=by, door=door or (Door.ADMIN if by else Door.CLI))


def why_no_file(made: Export) -> str:
    """What to do where there is nothing to download."""
    if made.status == ExportStatus.READY:
        return "The file is not in the export folder any more. Export again, or ask an operator about RETL_EXPORT_DIR."
    if made.status == ExportStatus.EXPIRED:
        return "The file is deleted. Export again if you still need it."
    return "The file is not ready yet." if made.status in WORKING else "There is no file. Export again."


def may_see_all(user: User) -> bool:
    """Exports of others too: who may export unmasked, and works for every team."""
    return user.has_perm(RAW) and access.visible_sync_ids(user) is None


def may_fetch(made: Export, user: User) -> bool:
    """Its owner, while they may export at all (an unmasked one: unmasked); others only who may see all exports."""
    if not user.has_perm("dlq.export_dlqentry") or (made.is_raw and not user.has_perm(RAW)):
        return False
    return made.created_by_id == user.pk or may_see_all(user)


def visible(user: User) -> QuerySet[Export]:
    return Export.objects.all() if may_see_all(user) else Export.objects.filter(created_by=user)
