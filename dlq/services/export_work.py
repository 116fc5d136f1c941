"""Writing an export in the background: held by lease and fence, to a part file that is offered only when it is whole.

Killed at any moment, the next worker starts over; each entry's history says once that it was exported, however often that
happened.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError
from django.db.models import Q, QuerySet
from django.utils import timezone
from django_q.tasks import async_task

from dlq.choices import Door, ExportStatus
from dlq.models import Export
from dlq.services import export, export_files, moves
from dlq.services.export import Written
from dlq.services.export_plan import ExportFormat, Plan
from dlq.services.moves import Act, ActRefusedError
from dlq.services.snapshots import BulkKind, Snapshot
from syncs.querysets import database_now
from syncs.services.doorbell import FAST_CLUSTER
from syncs.services.leases import lease_seconds

logger = logging.getLogger(__name__)

WRITE = "dlq.tasks.write_export"
_FAST_ROWS = 100_000  # more would keep short runs waiting for the one worker of the fast cluster
_TRIES = 10
_RENEW_SECONDS = 3.0


class LostError(Exception):
    """Another worker holds the export now, or a person cancelled it."""


@dataclass(frozen=True, slots=True)
class Claim:
    export_id: int
    fence: int


def detail_of(plan: Plan, export_id: int | None = None) -> dict[str, object]:
    """What each entry's history says of the export."""
    detail: dict[str, object] = {"format": plan.format.value}
    if plan.is_raw:
        detail["raw"] = True
    if export_id is not None:
        detail["export"] = export_id
    return detail


def plan_of(made: Export) -> Plan:
    return Plan(ExportFormat(made.format), tuple(made.columns), made.is_flat, made.is_raw)


def snapshot_of(made: Export) -> Snapshot:
    return Snapshot(
        kind=BulkKind.EXPORT,
        query=made.query,
        ids=None if made.ids is None else tuple(made.ids),
        max_id=made.max_id,
        as_of=made.as_of,
        count=made.expected_count,
        user_id=made.created_by_id or 0,
    )


def cluster(made: Export) -> str:
    return FAST_CLUSTER if made.expected_count <= _FAST_ROWS else str(settings.Q_CLUSTER["name"])


def ring(made: Export) -> None:
    """Wake a worker. Within a transaction, the message rides its commit."""
    async_task(WRITE, made.pk, cluster=cluster(made))


def work(export_id: int) -> bool:
    """Answer one doorbell: write the export if nobody else does. False: there was nothing to do, or it was taken away."""
    claim = _claim(export_id)
    if claim is None:
        return False
    try:
        return _write(claim)
    except LostError:
        return False
    except OSError as error:
        return _fail(claim, export_files.problem(error))
    except ActRefusedError as refusal:
        return _fail(claim, str(refusal))
    except DatabaseError:
        raise  # the lease ends by itself, and the export starts over when the database does
    except Exception as error:
        logger.exception("Export %s stopped by an error that nobody foresaw.", export_id)
        return _fail(claim, f"An unforeseen error stopped it ({type(error).__name__}). The worker's log has the details.")


def _claim(export_id: int) -> Claim | None:
    now = database_now()
    free = Export.objects.filter(
        Q(status=ExportStatus.QUEUED) | Q(status=ExportStatus.RUNNING, lease_until__lt=now), pk=export_id
    )
    fence = free.values_list("fence", flat=True).first()
    if fence is None:
        return None
    if fence >= _TRIES:
        free.filter(fence=fence).update(
            status=ExportStatus.FAILED,
            lease_until=None,
            finished_at=now,
            message=f"The worker died {fence} times while it wrote this file. The worker's log may say why; choose CSV, or "
            "fewer columns, and export again.",
        )
        return None
    lease = now + timedelta(seconds=2 * lease_seconds())
    values = {"status": ExportStatus.RUNNING, "lease_until": lease, "started_at": now, "row_count": 0, "message": ""}
    return Claim(export_id, fence + 1) if free.filter(fence=fence).update(fence=fence + 1, **values) else None


def _write(claim: Claim) -> bool:
    made = Export.objects.select_related("created_by").get(pk=claim.export_id)
    plan = plan_of(made)
    _check_right(made)
    entries = moves.on_own_columns(snapshot_of(made).entries())
    act = Act(by=made.created_by, door=Door(made.door), reason=made.reason, detail=detail_of(plan, made.pk))
    keeper = _Keeper(claim)
    part, file = export_files.open_part(claim.export_id, claim.fence)

    def note(ids: Sequence[int]) -> None:
        keeper.renew(len(ids))
        export.note_exported(ids, act, unless_of=made.pk if claim.fence > 1 else None)

    try:
        with file:
            written = export.write(file, entries, plan, note=note, alive=lambda _ids: keeper.renew(0))
            keeper.renew(0, at_once=True)
            name = export_files.publish(part, file, export_id=made.pk, ending=made.format)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return _offer(claim, name, written)


def _check_right(made: Export) -> None:
    """Whoever asked for it may have left, or lost the right, while it waited. Raises ``ActRefusedError``."""
    by = made.created_by
    needed = ("dlq.export_dlqentry", "dlq.exportraw_dlqentry") if made.is_raw else ("dlq.export_dlqentry",)
    if by is not None and not (by.is_active and by.has_perms(needed)):
        raise ActRefusedError(f"{by.get_username()}, who asked for it, may not export{' unmasked' * made.is_raw} any more.")


class _Keeper:
    """Keeps the lease and the progress, at most every few seconds. Raises ``LostError``."""

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self._rows = 0
        self._renewed_at = time.monotonic()

    def renew(self, rows: int, *, at_once: bool = False) -> None:
        self._rows += rows
        if not at_once and time.monotonic() - self._renewed_at < _RENEW_SECONDS:
            return
        until = database_now() + timedelta(seconds=2 * lease_seconds())
        if not _mine(self._claim).update(lease_until=until, row_count=self._rows):
            raise LostError
        self._renewed_at = time.monotonic()


def _mine(claim: Claim) -> QuerySet[Export]:
    return Export.objects.filter(pk=claim.export_id, fence=claim.fence, status=ExportStatus.RUNNING)


def _offer(claim: Claim, name: str, written: Written) -> bool:
    now = timezone.now()
    is_ours = _mine(claim).update(
        status=ExportStatus.READY,
        file_name=name,
        row_count=written.rows,
        byte_count=written.bytes,
        sha256=written.sha256,
        lease_until=None,
        finished_at=now,
        expires_at=now + timedelta(days=settings.RETL["EXPORT_DAYS"]),
    )
    if not is_ours:
        export_files.remove(name)
    return bool(is_ours)


def _fail(claim: Claim, message: str) -> bool:
    _mine(claim).update(status=ExportStatus.FAILED, lease_until=None, finished_at=timezone.now(), row_count=0, message=message)
    return False
