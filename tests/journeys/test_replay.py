"""People are told of what goes wrong: of each trouble once, at once, by its cause, and when it is over; of nothing else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from django.db.models import Sum
from django.test import Client

from monitoring.models import Delivery, Incident, Notice, StatusChange
from syncs.choices import SyncStatus
from syncs.models import Run, Sync, SyncDay, SyncHour, SyncTouch
from tests.journeys import replay_script as script
from tests.journeys.replay_places import DAY, MONDAY
from tests.journeys.replay_script import Planted
from tests.journeys.replay_world import World, replay

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.once("sqlite"),
]


def test_two_weeks_of_twelve_troubles_are_each_told_once_after_a_week_of_silence(admin_client: Client, tmp_path: Path):
    with replay(tmp_path) as world:
        script.furnish(world)
        script.rules(world.operations())
        world.until(MONDAY + 7 * DAY, script.healthy_week(world))
        silence = list(complaints_of_a_healthy_week(world))
        assert not silence, "\n".join(silence)
        acts, planted = script.troubles(world, admin_client)
        world.until(script.END, acts)
        assert len(planted) == 12
        found = [*complaints_of_troubles(world, planted), *complaints_of_the_end(world)]
        assert not found, "\n".join([*found, *diary()])


def complaints_of_a_healthy_week(world: World) -> Iterator[str]:
    for incident in Incident.objects.all():
        yield f"An incident in a healthy week: {incident.title}. {incident.text}"
    for message in world.place.heard:
        yield f"Told in a healthy week: {message['data']['title']}"
    if Delivery.objects.exists() or Notice.objects.exists():
        yield "Somebody was told something."
    changes = StatusChange.objects.filter(at__gt=MONDAY)
    seen = [(change.sync.name, change.before, change.after) for change in changes.order_by("pk").select_related("sync")]
    if seen != [("deals", "healthy", "paused"), ("deals", "paused", "healthy")]:
        yield f"Statuses changed in a healthy week: {seen}"


def complaints_of_troubles(world: World, planted: list[Planted]) -> Iterator[str]:
    heard: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for message in world.place.heard:
        heard[message["data"]["incident"]["id"]].append(message)
    expected = set()
    for trouble in planted:
        chosen = Incident.objects.filter(condition=trouble.condition, cause__startswith=trouble.cause, follows=None)
        incidents = [one for one in chosen.prefetch_related("affected__sync") if names(one) == trouble.names]
        if len(incidents) != 1:
            yield f"{trouble.what}: {len(incidents)} incidents ({trouble.cause}, {trouble.condition})"
            continue
        expected.add(incidents[0].pk)
        for text in complaints_of_one(trouble, incidents[0], heard[incidents[0].pk]):
            yield f"{trouble.what}: {text}"
    for incident_id in heard.keys() - expected:
        yield f"Nobody planted this: {[message['data']['title'] for message in heard[incident_id]]}"


def complaints_of_one(trouble: Planted, incident: Incident, heard: list[dict[str, Any]]) -> Iterator[str]:
    earliest, latest = trouble.opens
    if not earliest <= incident.opened_at <= latest:
        yield f"opened at {incident.opened_at}, not from {earliest} to {latest}"
    if incident.resolved_at is None or incident.resolved_at > trouble.is_over:
        yield f"over at {incident.resolved_at}, not by {trouble.is_over}"
    if [message["type"] for message in heard] != ["incident.opened", "incident.resolved"]:
        yield f"told as {[message['type'] for message in heard]}"
    elif [datetime.fromisoformat(message["timestamp"]) for message in heard] != [incident.opened_at, incident.resolved_at]:
        yield f"told at {[message['timestamp'] for message in heard]}"
    noticed = list(
        Notice.objects.filter(incident=incident, user__username="olga").order_by("pk").values_list("event", flat=True)
    )
    if noticed != (["incident.opened", "incident.resolved"] if trouble.names else []):
        yield f"the owner found {noticed}"


def complaints_of_the_end(world: World) -> Iterator[str]:
    yield from world.broken
    for sync in Sync.objects.exclude(status=SyncStatus.HEALTHY):
        yield f"{sync.name} is {sync.status}: {sync.status_reason}"
    for incident in Incident.objects.filter(resolved_at=None):
        yield f"not over: {incident.title}"
    if SyncTouch.objects.exists():
        yield f"{SyncTouch.objects.count()} touches are left"
    usage = world.lines["usage"].sync
    opened = Incident.objects.filter(sync=usage, condition="error_rate").values_list("opened_at", flat=True).first()
    if opened != first_run_beyond(usage, percent=1.0):
        yield f"the slow decay passed one percent at {first_run_beyond(usage, percent=1.0)}, and was told at {opened}"
    figures = ("read_count", "accepted_count", "dead_lettered_count")
    sums = {model: model.objects.aggregate(**{name: Sum(name) for name in figures}) for model in (Run, SyncHour, SyncDay)}
    if sums[Run] != sums[SyncHour] or sums[Run] != sums[SyncDay]:
        yield f"runs, hours and days differ: {sums}"


def first_run_beyond(sync: Sync, *, percent: float) -> datetime | None:
    """The end of the run after which more than this of the rows sent in the 24 hours before had been refused."""
    runs = list(Run.objects.filter(sync=sync, finished_at__gt=MONDAY).order_by("finished_at"))
    for run in runs:
        assert run.finished_at is not None
        window = [one for one in runs if one.finished_at and run.finished_at - DAY < one.finished_at <= run.finished_at]
        refused = sum(one.dead_lettered_count for one in window)
        if 100 * refused >= percent * (refused + sum(one.accepted_count for one in window)):
            return run.finished_at
    return None


def names(incident: Incident) -> frozenset[str]:
    return frozenset(one.sync.name for one in incident.affected.all())


def diary() -> Iterator[str]:
    """All incidents with their timelines: what to read when this fails."""
    for incident in Incident.objects.order_by("pk").prefetch_related("events", "affected__sync"):
        follows = f", follows {incident.follows_id}" if incident.follows_id else ""
        yield f"{incident.pk} {incident.cause} ({incident.condition}, {incident.severity}, {sorted(names(incident))}{follows})"
        for event in incident.events.all():
            yield f"    {event.at:%a %d %H:%M:%S} {event.kind} {event.text}"
