"""The tiles at the top of the dashboard: one number each, what it is compared with, and where it leads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from monitoring.choices import IncidentState, Severity
from monitoring.services import series, spans
from monitoring.services.dashboard import Dashboard
from syncs.choices import RunStatus, SyncStatus, labelled
from syncs.console import formats, links
from syncs.services.overview import URGENCY

_FILLS = {
    SyncStatus.FAILING: "bad",
    SyncStatus.DEGRADED: "warn",
    SyncStatus.UNCONFIGURED: "live",
    SyncStatus.PAUSED: "mute",
    SyncStatus.HEALTHY: "good",
}
_SINCE = {"24h": "24h", "7d": "7d", "30d": "30d"}  # what the run list calls the same times


@dataclass(frozen=True, slots=True)
class Tile:
    value: str
    label: str
    note: str
    url: str = ""
    tone: str = ""


def tiles(made: Dashboard) -> list[Tile]:
    sight = made.sight
    found = []
    if sight.syncs:
        found.append(_failing(made))
    if sight.incidents:
        found.append(_incidents(made))
    if sight.entries:
        found += [_open(made), _refused(made)]
    if sight.runs:
        found += [_accepted(made), _failed(made)]
    return found


def _failing(made: Dashboard) -> Tile:
    failing, whole = made.statuses.get(SyncStatus.FAILING, 0), len(made.active)
    note = f"of {formats.number(whole)}" if whole else "no syncs yet"
    url = links.page("admin:syncs_sync_changelist", status=SyncStatus.FAILING.value)
    label = "Failing sync" if failing == 1 else "Failing syncs"
    return Tile(formats.number(failing), label, note, url, "bad" if failing else "good")


def _incidents(made: Dashboard) -> Tile:
    count = len(made.incidents)
    waiting = sum(1 for one in made.incidents if one.state == IncidentState.OPEN)
    pages = sum(1 for one in made.incidents if one.severity == Severity.PAGE)
    tone = "bad" if pages else "warn" if count else "good"
    note = f"{formats.number(waiting)} not acknowledged" if count else "nothing is open"
    return Tile(
        formats.number(count),
        "Open incident" if count == 1 else "Open incidents",
        note,
        links.page("admin:monitoring_incident_changelist"),
        tone,
    )


def _open(made: Dashboard) -> Tile:
    count, oldest = made.open_count, made.oldest_failed_at
    note = "every row is where it belongs"
    if count:
        note = f"oldest {formats.ago(oldest, made.now)}" if oldest else f"in {_syncs(made)}"
    return Tile(formats.number(count), "Open dead letters", note, links.entries(), "warn" if count else "good")


def _syncs(made: Dashboard) -> str:
    count = sum(1 for line in made.lines if line.open_count)
    return "1 sync" if count == 1 else f"{count} syncs"


def _refused(made: Dashboard) -> Tile:
    count = sum(sum(counts) for counts in made.by_type.values())
    kinds = len(made.by_type)
    note = f"{kinds} error type{'' if kinds == 1 else 's'}" if count else "no row"
    url = links.page("admin:dlq_dlqentry_changelist", status="any", failed=_SINCE.get(made.filter.span.key, ""))
    return Tile(formats.number(count), "Dead-lettered", f"{note} in {made.filter.span.label}", url)


def _accepted(made: Dashboard) -> Tile:
    shown = made.shown_steps
    whole = series.totals(shown)
    average = spans.trailing([one.accepted for one in made.steps], made.filter.span)
    change = spans.change([one.accepted for one in shown], average)
    note = f"in {made.filter.span.label}" + (f", {_compared(change)}" if change is not None else "")
    text = formats.number(whole.accepted) if whole.accepted < 1_000_000 else _large(whole.accepted)
    return Tile(text, "Rows accepted", note, links.page("admin:syncs_run_changelist"))


def _large(count: int) -> str:
    """Three digits are enough for a tile: ``5.64M``."""
    size, unit = (1_000_000_000, "B") if count >= 1_000_000_000 else (1_000_000, "M")
    return f"{count / size:.3g}{unit}"


def _compared(change: float) -> str:
    percent = round(change * 100)
    if percent == 0:
        return "as usual"
    return f"{abs(percent):,} % {'more' if percent > 0 else 'less'} than usual"


def _failed(made: Dashboard) -> Tile:
    whole = series.totals(made.shown_steps)
    since = _SINCE.get(made.filter.span.key)
    query = {"since": since} if since else {}
    url = links.page("admin:syncs_run_changelist", status=RunStatus.FAILED.value, **query)
    label = "Failed run" if whole.failed == 1 else "Failed runs"
    note = f"of {formats.number(whole.runs)} in {made.filter.span.label}"
    return Tile(formats.number(whole.failed), label, note, url, "bad" if whole.failed else "good")


def status_bar(made: Dashboard) -> list[dict[str, Any]]:
    """How the syncs are spread over the statuses, as parts of a bar of 600, and in words."""
    counts, whole = made.statuses, len(made.active)
    if not made.sight.syncs or not whole:
        return []
    labels = dict(labelled(SyncStatus))
    found, x = [], 0.0
    for status in URGENCY:
        if count := counts.get(status, 0):
            width = 600 * count / whole
            found.append(
                {
                    "label": labels[status],
                    "count": count,
                    "fill": _FILLS[status],
                    "x": round(x, 2),
                    "width": round(max(width - 2, 1), 2),
                    "url": links.page("admin:syncs_sync_changelist", status=status.value),
                }
            )
            x += width
    return found
