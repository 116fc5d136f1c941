"""The calls that carried a dead letter, over all runs: the steps that the history names, with their attempts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

from django.db.models import Q

from dlq.choices import EventKind
from dlq.models import DLQEntry, DLQEvent
from syncs.models import Step

MOST_STEPS = 20
Place = tuple[int, int]  # run, step number


@dataclass(frozen=True, slots=True)
class Carried:
    """One step that carried the row. ``attempts``: as the step keeps them (``engine.ports.Attempt``); empty where they are no
    longer kept. A step's calls carry other rows as well, unless ``row_count`` is 1."""

    run_id: int
    number: int
    row_count: int
    attempts: list[Mapping[str, Any]]


def carried(entry: DLQEntry, events: Iterable[DLQEvent]) -> list[Carried]:
    """Newest first, at most ``MOST_STEPS``. One query, or none."""
    places = _places(entry, events)
    if not places:
        return []
    wanted = reduce(or_, (Q(run_id=run, number=number) for run, number in places))
    rows = Step.objects.filter(wanted).values_list("run_id", "number", "row_count", "attempts")
    found = {(run, number): Carried(run, number, row_count, attempts) for run, number, row_count, attempts in rows}
    return [found.get(place) or Carried(*place, 0, []) for place in places]


def _places(entry: DLQEntry, events: Iterable[DLQEvent]) -> list[Place]:
    places: dict[Place, None] = {}
    if entry.step_number:
        places[entry.run_id, entry.step_number] = None
    for event in events:
        number = event.detail.get("step") if event.kind == EventKind.FAILED else None
        if event.run_id and isinstance(number, int):
            places[event.run_id, number] = None
    return sorted(places, reverse=True)[:MOST_STEPS]
