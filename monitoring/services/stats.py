"""Figures over time as the API gives them: of the syncs that somebody may see and asks for, from kept hours and days and from
counters; a fixed number of queries whatever the history, and no count over dead letters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dlq.choices import LIVE, EntryStatus
from dlq.services import tally
from dlq.services.entry_filter import EntryFilter
from monitoring.services import dashboard_filter, open_incidents, series, spans, sync_lines
from monitoring.services.dashboard import Dashboard, Sight
from monitoring.services.dashboard_filter import Filter
from monitoring.services.series import Figures
from monitoring.services.spans import SPANS, Span
from monitoring.services.sync_lines import SyncLine
from syncs.errors import ConfigError, ErrorType
from syncs.services import access

if TYPE_CHECKING:
    from django.contrib.auth.models import User


@dataclass(frozen=True, slots=True)
class Asked:
    """Which syncs and which time. ``ids``: None for every sync there is, so that no condition is needed."""

    span: Span
    now: datetime
    filter: Filter
    lines: list[SyncLine]
    ids: series.Ids
    is_narrow: bool

    @property
    def window(self) -> dict[str, Any]:
        return {
            "period": self.span.key,
            "starts_at": self.span.starts(self.now)[0],
            "ends_at": self.now,
            "step_seconds": int(self.span.step.total_seconds()),
        }

    @property
    def names(self) -> dict[int, str]:
        return {line.pk: line.name for line in self.lines}


def select(user: User, *, period: str, filters: Mapping[str, Sequence[str]], sync_ids: Collection[int], now: datetime) -> Asked:
    """``filters``: tags, owners and connections as the dashboard takes them. Raises ``ConfigError`` for one that nothing bears
    which the user may see."""
    seen = sync_lines.load(user)
    chosen = dashboard_filter.read(filters, seen)
    for name, values in filters.items():
        if problems := dashboard_filter.read({name: values}, seen).problems:
            raise ConfigError(problems[0], field=name)
    known = {line.pk for line in seen}
    if wrong := sorted(set(sync_ids) - known):
        raise ConfigError(f"Sync: there is no {wrong[0]}.", field="sync")
    lines = [line for line in seen if chosen.fits(line) and (not sync_ids or line.pk in sync_ids)]
    is_narrow = chosen.is_narrow or bool(sync_ids)
    is_everything = not is_narrow and access.visible_sync_ids(user) is None
    return Asked(SPANS[period], now, chosen, lines, None if is_everything else [line.pk for line in lines], is_narrow)


# --- runs


@dataclass(slots=True)
class RunStats:
    """``usual``: rows (accepted and dead-lettered) of a step as they were before, None where too little is known."""

    asked: Asked
    totals: Figures
    steps: list[tuple[datetime, Figures]]
    usual: list[float | None]
    by_sync: list[tuple[int, Figures]]


def of_runs(asked: Asked) -> RunStats:
    """Syncs with the most dead-lettered rows first, then those with the most failed runs, then the busiest."""
    span, names = asked.span, asked.names
    found = series.of_runs(span, asked.now, asked.ids)
    shown = found.steps[span.history :]
    known = [(pk, one) for pk, one in found.by_sync.items() if pk in names]
    return RunStats(
        asked=asked,
        totals=series.totals(shown),
        steps=list(zip(span.starts(asked.now), shown, strict=True)),
        usual=spans.trailing([one.accepted + one.dead_lettered for one in found.steps], span),
        by_sync=sorted(known, key=lambda pair: (-pair[1].dead_lettered, -pair[1].failed, -pair[1].read, names[pair[0]])),
    )


# --- dead letters


@dataclass(slots=True)
class DepthStep:
    """``failed``: error type -> rows refused in this step."""

    at: datetime
    open_count: int
    oldest_failed_at: datetime | None
    failed: dict[str, int]


@dataclass(slots=True)
class DeadLetterStats:
    """``statuses``: all that are kept; ``by_type``: error type -> status -> count; ``by_sync``: sync -> status -> count."""

    asked: Asked
    statuses: Counter[str] = field(default_factory=Counter)
    by_type: dict[str, Counter[str]] = field(default_factory=dict)
    by_sync: dict[int, Counter[str]] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    steps: list[DepthStep] = field(default_factory=list)

    @property
    def open_count(self) -> int:
        return live(self.statuses)

    @property
    def oldest_failed_at(self) -> datetime | None:
        return min((line.oldest_failed_at for line in self.asked.lines if line.oldest_failed_at), default=None)

    @property
    def types(self) -> list[ErrorType]:
        """Those that any is kept of, or that failed in the time; the most open first."""
        found = {*self.by_type, *self.failed} & set(ErrorType)
        order = sorted(found, key=lambda one: (-live(self.by_type.get(one, Counter())), -self.failed.get(one, 0), one))
        return [ErrorType(one) for one in order]

    @property
    def syncs(self) -> list[tuple[SyncLine, Counter[str]]]:
        """Those with any, the most open first."""
        pairs = [(line, self.by_sync[line.pk]) for line in self.asked.lines if line.pk in self.by_sync]
        return sorted(pairs, key=lambda pair: (-live(pair[1]), -pair[1].total(), pair[0].name))


def live(statuses: Mapping[str, int]) -> int:
    return sum(statuses.get(status, 0) for status in LIVE)


def of_dead_letters(asked: Asked) -> DeadLetterStats:
    made = DeadLetterStats(asked)
    for sync_id, status, error_type, _code, count in _tallied(asked):
        made.statuses[status] += count
        made.by_type.setdefault(error_type, Counter())[status] += count
        made.by_sync.setdefault(sync_id, Counter())[status] += count
    failed = series.of_error_types(asked.span, asked.now, asked.ids)
    made.failed = series.sums_by_type(failed)
    for number, point in enumerate(series.of_depth(asked.span, asked.now, asked.ids)):
        of_step = {kind: counts[number] for kind, counts in failed.items() if counts[number]}
        made.steps.append(DepthStep(point.at, point.depth, point.oldest_failed_at, of_step))
    return made


def _tallied(asked: Asked) -> list[Any]:
    """Of these syncs, every status."""
    reach = tuple(line.pk for line in asked.lines)
    if not reach:
        return []
    found = tally.counts(EntryFilter(statuses=tuple(EntryStatus), reach=reach).at(asked.now))
    assert found is not None, "statuses and syncs are tallied"
    return list(found.lines)


# --- what needs attention


def of_everything(user: User, asked: Asked) -> tuple[Dashboard, Figures | None]:
    """The dashboard's lists of these syncs, and the sums of their runs; only what the user may see is looked up."""
    sight = Sight.of(user)
    made = Dashboard(asked.now, sight, asked.filter, lines=asked.lines)
    if sight.incidents:
        made.incidents = open_incidents.load([line.pk for line in asked.lines], with_platform=not asked.is_narrow)
    return made, of_runs(asked).totals if sight.runs else None
