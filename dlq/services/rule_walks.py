"""Walks that apply error rules, for people: what applying them now would change, and what earlier ones did."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dlq.choices import EntryStatus
from dlq.models import Reclassification
from dlq.services import ruled_entries
from dlq.services.budget import TooSlowError, budget
from dlq.services.reclassify import place_key
from dlq.services.ruled_entries import SAID, Kind, Said, decide
from syncs.models import ErrorRule
from syncs.services import access, error_rules
from syncs.services.error_rules import Place

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.db.models import QuerySet

LOOKED_AT = 10_000
_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Line:
    """``rule``: its name; empty: no rule decides, so what the connection had said comes back."""

    rule: str
    before: Kind
    after: Kind
    count: int


@dataclass(slots=True)
class Outlook:
    """What applying the rules of a place would change among open dead letters. ``is_sample``: there are more."""

    looked_count: int = 0
    sync_names: list[str] = field(default_factory=list)
    is_sample: bool = False
    lines: list[Line] = field(default_factory=list)
    problem: str = ""

    @property
    def changed_count(self) -> int:
        return sum(line.count for line in self.lines)


def outlook(place: Place, *, user: User) -> Outlook:
    """Of the open dead letters that were refused last, of syncs that the user may see. Changes nothing."""
    reach = ruled_entries.reach(place, user=user)
    found = Outlook(sync_names=sorted(name for _at, name in reach.syncs.values()))
    chains = error_rules.load(reach.connections)
    open_ = reach.entries().filter(status=EntryStatus.OPEN).newest()
    try:
        with budget(_SECONDS):
            rows = list(open_.values_list("sync_id", *SAID)[: LOOKED_AT + 1])
    except TooSlowError:
        found.problem = "The database did not find the open dead letters in time. They are found when the rules are applied."
        return found
    counted: Counter[tuple[Kind, Kind]] = Counter()
    until = time.monotonic() + _SECONDS
    for row in rows[:LOOKED_AT]:
        if found.looked_count % 200 == 0 and time.monotonic() > until:
            break
        found.looked_count += 1
        said = Said.of(row[1:])
        after = decide(said, chains[reach.syncs[row[0]][0]])
        if after != said.now:
            counted[said.now._replace(rule=None), after] += 1
    found.is_sample = len(rows) > found.looked_count
    names = _names({after.rule for _before, after in counted})
    found.lines = [Line(names.get(line[1].rule or 0, ""), *line, count) for line, count in counted.most_common(50)]
    return found


def lines(job: Reclassification) -> list[Line]:
    """What a walk has changed so far, most first."""
    read = [(key.split("|"), count) for key, count in Counter(job.changes).most_common(50)]
    names = _names({int(parts[0]) for parts, _count in read})
    return [
        Line(
            names.get(int(rule), "a rule that was deleted" if int(rule) else ""),
            Kind(None, before, was == "True"),
            Kind(int(rule) or None, after, now == "True"),
            count,
        )
        for (rule, before, was, after, now), count in read
    ]


def _names(ids: set[int | None] | set[int]) -> Mapping[int, str]:
    wanted = {pk for pk in ids if pk}
    return dict(ErrorRule.objects.filter(pk__in=wanted).values_list("pk", "name")) if wanted else {}


def visible(user: User) -> QuerySet[Reclassification]:
    """Who sees every sync sees every walk; others those that they asked for."""
    found = Reclassification.objects.select_related("connection", "requested_by").defer("connection__secrets")
    return found if access.visible_sync_ids(user) is None else found.filter(requested_by=user)


def recent(user: User, *, place: Place | None = None, most: int = 50) -> Sequence[Reclassification]:
    """The newest walks that the user may see, of one place or of all."""
    found = visible(user).order_by("-pk")
    return list((found.filter(place=place_key(place)) if place else found)[:most])
