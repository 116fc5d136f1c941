"""Events for webhook channels that chose them: runs, statuses, error groups, operations. Incidents go by ``routing``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from dlq.choices import OPERATION_OVER, GroupEventKind
from dlq.models import BulkOperation, ErrorGroup, GroupEvent
from monitoring.channels.base import Message
from monitoring.choices import Event, Severity
from monitoring.models import Channel, Delivery, StatusChange
from monitoring.services import messages, outbox
from syncs.choices import RUN_TERMINAL, RunStatus
from syncs.models import Run, Sync

logger = logging.getLogger(__name__)

# What a webhook channel can choose beside incidents.
CHOOSABLE = (
    Event.RUN_FINISHED,
    Event.STATUS_CHANGED,
    Event.GROUP_NEW,
    Event.GROUP_REGRESSED,
    Event.DLQ_GREW,
    Event.OPERATION_FINISHED,
)
_OF_RUNS = (Event.RUN_FINISHED, Event.DLQ_GREW, Event.GROUP_NEW, Event.GROUP_REGRESSED)  # told when a run ends
_LOOK_BACK = timedelta(minutes=15)  # of a tick, for what no signal told
_MOST = 200  # runs that a tick looks at


def publish(
    event: Event,
    *,
    subject: str,
    sync: Sync | None = None,
    run: Run | None = None,
    at: datetime,
    data: Mapping[str, Any] | None = None,
    title: str = "",
    message: Message | None = None,
) -> int:
    """Put it into the outbox of every webhook channel that is on and chose ``event``, in the caller's transaction. Once for
    each ``subject``, however often it is called. ``message``: what to say; else it is made of ``title`` and ``data``.

    Returns how many channels get it.
    """
    return _publish(
        event,
        choosers(event),
        subject=subject,
        sync=sync,
        run=run,
        make=lambda: message or _plain(event, subject, title, at, data),
    )


def _plain(event: Event, subject: str, title: str, at: datetime, data: Mapping[str, Any] | None) -> Message:
    return messages.make(event, severity=Severity.INFO, subject=subject, title=title or event.value, at=at, data=data)


def choosers(*events: Event) -> list[Channel]:
    """Channels that are on and chose one of ``events``. There are few channels: which events one chose is looked at here."""
    wanted = set(events)
    found = Channel.objects.filter(is_enabled=True, kind="webhook").exclude(events=[]).defer("secrets", "config")
    return [channel for channel in found if wanted & set(channel.events)]


def _publish(
    event: Event, channels: Iterable[Channel], *, subject: str, make: Callable[[], Message], sync: Sync | None, run: Run | None
) -> int:
    chosen = [channel for channel in channels if event in channel.events]
    if not chosen:
        return 0
    message = make()
    made = [
        outbox.put(
            event=event, subject=subject, severity=message.severity, message=message, channel=channel, sync=sync, run=run
        )
        for channel in chosen
    ]
    return sum(one is not None for one in made)


# --- what happened


def status_changed(change: StatusChange) -> int:
    """Call it in the transaction that wrote the change."""
    chosen = choosers(Event.STATUS_CHANGED)
    if not chosen:
        return 0
    return _publish(
        Event.STATUS_CHANGED,
        chosen,
        subject=f"status:{change.pk}",
        make=partial(messages.of_status, change),
        sync=change.sync,
        run=change.run,
    )


def run_finished(run_id: int) -> int:
    """A run has ended: itself, what it added to the dead letters, and error groups that came up or came back in it."""
    chosen = choosers(*_OF_RUNS)
    if not chosen:
        return 0
    run = Run.objects.select_related("sync").filter(pk=run_id, status__in=RUN_TERMINAL).first()
    return _of_run(run, chosen) if run is not None else 0


def _of_run(run: Run, chosen: list[Channel]) -> int:
    events = [Event.RUN_FINISHED]
    if run.dead_lettered_count and run.status != RunStatus.SKIPPED:
        events.append(Event.DLQ_GREW)
    done = 0
    for event in events:
        make = partial(messages.of_run, run, event)
        done += _publish(event, chosen, subject=f"run:{run.pk}", make=make, sync=run.sync, run=run)
    return done + (_of_groups(run, chosen) if len(events) > 1 else 0)


def _of_groups(run: Run, chosen: list[Channel]) -> int:
    done = 0
    for group in ErrorGroup.objects.filter(first_run=run).order_by("pk")[:_MOST]:
        group.sync = run.sync
        done += _publish(
            Event.GROUP_NEW,
            chosen,
            subject=f"group:{group.pk}",
            make=partial(messages.of_group, group, Event.GROUP_NEW, at=group.first_seen_at),
            sync=run.sync,
            run=run,
        )
    back = GroupEvent.objects.filter(
        group__sync=run.sync_id, kind=GroupEventKind.REGRESSED, at__gte=run.started_at or run.queued_at
    )
    for event in back.select_related("group").order_by("pk")[:_MOST]:
        event.group.sync = run.sync
        done += _publish(
            Event.GROUP_REGRESSED,
            chosen,
            subject=f"group:{event.group_id}:{event.pk}",
            make=partial(messages.of_group, event.group, Event.GROUP_REGRESSED, at=event.at),
            sync=run.sync,
            run=run,
        )
    return done


def catch_up(now: datetime) -> int:
    """On the tick: operations that have ended, and runs whose signal was lost. One query where no channel chose anything."""
    chosen = choosers(*CHOOSABLE)
    if not chosen:
        return 0
    done = 0
    for run in _untold_runs(now, chosen):
        try:
            done += _of_run(run, chosen)
        except Exception:
            logger.exception("The end of run %s could not be told to webhooks; the next tick tries again.", run.pk)
    return done + sum(_told_operation(operation, chosen) for operation in _ended_operations(now, chosen))


def _untold_runs(now: datetime, chosen: list[Channel]) -> list[Run]:
    of_runs = [one for one in chosen if set(_OF_RUNS) & set(one.events)]
    if not of_runs:
        return []
    newest = Run.objects.order_by("-pk").values_list("pk", flat=True)[:_MOST]
    ended = Run.objects.filter(pk__in=list(newest), status__in=RUN_TERMINAL, finished_at__gt=now - _LOOK_BACK)
    told = Delivery.objects.filter(channel__in=of_runs, event__in=_OF_RUNS, created_at__gt=now - 2 * _LOOK_BACK)
    known = set(told.exclude(run=None).values_list("run_id", flat=True))
    return [run for run in ended.select_related("sync").order_by("pk") if run.pk not in known]


def _ended_operations(now: datetime, chosen: list[Channel]) -> list[BulkOperation]:
    if not any(Event.OPERATION_FINISHED in one.events for one in chosen):
        return []
    ended = BulkOperation.objects.filter(finished_at__gt=now - _LOOK_BACK, status__in=OPERATION_OVER)
    told = Delivery.objects.filter(event=Event.OPERATION_FINISHED, created_at__gt=now - 2 * _LOOK_BACK)
    known = set(told.values_list("subject", flat=True))
    return [one for one in ended.order_by("pk")[:_MOST] if _subject_of(one) not in known]


def _subject_of(operation: BulkOperation) -> str:
    return f"operation:{operation.pk}"


def _told_operation(operation: BulkOperation, chosen: list[Channel]) -> int:
    return _publish(
        Event.OPERATION_FINISHED,
        chosen,
        subject=_subject_of(operation),
        make=partial(messages.of_operation, operation),
        sync=None,
        run=None,
    )
