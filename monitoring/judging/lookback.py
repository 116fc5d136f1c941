"""How the last days would have looked with other thresholds: the facts of each moment at which something happened, judged by
the same code as now. Plain Python.

What is not kept with a time (lateness, credentials, drift, set-up) is left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from monitoring.choices import Condition
from monitoring.judging.facts import ChangeFact, Facts, Level
from monitoring.judging.limits import Limits
from monitoring.judging.verdict import judge

MOMENTS_MOST = 100  # of more, every so-manieth
HISTORY_MOST = 300  # runs that are looked at for each moment


@dataclass(frozen=True, slots=True)
class Span:
    """``conditions``: what spoke against the sync at its begin."""

    begins_at: datetime
    ends_at: datetime
    status: str
    reason: str
    conditions: tuple[Condition, ...] = ()

    @property
    def length(self) -> timedelta:
        return self.ends_at - self.begins_at


@dataclass(frozen=True, slots=True)
class Lookback:
    """``spans``: oldest first, each of another status than the one before; none where nothing ran. ``held``:
    (condition, level) -> for how long it held, at that level at least."""

    since: datetime
    spans: tuple[Span, ...]
    held: dict[tuple[Condition, Level], timedelta]

    def share(self, status: str) -> float:
        """Percent of the time."""
        whole = sum((span.length for span in self.spans), timedelta())
        part = sum((span.length for span in self.spans if span.status == status), timedelta())
        return 100 * (part / whole) if whole else 0.0

    @property
    def turn_count(self) -> int:
        return max(0, len(self.spans) - 1)


def look_back(facts: Facts, limits: Limits, chosen: Collection[str], since: datetime) -> Lookback:
    """``facts``: loaded with ``past``, so that they reach back to ``since``."""
    moments = list(_moments(facts, since))
    held: dict[tuple[Condition, Level], timedelta] = {}
    spans: list[Span] = []
    before = ""
    changes: tuple[ChangeFact, ...] = ()
    for at, until in zip(moments, [*moments, facts.now][1:], strict=True):
        then = replace(_as_of(facts, at), status=before, changes=changes)
        made = judge(then, limits, chosen)
        if before and made.status != before:
            changes = (ChangeFact(at, before, made.status), *changes)
        before = made.status.value
        conditions = tuple(dict.fromkeys(one.condition for one in made.findings))
        for key in {(one.condition, level) for one in made.findings for level in Level if one.level >= level}:
            held[key] = held.get(key, timedelta()) + (until - at)
        if spans and spans[-1].status == before:
            spans[-1] = replace(spans[-1], ends_at=until)
        else:
            spans.append(Span(at, until, before, made.reason, conditions))
    return Lookback(since, tuple(spans), held)


def _moments(facts: Facts, since: datetime) -> Iterator[datetime]:
    """When a run ended or the number of dead letters changed; the begin stands for what was before."""
    happened = {run.finished_at for run in facts.runs} | _changed_depths(facts)
    known = sorted(at for at in happened if since < at < facts.now)
    step = -(-len(known) // MOMENTS_MOST) or 1
    if any(run.finished_at <= since for run in facts.runs):
        yield since
    yield from known[::-step][::-1]


def _changed_depths(facts: Facts) -> set[datetime]:
    return {
        one.at
        for before, one in zip((None, *facts.depths), facts.depths, strict=False)
        if before is None or before.depth != one.depth
    }


def _as_of(facts: Facts, at: datetime) -> Facts:
    then = facts.as_of(at)
    return replace(then, runs=then.runs[:HISTORY_MOST])
