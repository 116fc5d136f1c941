"""The lists of the dashboard: what each line says, what to do next, and where that is done."""

from __future__ import annotations

from typing import Any

from monitoring.admin.dashboard_charts import label
from monitoring.choices import Condition
from monitoring.services.dashboard import Dashboard
from monitoring.services.open_incidents import IncidentLine
from monitoring.services.series import Figures, GroupLine
from monitoring.services.sync_lines import SyncLine
from syncs.choices import RunStatus, SyncStatus, labelled
from syncs.console import formats, links

_STATUSES = dict(labelled(SyncStatus))
_ROWS = {
    *(Condition.ERROR_RATE, Condition.ERROR_BUDGET, Condition.DLQ_DEPTH, Condition.DLQ_AGE),
    *(Condition.NEW_GROUP, Condition.REGRESSED_GROUP, Condition.PERMISSION),
}
_PACE = {Condition.LATE, Condition.FRESHNESS, Condition.ZERO_ROWS, Condition.VOLUME, Condition.DURATION, Condition.ANOMALY}
BAR = 100.0  # width of the bars in tables
NAMED = 3  # syncs of an incident


def attention(line: SyncLine) -> dict[str, Any]:
    step, url = next_step(line)
    return {
        "line": line,
        "label": _STATUSES.get(SyncStatus(line.status), line.status),
        "url": sync_url(line.pk),
        "step": step,
        "step_url": url,
        "entries_url": links.entries(sync=str(line.pk)) if line.open_count else "",
    }


def next_step(line: SyncLine) -> tuple[str, str]:
    """What to do first about the most urgent finding, and where. A cause that names a connection is mended there."""
    found = line.findings[0] if line.findings else {}
    condition, cause = found.get("condition", ""), str(found.get("cause", ""))
    kind, _, number = cause.rpartition(":")[0].partition(":") if cause.count(":") > 1 else ("", "", "")
    if kind == "connection" and number.isdecimal():
        words = "Log in again" if condition == Condition.CREDENTIAL else "Check the connection"
        return words, links.page("admin:syncs_connection_change", number)
    if condition in _ROWS and found.get("group_id"):
        return "Look at the error", links.page("admin:dlq_errorgroup_change", found["group_id"])
    if condition == Condition.RUN_FAILED and found.get("run_id"):
        return "Open the failed run", links.page("admin:syncs_run_change", found["run_id"])
    if condition == Condition.DRIFT:
        return "See what changed", links.page("admin:syncs_sync_drift", line.pk)
    if condition == Condition.SETUP:
        return "Check the set-up", links.page("admin:syncs_sync_change", line.pk)
    if condition in _PACE:
        return "Compare its runs", runs_url(line.pk)
    if condition in _ROWS or (line.status == SyncStatus.DEGRADED and line.open_count):
        return "Work off its dead letters", links.entries(sync=str(line.pk))
    if condition == Condition.RUN_FAILED or line.status == SyncStatus.FAILING:
        return "Open its failed runs", runs_url(line.pk, status=RunStatus.FAILED.value)
    return "Open the sync", sync_url(line.pk)


def sync_url(pk: int) -> str:
    return links.page("admin:syncs_sync_page", pk)


def runs_url(pk: int, **query: str) -> str:
    return links.page("admin:syncs_run_changelist", sync=str(pk), **query)


def incident(one: IncidentLine, made: Dashboard) -> dict[str, Any]:
    names = sorted(line.name for line in made.lines if line.pk in one.sync_ids)
    more = len(names) - NAMED
    return {
        "incident": one,
        "url": links.page("admin:monitoring_incident_change", one.pk),
        "names": names[:NAMED],
        "more": more if more > 0 else 0,
    }


def behind(line: SyncLine, text: str) -> dict[str, Any]:
    return {"line": line, "text": text, "url": sync_url(line.pk), "runs_url": runs_url(line.pk)}


_AGE_FILLS = ("good", "good", "accent", "warn", "bad", "mute")


def freshness(made: Dashboard) -> list[dict[str, Any]]:
    """Each age with its number of syncs and a bar; nothing where no sync runs by a schedule."""
    found = made.ages
    most = max(found.values(), default=0)
    if not made.sight.syncs or not most:
        return []
    return [
        {"label": text, "count": count, "fill": fill, "width": round(BAR * count / most, 1)}
        for (text, count), fill in zip(found.items(), _AGE_FILLS, strict=True)
    ]


def noisy_syncs(made: Dashboard) -> list[dict[str, Any]]:
    if not (made.sight.syncs and made.sight.runs):
        return []
    found = made.noisiest
    most = max((figures.dead_lettered for _line, figures in found), default=0)
    return [
        {
            "line": line,
            "url": sync_url(line.pk),
            "runs_url": runs_url(line.pk, status=RunStatus.FAILED.value),
            "figures": figures,
            "rate": percent(figures),
            "width": _width(figures.dead_lettered, most),
        }
        for line, figures in found
    ]


def percent(figures: Figures) -> str:
    """Of the rows read: ``0.4 %``, ``< 0.1 %``; nothing where none were read."""
    if not figures.read:
        return formats.NOTHING
    rate = figures.error_rate * 100
    return "< 0.1 %" if 0 < rate < 0.1 else f"{rate:.1f} %"


def noisy_groups(made: Dashboard) -> list[dict[str, Any]]:
    if not made.sight.entries:
        return []
    names = {line.pk: line.name for line in made.lines}
    most = max((one.failed for one in made.groups), default=0)
    return [_group(one, names, most) for one in made.groups]


def _group(one: GroupLine, names: dict[int, str], most: int) -> dict[str, Any]:
    return {
        "group": one.group,
        "label": label(one.group.error_type),
        "failed": one.failed,
        "sync": names.get(one.group.sync_id, ""),
        "url": links.page("admin:dlq_errorgroup_change", one.group.pk),
        "width": _width(one.failed, most),
    }


def _width(value: int, most: int) -> float:
    return round(max(BAR * value / most, 1.0), 1) if value and most else 0.0
