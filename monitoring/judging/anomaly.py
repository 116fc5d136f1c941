"""Unusual for this sync at this time of the week: rows read, time taken, share of rows refused. Plain Python.

No limit is set for it: the sync's own history is (``baseline``), so it finds what nobody thought of. It is silent in training,
and about figures that follow from a failed run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitoring.choices import Condition
from monitoring.judging import baseline
from monitoring.judging.baseline import Baseline
from monitoring.judging.facts import Facts, Finding, Level, RunFact
from monitoring.judging.limits import Limits

_WELL = ("succeeded", "partial")
LEAST_ROWS = 20  # of fewer rows a share means nothing
LEAST_SHARE = 1.0  # percentage points
LEAST_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Figure:
    name: str
    value_of: Callable[[RunFact], float]
    words: Callable[[float], str]
    is_count: bool = True
    is_low_bad: bool = False
    least: float = 0.0

    def samples(self, runs: Sequence[RunFact]) -> list[tuple[datetime, float]]:
        return [(began(run), self.value_of(run)) for run in runs]

    def usual(self, runs: Sequence[RunFact], at: datetime) -> Baseline | None:
        return baseline.of(self.samples(runs), at, is_count=self.is_count, least=self.least)

    def is_off(self, value: float, usual: Baseline) -> bool:
        return value > usual.high or (self.is_low_bad and value < usual.low)


@dataclass(frozen=True, slots=True)
class _Deviation:
    figure: _Figure
    value: float
    usual: Baseline

    @property
    def title(self) -> str:
        return f"{self.figure.name} {'above' if self.value > self.usual.median else 'below'} normal"

    @property
    def text(self) -> str:
        words, usual = self.figure.words, self.usual
        return (
            f"{self.figure.name}: {words(self.value)}, while {words(usual.low)} to {words(usual.high)} would be normal "
            f"(median {words(usual.median)} of {usual.basis})."
        )

    @property
    def drivers(self) -> tuple[tuple[str, str], ...]:
        words, usual, name = self.figure.words, self.usual, self.figure.name
        return (
            (f"{name}, now", words(self.value)),
            (f"{name}, normal", f"{words(usual.low)} to {words(usual.high)}"),
            (f"{name}, median", f"{words(usual.median)}, median deviation {words(usual.mad)}"),
            (f"{name}, compared with", usual.basis),
        )


def _share(run: RunFact) -> float:
    return 100.0 * run.dead_lettered / run.read if run.read >= LEAST_ROWS else 0.0


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


VOLUME = _Figure("Rows read", lambda run: float(run.read), lambda value: f"{value:,.0f}", is_low_bad=True)
DURATION = _Figure("Duration", lambda run: run.seconds, _duration, least=LEAST_SECONDS)
REFUSED = _Figure("Rows refused", _share, lambda value: f"{value:.1f} %", is_count=False, least=LEAST_SHARE)


def findings(facts: Facts, limits: Limits) -> list[Finding]:
    """One finding with everything that is unusual about the newest run that ended well, or about the one that is running; or
    none. A figure that the sync's thresholds switch off (``volume_band_percent``, ``duration_minutes`` of 0) is not looked at.
    """
    if facts.is_paused:
        return []
    runs = [run for run in facts.regular_runs if run.status in _WELL]
    figures = _watched(limits)
    found = _of_live_run(facts, runs) if DURATION in figures else []
    if runs:
        newest, past = runs[0], runs[1:]
        seen = {one.figure for one in found}
        found += [one for figure in figures if figure not in seen and (one := _deviation(figure, newest, past))]
    if not found:
        return []
    found.sort(key=lambda one: -abs(one.usual.score(one.value)))
    worst = found[0]
    return [
        Finding(
            condition=Condition.ANOMALY,
            level=Level.WARN,
            cause=f"sync:{facts.sync_id}:anomaly",
            title=", ".join([worst.title, *(one.title[0].lower() + one.title[1:] for one in found[1:])]),
            text=" ".join(one.text for one in found),
            advice=_advice(worst),
            value=worst.value,
            limit=worst.usual.high if worst.value > worst.usual.median else worst.usual.low,
            run_id=runs[0].id if runs else None,
            drivers=tuple(driver for one in found for driver in one.drivers),
        )
    ]


def due_at(facts: Facts, limits: Limits) -> datetime | None:
    """When the live run becomes unusually long if it has not ended by then; None where nothing is waited for."""
    usual = _usual_of_live_run(facts) if DURATION in _watched(limits) else None
    if usual is None or facts.is_running_since is None:
        return None
    return facts.is_running_since + timedelta(seconds=usual.high + 1)


def began(run: RunFact) -> datetime:
    """A run belongs to the hour in which it began: how late it ends is one of the figures."""
    return run.started_at or run.finished_at


def _watched(limits: Limits) -> list[_Figure]:
    volume = [VOLUME] if limits.volume_band_percent else []
    duration = [DURATION] if limits.duration_minutes != 0 else []
    return [*volume, *duration, REFUSED]


def _deviation(figure: _Figure, run: RunFact, past: Sequence[RunFact]) -> _Deviation | None:
    usual = figure.usual(past, began(run))
    value = figure.value_of(run)
    return _Deviation(figure, value, usual) if usual is not None and figure.is_off(value, usual) else None


def _of_live_run(facts: Facts, runs: Sequence[RunFact]) -> list[_Deviation]:
    usual = _usual_of_live_run(facts)
    if usual is None or facts.is_running_since is None:
        return []
    seconds = (facts.now - facts.is_running_since).total_seconds()
    return [_Deviation(DURATION, seconds, usual)] if DURATION.is_off(seconds, usual) else []


def _usual_of_live_run(facts: Facts) -> Baseline | None:
    if facts.is_running_since is None:
        return None
    return DURATION.usual([run for run in facts.regular_runs if run.status in _WELL], facts.is_running_since)


def _advice(worst: _Deviation) -> str:
    if worst.figure is VOLUME and worst.value < worst.usual.median:
        return "Look whether the tables behind the query were filled, and whether the query was changed."
    if worst.figure is VOLUME:
        return "Look whether the query returns rows twice, or whether the source was loaded anew."
    if worst.figure is DURATION:
        return "Compare the steps of this run with an earlier one: is it the query, or the destination that answers slowly?"
    return "Open the run's error groups: which error is new, or more frequent than before?"
