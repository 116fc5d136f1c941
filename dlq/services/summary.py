"""The numbers of a confirmation page: what would be acted on, by sync, error type and response code, from one query."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Count, Max, Min

from dlq.choices import EntryStatus
from dlq.services.changes import warnings_before_reprocess
from dlq.services.entries import BUSY, CLOSED, NO_KEY, LeftOut
from dlq.services.snapshots import BulkKind, Snapshot
from syncs.errors import ErrorType
from syncs.models import Sync

_BUSY = (EntryStatus.QUEUED, EntryStatus.INFLIGHT)


@dataclass(frozen=True, slots=True)
class Line:
    label: str
    count: int


@dataclass(slots=True)
class Summary:
    """``count``: entries that the act would take; the breakdowns are of these. ``left_out``: the rest, with why."""

    count: int = 0
    left_out: list[LeftOut] = field(default_factory=list)
    by_sync: list[Line] = field(default_factory=list)
    by_type: list[Line] = field(default_factory=list)
    by_code: list[Line] = field(default_factory=list)
    oldest_at: datetime | None = None
    newest_at: datetime | None = None
    warnings: list[str] = field(default_factory=list)


def summarise(snapshot: Snapshot) -> Summary:
    rows = (
        snapshot.entries()
        .order_by()
        .values("sync_id", "error_type", "http_status", "status", "version_id")
        .annotate(count=Count("pk"), oldest=Min("first_failed_at"), newest=Max("last_failed_at"))
    )
    result = Summary()
    syncs, types, codes = Counter[int](), Counter[str](), Counter[str]()
    left_out = Counter[str]()
    by_version = Counter[tuple[int, int | None]]()
    for row in rows:
        count = row["count"]
        obstacle = _obstacle(snapshot.kind, row["status"], row["error_type"])
        if obstacle:
            left_out[obstacle] += count
            continue
        result.count += count
        syncs[row["sync_id"]] += count
        types[ErrorType(row["error_type"]).info.label] += count
        codes["No response" if row["http_status"] is None else str(row["http_status"])] += count
        by_version[row["sync_id"], row["version_id"]] += count
        result.oldest_at = min(filter(None, (result.oldest_at, row["oldest"])))
        result.newest_at = max(filter(None, (result.newest_at, row["newest"])))
    names = dict(Sync.objects.filter(pk__in=syncs).values_list("pk", "name"))
    result.by_sync = [Line(names.get(pk, "?"), count) for pk, count in syncs.most_common()]
    result.by_type = [Line(label, count) for label, count in types.most_common()]
    result.by_code = [Line(label, count) for label, count in codes.most_common()]
    result.left_out = [LeftOut(count, reason) for reason, count in left_out.most_common()]
    if snapshot.kind == BulkKind.REPROCESS and by_version:
        result.warnings = warnings_before_reprocess(by_version)
    return result


def _obstacle(kind: BulkKind, status: str, error_type: str) -> str:
    if kind == BulkKind.EXPORT or status == EntryStatus.OPEN:
        return NO_KEY if kind == BulkKind.REPROCESS and error_type == ErrorType.INVALID_KEY else ""
    return BUSY if status in _BUSY else CLOSED
