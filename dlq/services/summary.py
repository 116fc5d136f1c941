"""The numbers of a confirmation page: what would be acted on, by sync, error type, response code and error group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Count, Max, Min, Q

from dlq.choices import EntryStatus
from dlq.models import DLQEntry, ErrorGroup
from dlq.services import estimates, preflight, samples
from dlq.services.entries import BUSY, CLOSED, NO_KEY, NOT_DISCARDED, LeftOut
from dlq.services.estimates import Estimate
from dlq.services.preflight import SyncChanges
from dlq.services.snapshots import BulkKind, Snapshot
from dlq.services.tally import counts as tally_counts
from syncs.errors import ErrorType
from syncs.models import Sync

GROUPS_SHOWN = 6
LARGE = 100_000  # more are not read for the page: five seconds for a million, half a minute while the disk is cold
SAMPLE = 400
SYNCS_READ = 500  # the largest ones; of the rest only the number is told
_BUSY = (EntryStatus.QUEUED, EntryStatus.INFLIGHT)


@dataclass(frozen=True, slots=True)
class Line:
    """``of``: what the label names: id of a sync or group, error type, HTTP status (None: no response)."""

    label: str
    count: int
    note: str = ""
    of: int | str | None = None


@dataclass(slots=True)
class Summary:
    """``count``: entries that the act would take; the breakdowns are of these. ``left_out``: the rest, with why.
    ``passing_count``: of these, failed for a reason that passes by itself. ``changes``, ``estimate``: for a reprocess.
    ``sample_size``: 0, or of so many entries the groups, times, versions and ``passing_count`` were guessed; the rest is exact.
    """

    count: int = 0
    left_out: list[LeftOut] = field(default_factory=list)
    by_sync: list[Line] = field(default_factory=list)
    by_type: list[Line] = field(default_factory=list)
    by_code: list[Line] = field(default_factory=list)
    by_group: list[Line] = field(default_factory=list)
    group_count: int = 0
    oldest_at: datetime | None = None
    newest_at: datetime | None = None
    passing_count: int = 0
    warnings: list[str] = field(default_factory=list)
    sync_names: dict[int, str] = field(default_factory=dict)
    group_titles: dict[int, str] = field(default_factory=dict)  # of the most frequent
    changes: SyncChanges | None = None
    estimate: Estimate | None = None
    sample_size: int = 0


@dataclass(slots=True)
class _Tally:
    """While the one query is read."""

    syncs: Counter[int] = field(default_factory=Counter)
    types: Counter[str] = field(default_factory=Counter)
    codes: Counter[int | None] = field(default_factory=Counter)
    groups: Counter[int] = field(default_factory=Counter)
    versions: Counter[tuple[int, int | None]] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)


def summarise(snapshot: Snapshot) -> Summary:
    """Three queries; for a reprocess five more, however many syncs and versions there are."""
    result, tally = Summary(), _Tally()
    lines = _tallied(snapshot)
    for row in _rows(snapshot) if lines is None else lines:
        _add(result, tally, row, snapshot.kind)
    if lines is not None:
        _guess(result, tally, snapshot)
    largest = [pk for pk, _count in tally.syncs.most_common(SYNCS_READ)]
    chosen = Sync.objects.filter(pk__in=largest).select_related("source", "destination")
    syncs: dict[int, Any] = {sync.pk: sync for sync in estimates.with_newest_runs(chosen)}
    titles = _titles(tally.groups)
    names = result.sync_names = {pk: sync.name for pk, sync in syncs.items()}
    result.group_titles = {pk: title for pk, (title, _sync) in titles.items()}
    result.by_sync = [Line(names.get(pk, f"sync {pk}"), count, of=pk) for pk, count in tally.syncs.most_common()]
    result.by_type = [Line(ErrorType(one).info.label, count, of=one) for one, count in tally.types.most_common()]
    result.by_code = [
        Line("No response" if code is None else str(code), count, of=code) for code, count in tally.codes.most_common()
    ]
    result.by_group = [
        Line(titles[pk][0], count, titles[pk][1] if len(names) > 1 else "", of=pk)
        for pk, count in tally.groups.most_common(GROUPS_SHOWN)
        if pk in titles
    ]
    result.group_count = len(tally.groups)
    result.left_out = [LeftOut(count, reason) for reason, count in tally.left_out.most_common()]
    if snapshot.kind == BulkKind.REPROCESS and result.count:
        result.warnings = [sentence for pk in largest if pk in syncs for sentence in _state_of(syncs[pk], tally.syncs[pk])]
        result.changes = preflight.sync_changes(syncs, tally.versions)
        result.estimate = estimates.estimate(syncs, tally.syncs)
    return result


def told(snapshot: Snapshot, summary: Summary) -> Snapshot:
    """The confirmation, held to what was shown with it."""
    return snapshot.showing(count=summary.count, changed_count=summary.changes.changed if summary.changes else 0)


def _rows(snapshot: Snapshot) -> Iterable[dict[str, Any]]:
    columns = ("sync_id", "error_type", "http_status", "status", "version_id", "group_id")
    passing = Count("pk", filter=Q(is_permanent=False))
    found = snapshot.entries().order_by().values(*columns)
    # No iterator: for a cursor PostgreSQL plans as if only the first lines were wanted, and sorts instead of hashing.
    times = {"oldest": Min("first_failed_at"), "newest": Max("last_failed_at")}
    return list(found.annotate(count=Count("pk"), passing=passing, **times))


def _tallied(snapshot: Snapshot) -> list[dict[str, Any]] | None:
    """What the tally tells of a selection that takes seconds to read; None where it is small, or is filtered by more."""
    if snapshot.ids is not None or snapshot.count <= LARGE:
        return None
    facets = tally_counts(snapshot.filter())
    if facets is None:
        return None
    columns = ("sync_id", "status", "error_type", "http_status", "count")
    unknown = {"passing": 0, "oldest": None, "newest": None}
    return [dict(zip(columns, line, strict=True)) | unknown for line in facets.lines]


def _guess(result: Summary, tally: _Tally, snapshot: Snapshot) -> None:
    """Groups, versions and times, from a sample of the entries that the act would take, scaled up to all of them."""
    ids = samples.scattered(snapshot.entries(), SAMPLE, last_id=snapshot.max_id, seed=snapshot.nonce)
    columns = ("sync_id", "version_id", "group_id", "is_permanent", "first_failed_at", "last_failed_at", "status", "error_type")
    taken = [
        row
        for row in DLQEntry.objects.filter(pk__in=ids).values(*columns)
        if not _obstacle(snapshot.kind, row["status"], row["error_type"])
    ]
    if not taken:
        return
    result.sample_size = len(taken)
    each = result.count / len(taken)
    groups = Counter(row["group_id"] for row in taken)
    versions = Counter((row["sync_id"], row["version_id"]) for row in taken)
    tally.groups = Counter({pk: round(count * each) for pk, count in groups.items()})
    tally.versions = Counter({key: round(count * each) for key, count in versions.items()})
    result.passing_count = round(sum(not row["is_permanent"] for row in taken) * each)
    result.oldest_at = min(row["first_failed_at"] for row in taken)
    result.newest_at = max(row["last_failed_at"] for row in taken)


def _add(result: Summary, tally: _Tally, row: Mapping[str, Any], kind: BulkKind) -> None:
    count = row["count"]
    obstacle = _obstacle(kind, row["status"], row["error_type"])
    if obstacle:
        tally.left_out[obstacle] += count
        return
    result.count += count
    result.passing_count += row["passing"]
    result.oldest_at = min(filter(None, (result.oldest_at, row["oldest"])), default=None)
    result.newest_at = max(filter(None, (result.newest_at, row["newest"])), default=None)
    tally.syncs[row["sync_id"]] += count
    tally.types[row["error_type"]] += count
    tally.codes[row["http_status"]] += count
    if "group_id" in row:
        tally.groups[row["group_id"]] += count
        tally.versions[row["sync_id"], row["version_id"]] += count


def _obstacle(kind: BulkKind, status: str, error_type: str) -> str:
    """Why an entry with this status would be left out; "" when it would not."""
    if kind in (BulkKind.REPROCESS, BulkKind.CHECK) and error_type == ErrorType.INVALID_KEY:
        return NO_KEY
    if kind in (BulkKind.EXPORT, BulkKind.ASSIGN, BulkKind.CHECK):
        return ""
    if kind == BulkKind.REOPEN:
        return "" if status == EntryStatus.DISCARDED else NOT_DISCARDED
    if status == EntryStatus.OPEN:
        return ""
    return BUSY if status in _BUSY else CLOSED


def _titles(groups: Counter[int]) -> dict[int, tuple[str, str]]:
    """Title and sync of the most frequent error groups."""
    ids = [pk for pk, _count in groups.most_common(GROUPS_SHOWN)]
    rows = ErrorGroup.objects.filter(pk__in=ids).values_list("pk", "title", "sync__name")
    return {pk: (title, name) for pk, title, name in rows}


def _state_of(sync: Sync, count: int) -> list[str]:
    if sync.is_paused:
        return [f"{sync.name} is paused: its {count:,} wait until it is resumed."]
    if sync.status == "failing":
        return [f"{sync.name} is failing now: its {count:,} may fail again."]
    return []
