"""Made inside a throwaway installation: syncs into a server on loopback, tags, and people with keys."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from retl_project import roles
from syncs.models import Sync, Tag
from tests.api.kit import key_of, person
from tests.faults.api import People

ROWS = 240
OPERATION = "a bulk operation of the storm"


def make(url: str, syncs: int, people: int) -> dict[str, Any]:
    """Ids of syncs and tags, and a key for each person."""
    roles.apply()
    api: Any = SimpleNamespace(server=SimpleNamespace(url=url))
    made = []
    for number in range(syncs):
        sync = People(Path(tempfile.mkdtemp(prefix="redrive-storm-")), api, ROWS, breaker_threshold=1_000).sync
        Sync.objects.filter(pk=sync.pk).update(name=f"Storm {number}", description="0")
        made.append(sync.pk)
    tags = [Tag.objects.create(name=f"counter-{number}-at-0").pk for number in range(3)]
    return {"syncs": made, "tags": tags, "keys": [key_of(person("operator")) for _ in range(people)]}


def verdict() -> dict[str, Any]:
    """What the database says after the storm."""
    from django.db.models import Count

    from dlq.models import DLQEntry, DLQEvent
    from dlq.services import groups
    from syncs.models import Run

    wrong = []
    for entry in DLQEntry.objects.all():
        kinds = list(DLQEvent.objects.filter(entry=entry).order_by("pk").values_list("kind", flat=True))
        wrong += [f"dead letter {entry.pk}: {twice}" for twice in _twice(kinds)]
    events = DLQEvent.objects.filter(door="api").exclude(kind="queued", reason=OPERATION)  # those are counted by themselves
    doubled = DLQEntry.objects.filter(status__in=("open", "queued", "inflight")).values("sync", "row_key")
    return {
        "wrong": wrong,
        "doubled": list(doubled.annotate(count=Count("pk")).filter(count__gt=1).values_list("row_key", flat=True)),
        "recounted": sum(groups.recount(sync) for sync in Sync.objects.all()),
        "runs": dict(Run.objects.values_list("status").annotate(count=Count("pk"))),
        "events": dict(events.values_list("kind").annotate(count=Count("pk"))),
        "unbalanced": [run.pk for run in Run.objects.all() if run.read_count != run.settled_count + run.pending_count],
        "syncs": {sync.pk: sync.description for sync in Sync.objects.all()},
        "tags": {tag.pk: tag.name for tag in Tag.objects.all()},
    }


def _twice(kinds: list[str]) -> list[str]:
    """An act done on what it had been done to already: a discard of something discarded, a reprocess of something queued."""
    state, found = "open", []
    after = {"failed": "open", "queued": "queued", "resolved": "closed", "discarded": "discarded", "reopened": "open",
             "superseded": "closed", "gone": "closed"}  # fmt: skip
    allowed = {"queued": ("open",), "discarded": ("open",), "reopened": ("discarded",)}
    for kind in kinds:
        if kind in allowed and state not in allowed[kind]:
            found.append(f"{kind} while {state} in {kinds}")
        state = after.get(kind, state)
    return found
