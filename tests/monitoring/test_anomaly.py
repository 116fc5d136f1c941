from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from monitoring.choices import Condition
from monitoring.judging import anomaly
from monitoring.judging.facts import ConnectionFact, Facts, RunFact
from monitoring.judging.limits import DEFAULTS

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
CONNECTION = ConnectionFact(1, "CRM", "destination", "ok", "", None)


def run(number: int, *, read: int = 1000, refused: int = 0, seconds: float = 120, **values: Any) -> RunFact:
    began = MONDAY + timedelta(days=number, hours=2)
    given: dict[str, Any] = {
        "id": number,
        "status": "partial" if refused else "succeeded",
        "is_regular": True,
        "queued_at": began,
        "started_at": began,
        "finished_at": began + timedelta(seconds=seconds),
        "read": read,
        "dead_lettered": refused,
    }
    return RunFact(**given | values)


def facts(*newest: RunFact, days: int = 5, **values: Any) -> Facts:
    """Five even nights, Monday to Friday; the next run is the eighth night's, a Tuesday."""
    past = [run(number) for number in range(days)]
    runs = tuple(reversed([*past, *newest]))
    now = runs[0].finished_at if runs else MONDAY
    return Facts(12, "Contacts", now, MONDAY, CONNECTION, CONNECTION, runs=runs, **values)


@pytest.mark.parametrize(
    ("unusual", "title", "driver"),
    [
        ({"read": 300}, "Rows read below normal", ("Rows read, now", "300")),
        ({"read": 0}, "Rows read below normal", ("Rows read, normal", "800 to 1,250")),
        ({"read": 2500}, "Rows read above normal", ("Rows read, compared with", "5 working days around 02:00")),
        ({"seconds": 1800}, "Duration above normal", ("Duration, now", "30 min")),
        ({"refused": 40}, "Rows refused above normal", ("Rows refused, now", "4.0 %")),
        ({"read": 400, "seconds": 7200}, "Duration above normal, rows read below normal", ("Duration, now", "2.0 h")),
    ],
)
def test_unusual_run_is_found_with_its_drivers(unusual: dict[str, Any], title: str, driver: tuple[str, str]):
    (found,) = anomaly.findings(facts(run(8, **unusual)), DEFAULTS)
    assert (found.condition, found.cause, found.title, found.run_id) == (Condition.ANOMALY, "sync:12:anomaly", title, 8)
    assert driver in found.drivers
    assert "working days around 02:00" in found.text
    assert found.advice


@pytest.mark.parametrize(
    "usual",
    [
        {},
        {"read": 900},
        {"refused": 5},
        {"seconds": 5},  # quick is no harm
        {"seconds": 150},
        {"read": 0, "is_regular": False},
        {"read": 0, "status": "failed"},
        {"read": 0, "status": "cancelled"},
    ],
)
def test_usual_run_is_not_found(usual: dict[str, Any]):
    assert anomaly.findings(facts(run(8, **usual)), DEFAULTS) == []


def test_nothing_is_found_in_training_nor_while_paused():
    assert anomaly.findings(facts(days=0), DEFAULTS) == []
    assert anomaly.findings(facts(run(8, read=1), days=3), DEFAULTS) == []
    assert anomaly.findings(facts(run(8, read=1), is_paused=True), DEFAULTS) == []


def test_figures_that_are_switched_off_are_not_looked_at():
    odd = facts(run(8, read=1, seconds=9000))
    (found,) = anomaly.findings(odd, replace(DEFAULTS, volume_band_percent=0))
    assert found.title == "Duration above normal"
    assert anomaly.findings(odd, replace(DEFAULTS, volume_band_percent=0, duration_minutes=0)) == []


def test_live_run_is_found_once_it_is_too_long_and_is_due_then():
    began = MONDAY + timedelta(days=8, hours=2)
    live = replace(facts(), is_running_since=began, now=began + timedelta(minutes=2))
    due = anomaly.due_at(live, DEFAULTS)
    assert due is not None
    assert began < due < began + timedelta(minutes=30)
    assert anomaly.findings(live, DEFAULTS) == []
    (found,) = anomaly.findings(replace(live, now=due), DEFAULTS)
    assert found.title == "Duration above normal"
    assert anomaly.due_at(facts(), DEFAULTS) is None
