"""Run a claimed run to its end: build what the engine needs from the pinned version, then record how it ended."""

from __future__ import annotations

import gc
import logging
import random
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.module_loading import import_string

from syncs import log_context
from syncs.choices import Detection, OnMappingError, RunStatus, SyncMode, Trigger
from syncs.destinations.base import Destination
from syncs.engine import mapping
from syncs.engine.pipeline import Ending, Pipeline
from syncs.engine.plan import Plan
from syncs.engine.ports import Budget, Flag, Mapper, RejectedRowSink, Rows
from syncs.engine.retry import RetryPolicy
from syncs.errors import ConfigError, FenceLostError, RedriveError
from syncs.models import Connection, Run, Sync
from syncs.records import Operation
from syncs.services import connections, credentials, leases, runs, sinks, targets
from syncs.services import rows as row_sources
from syncs.services.budget import SharedBudget, Unlimited
from syncs.services.counting import carried_counts, recorded_counts
from syncs.services.ledger import DatabaseLedger
from syncs.services.recorder import DatabaseRecorder, storable
from syncs.sources.base import Source, SourceQuery

log = logging.getLogger(__name__)
_WITH_READY_ROWS = (row_sources.ReprocessRows, row_sources.ReadyRows)


class SystemClock:
    monotonic = staticmethod(time.monotonic)
    sleep = staticmethod(time.sleep)
    now = staticmethod(timezone.now)


def execute(claim: leases.Claim) -> None:
    """Ends the run, or gives it back to the queue (drain, pause, a long wait). Quiet when another worker took it over."""
    # A run makes and drops objects by the million and hardly any cycles; Python's default looks for cycles all the time.
    gc.set_threshold(20_000, 20, 50)
    # The recording and sending threads wait for the interpreter after each packet; by default the busy reading thread would
    # keep it from them for 5 ms each time.
    sys.setswitchinterval(0.0002)
    run = Run.objects.select_related("sync__source", "sync__destination", "version").get(pk=claim.run_id)
    with log_context.working_on(run_id=claim.run_id, sync_id=run.sync_id):
        try:
            with leases.LeaseKeeper(claim) as control:
                _Execution(run, claim, control).go()
        except FenceLostError as error:
            log.warning("Run %s: %s This worker wrote nothing more.", claim.run_id, error)


@dataclass(slots=True)
class _Reading:
    """``is_complete``: every row of the query. ``is_whole``: all that the detection asks for; no limit, no chosen keys."""

    rows: Rows
    is_complete: bool
    is_whole: bool


class _Execution:
    def __init__(self, run: Run, claim: leases.Claim, control: leases.LeaseKeeper) -> None:
        if run.version is None:
            raise ConfigError("The run has no version of its sync.")
        self._run = run
        self._sync: Sync = run.sync
        self._claim = claim
        self._control = control
        self._snapshot: Mapping[str, Any] = run.version.snapshot
        self._sink: RejectedRowSink = sinks.build(run)
        self._clock = SystemClock()

    def go(self) -> None:
        try:
            with ExitStack() as stack:
                ending, reading = self._run_engine(stack)
        except FenceLostError:
            raise
        except RedriveError as error:  # nothing was read or sent: the set-up is at fault
            self._end(Ending(recorded_counts(self._run), failure=error), None)
            return
        self._end(ending, reading)

    def _run_engine(self, stack: ExitStack) -> tuple[Ending, _Reading]:
        targets.start_over_elsewhere(self._run, self._claim)
        source = connections.open_source(self._connection("source"))
        stack.callback(source.close)
        destination = self._open_destination(stack)
        reading = self._open_rows(source, stack)
        fields = [mapping.MappingField.from_snapshot(item) for item in self._snapshot["mappings"]]
        mapper = self._mapper(fields, reading.rows)
        plan = self._plan(destination, mapping.key_fields(fields), is_complete=reading.is_complete)
        self._control.concurrency = plan.concurrency
        ledger = DatabaseLedger(sync_id=self._sync.pk, run_id=self._run.pk)
        pipeline = Pipeline(
            plan=plan,
            rows=reading.rows,
            mapper=mapper,
            destination=destination,
            ledger=ledger,
            recorder=self._recorder(plan, reading, ledger),
            control=self._control,
            budget=self._budget(destination),
            clock=self._clock,
            random=random.random,
            counts=carried_counts(self._run, plan.mode) if plan.is_resumed else None,
            ready=reading.rows.ready() if isinstance(reading.rows, _WITH_READY_ROWS) else (),
        )
        return pipeline.run(), reading

    def _mapper(self, fields: Sequence[mapping.MappingField], rows: Rows) -> Mapper:
        if isinstance(rows, row_sources.ReadyRows):
            return rows
        problems = mapping.validate_mapping(fields, rows.columns)
        if problems:
            raise ConfigError(problems[0].message, field=problems[0].field)
        return mapping.compile_mapping(fields, rows.columns)

    def _connection(self, role: str) -> Connection:
        """The one that the run's version names: the sync may have been pointed to another one since."""
        pinned = self._snapshot[role]
        found = Connection.objects.filter(pk=pinned["id"]).first()
        if found is None:
            raise ConfigError(f"The {role} connection “{pinned['name']}” was deleted. Choose another one and run the sync.")
        credentials.refuse_ended(found)
        return found

    def _recorder(self, plan: Plan, reading: _Reading, ledger: DatabaseLedger) -> DatabaseRecorder:
        self._writer = DatabaseRecorder(
            run_id=self._run.pk,
            sync_id=self._sync.pk,
            fence=self._claim.fence,
            forgets_deleted=plan.mode is not SyncMode.DELETE and (plan.is_forced or plan.mode is SyncMode.MIRROR),
            columns=reading.rows.columns,
            ledger=ledger,
            sink=self._sink,
            control=self._control,
            clock=self._clock,
            adopts_earlier_runs=reading.is_whole,
        )
        return self._writer

    def _open_destination(self, stack: ExitStack) -> Destination:
        keys = [item["destination_field"] for item in self._snapshot["mappings"] if item.get("is_key")]
        destination = connections.open_destination(
            self._connection("destination"),
            object_name=self._snapshot["destination_object"],
            options={"key_fields": keys, **self._snapshot["destination_options"]},
        )
        stack.callback(destination.close)
        return destination

    def _budget(self, destination: Destination) -> Budget:
        limits = destination.capabilities
        if not limits.requests_per_window:
            return Unlimited()
        return SharedBudget(
            connection_id=self._snapshot["destination"]["id"],
            limit=limits.requests_per_window,
            window_seconds=limits.window_seconds,
        )

    # -- reading

    def _open_rows(self, source: Source, stack: ExitStack) -> _Reading:
        snapshot, options = self._snapshot, self._run.options
        query = SourceQuery(sql=snapshot["query"], key_columns=tuple(snapshot["key_columns"]))
        if self._run.trigger == Trigger.REPROCESS:
            selection = import_string(settings.RETL["REPROCESS_SELECTION"])(self._run)
            chosen: Rows = (
                row_sources.ReprocessRows(source, query, selection)
                if selection.reads_warehouse
                else row_sources.ReadyRows(query.key_columns, selection)
            )
            return _Reading(chosen, is_complete=False, is_whole=False)
        if options.get("keys"):
            return _Reading(row_sources.KeyRows(source, query, list(options["keys"])), is_complete=False, is_whole=False)
        is_watermark = snapshot["detection"] == Detection.WATERMARK
        cursor_after = None
        if is_watermark and not options.get("full"):
            stored = Sync.objects.values_list("watermark", flat=True).get(pk=self._sync.pk)
            cursor_after = row_sources.watermark_from_json(
                stored, overlap_seconds=snapshot["cursor_overlap_seconds"], scope=targets.watermark_scope(snapshot)
            )
        query = SourceQuery(
            sql=query.sql,
            key_columns=query.key_columns,
            cursor_column=snapshot["cursor_column"] if is_watermark else "",
            cursor_after=cursor_after,
            is_cursor_loose=True,  # what shares the highest value, or has none yet, may be new
            limit=options.get("limit"),
        )
        extra = self._sink.transient_keys() if cursor_after is not None else None
        rows = row_sources.QueryRows(source, query, stack=stack, extra_keys=extra)
        is_whole = query.limit is None
        return _Reading(rows, is_complete=cursor_after is None and is_whole, is_whole=is_whole)

    def _plan(self, destination: Destination, key_fields: tuple[str, ...], *, is_complete: bool) -> Plan:
        snapshot, limits = self._snapshot, destination.capabilities
        plan = Plan(
            run_id=self._run.pk,
            sync_id=self._sync.pk,
            key_columns=tuple(snapshot["key_columns"]),
            mode=SyncMode(snapshot["mode"]),
            detection=Detection(snapshot["detection"]),
            key_fields=key_fields,
            operations=limits.operations,
            idempotent=limits.idempotent,
            batch_records=min(snapshot["batch_records"] or limits.max_records, limits.max_records),
            batch_bytes=limits.max_bytes,
            record_bytes=limits.max_record_bytes,
            concurrency=limits.concurrency,
            has_jobs=limits.has_jobs,
            open_jobs=limits.max_open_jobs,
            retry=RetryPolicy(snapshot["max_attempts"], float(snapshot["retry_budget_seconds"])),
            breaker_threshold=snapshot["breaker_threshold"],
            fail_on_mapping_error=snapshot["on_mapping_error"] == OnMappingError.FAIL,
            is_forced=self._run.trigger == Trigger.REPROCESS,
            is_full=bool(self._run.options.get("full")),
            is_complete_read=is_complete,
            is_resumed=self._claim.fence > 1,
            delete_guard_percent=snapshot["delete_guard_percent"],
            delete_guard_rows=snapshot["delete_guard_rows"],
            approved_delete_count=self._sync.approved_delete_count,
            lease_margin_seconds=leases.lease_seconds() / 6,
        )
        needed = {plan.operation} | ({Operation.DELETE} if plan.mode is SyncMode.MIRROR else set())
        lacking = sorted(operation.value for operation in needed - limits.operations)
        if lacking:
            raise ConfigError(
                f"The destination object “{snapshot['destination_object']}” has no operation {', '.join(lacking)}, which the "
                f"mode {plan.mode.value} needs. Choose another mode or configure the operation on the connection.",
                field="mode",
            )
        return plan

    # -- the end

    def _end(self, ending: Ending, reading: _Reading | None) -> None:
        if ending.failure is None and ending.flag in (Flag.PAUSE, Flag.DRAIN):
            reason = "The sync is paused." if ending.flag is Flag.PAUSE else "The worker is stopping; another one goes on."
            runs.release(self._claim, reason=reason)
            return
        if ending.failure is None and ending.wait_seconds is not None:
            until = timezone.now() + timedelta(seconds=ending.wait_seconds)
            moment = f"{until:%Y-%m-%d %H:%M:%S} UTC"
            reason = f"The destination asked to wait until {moment}."
            if ending.waits_for_jobs:
                reason = f"The destination works on what it took in; it is asked again at {moment}."
            runs.release(self._claim, reason=reason, not_before=until)
            return
        status, reason = self._verdict(ending)
        if reading is None:
            self._finish(ending, reading, status, reason)
        else:
            self._writer.persistently(lambda: self._finish(ending, reading, status, reason))

    def _verdict(self, ending: Ending) -> tuple[RunStatus, str]:
        if ending.failure is not None:
            return RunStatus.FAILED, ""
        if ending.flag is Flag.CANCEL:
            return RunStatus.CANCELLED, "Cancelled; rows that were not settled stay pending."
        if not ending.is_complete:  # the engine left rows unsettled without saying why: never call that a success
            return RunStatus.FAILED, "The run ended with unsettled rows."
        return (RunStatus.PARTIAL if ending.counts.dead_lettered else RunStatus.SUCCEEDED), ""

    def _finish(self, ending: Ending, reading: _Reading | None, status: RunStatus, reason: str) -> None:
        with transaction.atomic():
            is_read_whole = ending.is_complete and reading is not None and reading.is_complete
            if ending.failure is not None:
                ending.failure.message, ending.failure.code = storable(ending.failure.message), storable(ending.failure.code)
            finished = runs.finish(
                self._claim,
                status=status,
                counts=ending.counts,
                error_summary=self._sink.summary(),
                failure=ending.failure,
                reason=reason,
            )
            if not finished:
                raise FenceLostError("Another worker owns this run now.")
            self._sink.finish(is_complete=is_read_whole)
            if ending.is_complete and reading is not None and reading.is_whole:
                self._move_on(reading)

    def _move_on(self, reading: _Reading) -> None:
        """The watermark moves only when a whole run ends well; an approval of deletes is used up by the run it was for."""
        values: dict[str, Any] = {}
        highest = getattr(reading.rows, "highest", None)
        if highest is not None:
            values["watermark"] = row_sources.watermark_to_json(highest, scope=targets.watermark_scope(self._snapshot))
        if self._snapshot["mode"] == SyncMode.MIRROR and self._sync.approved_delete_count is not None:
            values["approved_delete_count"] = None
        if values:
            Sync.objects.filter(pk=self._sync.pk).update(**values)
