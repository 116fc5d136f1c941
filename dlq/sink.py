"""Where a run's refused rows go, and where a reprocess run finds its rows: the engine's ports, kept in dead letters.

Everything in ``DLQSink`` happens inside the recorder's transaction and may be repeated by it without harm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db.models import Count, Exists, Max, Min, OuterRef, Q
from django.utils import timezone

from dlq.choices import DELETE_BY_KEY, LIVE, Door, EntryStatus, EventKind, ReprocessMode, RowState
from dlq.models import DLQEntry, DLQEvent
from dlq.services import edits, group_counters, overtaken
from dlq.services.group_counters import Shifts
from dlq.services.grouping import Failure, Grouping, Place
from syncs.choices import Trigger
from syncs.engine.hashing import row_json
from syncs.engine.ports import Ready, Rejected, chunked
from syncs.errors import ErrorType
from syncs.models import DeliveredRow, Run
from syncs.records import Operation

_CHUNK = 500  # keys a statement: stays below SQLite's limit on parameters
_REPROCESS_CHUNK = 200
_MESSAGE_KEPT = 4_000  # characters; more than grouping reads


class DLQSink:
    """``engine.ports.RejectedRowSink`` for one run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._grouping = Grouping(run.sync_id, run_id=run.pk)

    # -- refused rows

    def store(self, rejected: Sequence[Rejected], *, columns: Sequence[str]) -> None:
        """One live entry per row key; a repeated failure raises its counts, once per run."""
        now = timezone.now()
        rows = {item.key: item for item in rejected}
        failures = {key: _failure(item) for key, item in rows.items()}
        places = self._grouping.place(failures, now=now)
        group_counters.lock({*(place.group_id for place in places.values()), *self._groups_of(list(rows))})
        known = {entry.row_key: entry for entry in self._live(list(rows))}
        shifts = Shifts()
        fresh = []
        for key, item in rows.items():
            if key not in known:
                fresh.append(self._new_entry(item, failures[key], places[key], shifts, columns, now))
            else:
                self._refresh(known[key], item, failures[key], places[key], shifts, columns, now)
        DLQEntry.objects.bulk_create(fresh, batch_size=_CHUNK)
        again = list(known.values())
        kept = {entry.pk for key, entry in known.items() if self._keeps_row(rows[key])}
        read = [entry for entry in again if entry.pk not in kept]
        DLQEntry.objects.bulk_update(read, [*_REFRESHED, *_OF_THE_ROW], batch_size=_CHUNK // 10)
        DLQEntry.objects.bulk_update([entry for entry in again if entry.pk in kept], _REFRESHED, batch_size=_CHUNK // 10)
        shifts.apply()
        group_counters.note_failures(shifts.failed, run_id=self._run.pk, at=now)
        self._write_events(fresh + again, now)

    def _groups_of(self, keys: Sequence[str]) -> set[int]:
        found: set[int] = set()
        for chunk in chunked(keys, _CHUNK):
            live = DLQEntry.objects.filter(sync_id=self._run.sync_id, status__in=LIVE, row_key__in=chunk)
            found.update(live.values_list("group_id", flat=True))
        return found

    def _live(self, keys: Sequence[str]) -> Iterator[DLQEntry]:
        """Live entries of these keys, locked: a discard at the same moment comes before or after, never in between."""
        for chunk in chunked(keys, _CHUNK):
            live = DLQEntry.objects.filter(sync_id=self._run.sync_id, status__in=LIVE, row_key__in=chunk)
            yield from live.select_for_update().defer("source_row", "payload")

    def _new_entry(
        self, item: Rejected, failure: Failure, place: Place, shifts: Shifts, columns: Sequence[str], now: datetime
    ) -> DLQEntry:
        entry = DLQEntry(sync_id=self._run.sync_id, row_key=item.key, first_run_id=self._run.pk, first_failed_at=now)
        shifts.fail(place.group_id, now)
        shifts.enter(place.group_id, was_in=None)
        self._fill(entry, item, failure, place, columns, now)
        entry.attempt_count = item.attempts
        return entry

    def _refresh(
        self,
        entry: DLQEntry,
        item: Rejected,
        failure: Failure,
        place: Place,
        shifts: Shifts,
        columns: Sequence[str],
        now: datetime,
    ) -> None:
        """The same row failed again: it is open again, with what this failure says. Groups move with it."""
        is_repeat = entry.run_id == self._run.pk and entry.status == EntryStatus.OPEN and entry.last_failed_at is not None
        if not is_repeat:
            entry.failure_count += 1
            entry.attempt_count += item.attempts
        if not is_repeat or entry.group_id != place.group_id:
            shifts.fail(place.group_id, now)
        shifts.enter(place.group_id, was_in=entry.group_id)
        self._fill(entry, item, failure, place, columns, now)

    def _fill(
        self, entry: DLQEntry, item: Rejected, failure: Failure, place: Place, columns: Sequence[str], now: datetime
    ) -> None:
        error = item.error
        entry.status = EntryStatus.OPEN
        entry.group_id, entry.fingerprint = place
        entry.error_type, entry.error_code, entry.field = failure.error_type, failure.error_code, failure.field
        entry.message = failure.message[:_MESSAGE_KEPT]
        entry.is_permanent = error.permanent
        ruled = error.ruled
        entry.error_rule_id = ruled.rule_id if ruled else None
        entry.said_type = ruled.type.value if ruled else ""
        entry.said_permanent = ruled.is_permanent if ruled else None
        entry.http_status = error.http_status
        entry.response_excerpt = _clean(error.excerpt)
        entry.request_id = _clean(item.request_id)[:120]
        entry.operation = item.operation.value
        if not self._keeps_row(item):
            entry.source_row = row_json(columns, item.row) if item.row else ""
            entry.row_state, entry.row_checked_at = RowState.UNKNOWN, None
        entry.payload = item.record.body.decode() if item.record else ""
        entry.content_hash = item.content_hash
        entry.run_id = self._run.pk
        entry.version_id = self._run.version_id
        entry.step_number = item.step_number
        entry.last_failed_at = now
        entry.updated_at = now
        entry.reprocess_run_id = None
        entry.reprocess_mode = ""

    def _keeps_row(self, item: Rejected) -> bool:
        """A payload that was sent as it is: the row that was read before still stands."""
        return not item.row and self._run.trigger == Trigger.REPROCESS

    def _write_events(self, entries: Sequence[DLQEntry], now: datetime) -> None:
        DLQEvent.objects.bulk_create(
            [
                DLQEvent(
                    entry=entry,
                    kind=EventKind.FAILED,
                    at=now,
                    run_id=self._run.pk,
                    door=Door.RUN,
                    detail={"error_type": entry.error_type, "message": entry.message[:300], "step": entry.step_number},
                )
                for entry in entries
            ],
            batch_size=_CHUNK // 10,
        )

    # -- accepted rows

    def resolve(self, keys: Sequence[str]) -> None:
        """These keys were accepted (or are again what was accepted): close their live entries, naming the run."""
        for chunk in chunked(keys, _CHUNK):
            self._close(chunk, "A run delivered the row.")

    def _close(self, keys: Sequence[str], reason: str) -> None:
        groups = self._groups_of(keys)
        if not groups:
            return
        group_counters.lock(groups)
        now = timezone.now()
        shifts = Shifts()
        ids = []
        for entry in self._live(keys):
            shifts.open[entry.group_id] -= 1
            ids.append(entry.pk)
        DLQEntry.objects.filter(pk__in=ids, status__in=LIVE).update(
            status=EntryStatus.RESOLVED,
            closed_at=now,
            close_reason=reason,
            resolved_run_id=self._run.pk,
            updated_at=now,
        )
        shifts.apply()
        group_counters.note_deliveries(shifts.open, run_id=self._run.pk, at=now, reason=f"{reason} It was the last open one.")
        DLQEvent.objects.bulk_create(
            [DLQEvent(entry_id=pk, kind=EventKind.RESOLVED, at=now, run_id=self._run.pk, reason=reason) for pk in ids],
            batch_size=_CHUNK // 10,
        )

    # -- around a run

    def transient_keys(self) -> Iterator[list[str]]:
        entries = DLQEntry.objects.filter(sync_id=self._run.sync_id, status=EntryStatus.OPEN, is_permanent=False)
        yield from chunked(entries.values_list("row_key", flat=True).iterator(chunk_size=_CHUNK), _CHUNK)

    def summary(self) -> list[dict[str, Any]]:
        """What this run dead-lettered, by cause, most first: type, code, field, a sample message, count."""
        found = (
            DLQEntry.objects.filter(run_id=self._run.pk)
            .order_by()
            .values("error_type", "error_code", "field", "group__title")
            .annotate(count=Count("pk"), sample=Min("message"))
            .order_by("-count")[:50]
        )
        return [
            {
                "type": row["error_type"], "code": row["error_code"], "field": row["field"], "title": row["group__title"][:300],
                "message": row["sample"][:300], "count": row["count"],
            }
            for row in found
        ]  # fmt: skip

    def finish(self, *, is_complete: bool) -> None:
        """Entries that still wait for this run go back to open; after a complete read, invalid-key rows that did not come back
        are closed: there is no key by which any run could deliver them."""
        now = timezone.now()
        waiting = DLQEntry.objects.filter(reprocess_run_id=self._run.pk, status__in=(EntryStatus.QUEUED, EntryStatus.INFLIGHT))
        DLQEvent.objects.bulk_create(
            [
                DLQEvent(
                    entry_id=pk, kind=EventKind.REOPENED, at=now, run_id=self._run.pk, reason="The run left the row as it was."
                )
                for pk in waiting.values_list("pk", flat=True)
            ],
            batch_size=_CHUNK // 10,
        )
        edits.put_back(self._run, waiting)
        waiting.update(status=EntryStatus.OPEN, reprocess_run=None, reprocess_mode="", updated_at=now)
        if is_complete:
            self._close_absent_invalid_keys()

    def _close_absent_invalid_keys(self) -> None:
        seen = DeliveredRow.objects.filter(sync_id=OuterRef("sync_id"), row_key=OuterRef("row_key"), seen_run_id=self._run.pk)
        absent = DLQEntry.objects.filter(
            ~Exists(seen), sync_id=self._run.sync_id, status__in=LIVE, error_type=ErrorType.INVALID_KEY
        ).exclude(run_id=self._run.pk)
        while keys := list(absent.values_list("row_key", flat=True)[:_CHUNK]):
            self._close(keys, "The query no longer returns this row.")
            DeliveredRow.objects.filter(sync_id=self._run.sync_id, row_key__in=keys, payload_hash__isnull=True).delete()


_REFRESHED = [
    "status", "group", "fingerprint", "error_type", "error_code", "field", "message", "is_permanent", "http_status",
    "response_excerpt", "request_id", "operation", "payload", "content_hash", "run", "version", "step_number", "attempt_count",
    "failure_count", "last_failed_at", "updated_at", "reprocess_run", "reprocess_mode", "error_rule_id", "said_type",
    "said_permanent",
]  # fmt: skip
_OF_THE_ROW = ["source_row", "row_state", "row_checked_at"]


def _failure(item: Rejected) -> Failure:
    error = item.error
    return Failure(error.type.value, error.code[:120], _clean(error.field)[:255], _clean(error.message))


def _clean(text: str) -> str:
    """PostgreSQL stores no NUL, and no lone surrogates can be encoded."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


class EntrySelection:
    """``engine.ports.ReprocessSelection``: the entries that wait for one reprocess run, walked by id."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.reads_warehouse = run.options.get("mode") not in (ReprocessMode.PAYLOAD, ReprocessMode.EDITED)

    def _waiting(self) -> Any:
        return DLQEntry.objects.filter(
            reprocess_run_id=self._run.pk, status__in=(EntryStatus.QUEUED, EntryStatus.INFLIGHT)
        ).order_by("pk")

    def count(self) -> int:
        found: int = self._waiting().count()
        return found

    def chunks(self) -> Iterator[list[str]]:
        """Row keys to read again. Each chunk is marked in flight as it is handed out."""
        for entries in self._walk(ReprocessMode.CURRENT):
            yield [entry.row_key for entry in entries]

    def stored(self) -> Iterator[list[tuple[str, Mapping[str, Any]]]]:
        for entries in self._walk(ReprocessMode.STORED):
            fresh = self._not_overtaken(entries)
            # A delete has no row to send: the warehouse had none any more when it was refused.
            with_row = [entry for entry in fresh if entry.source_row and entry.operation != Operation.DELETE]
            self.gone([entry.row_key for entry in fresh if entry not in with_row])
            yield [(entry.row_key, entry.source_values) for entry in with_row]

    def ready(self) -> Iterator[list[Ready]]:
        """Payloads as they were sent, and corrected ones. The ledger is credited with what the warehouse row gave."""
        for entries in self._walk(ReprocessMode.PAYLOAD):
            yield [_ready(entry, entry.payload) for entry in self._not_overtaken(entries) if entry.payload]
        for entries in self._walk(ReprocessMode.EDITED):
            fresh = self._not_overtaken(entries)
            bodies = edits.bodies(self._run, [entry.pk for entry in fresh])
            yield [_ready(entry, bodies[entry.pk]) for entry in fresh if entry.pk in bodies]

    def deletes(self) -> Iterator[list[str]]:
        for entries in self._walk(DELETE_BY_KEY):
            yield [entry.row_key for entry in entries]

    def back(self, keys: Sequence[str]) -> None:
        """The warehouse has these rows again, so they are not deleted; their entries are open for a decision."""
        overtaken.give_back(self._waiting().filter(row_key__in=keys), run=self._run)

    def _not_overtaken(self, entries: list[DLQEntry]) -> list[DLQEntry]:
        """Stored content is never sent over newer data; entries of rows that were delivered meanwhile are closed instead."""
        closed = overtaken.supersede([entry.pk for entry in entries if entry.is_live], run=self._run)
        return [entry for entry in entries if entry.pk not in closed]

    def _mine(self, mode: str) -> Any:
        """What waits; and once the run was interrupted, also what it settled before: the ledger credits those rows to it, so
        that its counts are whole."""
        waiting = Q(reprocess_run_id=self._run.pk, reprocess_mode=mode, status__in=(EntryStatus.QUEUED, EntryStatus.INFLIGHT))
        if self._run.fence > 1 and self._run.options.get("mode", ReprocessMode.CURRENT) == mode:
            ours = DeliveredRow.objects.filter(sync_id=OuterRef("sync_id"), row_key=OuterRef("row_key"), run_id=self._run.pk)
            settled = Q(resolved_run_id=self._run.pk) | Q(run_id=self._run.pk, status=EntryStatus.OPEN)
            waiting |= settled & Q(Exists(ours))  # no later run has written the row since
        return DLQEntry.objects.filter(waiting).order_by("pk")

    def _walk(self, mode: str) -> Iterator[list[DLQEntry]]:
        after = 0
        mine = self._mine(mode)
        last = mine.aggregate(last=Max("pk"))["last"] or 0
        while True:
            entries = list(mine.filter(pk__gt=after, pk__lte=last)[:_REPROCESS_CHUNK])
            if not entries:
                return
            after = entries[-1].pk
            DLQEntry.objects.filter(pk__in=[entry.pk for entry in entries], status=EntryStatus.QUEUED).update(
                status=EntryStatus.INFLIGHT, updated_at=timezone.now()
            )
            yield entries

    def gone(self, keys: Sequence[str]) -> None:
        """The warehouse has no row for these keys: the entry stays, and its history says so. A delete that was refused is no
        longer held back: the next run that reads every row tries it again."""
        for chunk in chunked(keys, _CHUNK):
            deletes = self._waiting().filter(row_key__in=chunk, operation=Operation.DELETE).order_by()
            held = DeliveredRow.objects.filter(
                sync_id=self._run.sync_id, row_key__in=list(deletes.values_list("row_key", flat=True))
            )
            held.update(is_hold_permanent=False)
            entries = list(self._waiting().filter(row_key__in=chunk).values_list("pk", flat=True))
            DLQEvent.objects.bulk_create(
                [
                    DLQEvent(
                        entry_id=pk, kind=EventKind.GONE, run_id=self._run.pk, reason="The query returns no row with this key."
                    )
                    for pk in entries
                ]
            )
            now = timezone.now()
            DLQEntry.objects.filter(pk__in=entries).update(
                status=EntryStatus.OPEN, reprocess_run=None, reprocess_mode="", row_state=RowState.GONE, row_checked_at=now,
                updated_at=now,
            )  # fmt: skip


def _ready(entry: DLQEntry, body: str) -> Ready:
    return Ready(entry.row_key, Operation(entry.operation), body, entry.content_hash)
