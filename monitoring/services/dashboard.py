"""The first page of the console: what needs attention, what is open, how much moved. Plain values; addresses and drawings are
the page's business.

Everything comes from kept figures (hours, days, counters of error groups), a fixed number of queries whatever the history.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from monitoring.services import dashboard_filter, open_incidents, series, sync_lines
from monitoring.services.dashboard_filter import Filter
from monitoring.services.open_incidents import IncidentLine
from monitoring.services.series import DepthPoint, Figures, GroupLine
from monitoring.services.sync_lines import SyncLine
from syncs.choices import SyncStatus
from syncs.services import access
from syncs.services.overview import URGENCY

if TYPE_CHECKING:
    from monitoring.services.sync_lines import Viewer

NOISY = 6
ATTENTION = (SyncStatus.FAILING, SyncStatus.DEGRADED)
# How long ago the last run came through: an upper bound and its words.
AGES: tuple[tuple[timedelta | None, str], ...] = (
    (timedelta(hours=1), "Within the hour"),
    (timedelta(hours=6), "1 to 6 hours ago"),
    (timedelta(hours=24), "6 to 24 hours ago"),
    (timedelta(days=7), "1 to 7 days ago"),
    (None, "Longer ago"),
)


@dataclass(frozen=True, slots=True)
class Sight:
    """What somebody has the right to see here at all."""

    syncs: bool
    runs: bool
    entries: bool
    incidents: bool

    @classmethod
    def of(cls, user: Viewer) -> Sight:
        return cls(
            syncs=user.has_perm("syncs.view_sync"),
            runs=user.has_perm("syncs.view_run"),
            entries=user.has_perm("dlq.view_dlqentry"),
            incidents=user.has_perm("monitoring.view_incident"),
        )

    @property
    def is_blind(self) -> bool:
        return not (self.syncs or self.runs or self.entries or self.incidents)


@dataclass(slots=True)
class Dashboard:
    """``lines``: syncs that fit the filter, archived ones included; ``active``: without those. ``steps``: with the history."""

    now: datetime
    sight: Sight
    filter: Filter
    lines: list[SyncLine] = field(default_factory=list)
    steps: list[Figures] = field(default_factory=list)
    by_sync: dict[int, Figures] = field(default_factory=dict)
    by_type: dict[str, list[int]] = field(default_factory=dict)
    groups: list[GroupLine] = field(default_factory=list)
    depth: list[DepthPoint] = field(default_factory=list)
    incidents: list[IncidentLine] = field(default_factory=list)

    @property
    def active(self) -> list[SyncLine]:
        return [line for line in self.lines if not line.is_archived]

    @property
    def statuses(self) -> Counter[str]:
        return Counter(line.status for line in self.active)

    @property
    def attention(self) -> list[SyncLine]:
        """Failing before degraded, then those with the most dead letters, then those that wait longest."""
        rank = {status.value: place for place, status in enumerate(URGENCY)}
        wanted = [line for line in self.active if line.status in ATTENTION]
        return sorted(wanted, key=lambda line: (rank[line.status], -line.open_count, line.since, line.name))

    @property
    def behind(self) -> list[tuple[SyncLine, str]]:
        """Late or stale syncs with the reason, those that came through longest ago first."""
        found = [(line, text) for line in self.active if (text := line.behind(self.now))]
        return sorted(found, key=lambda pair: (pair[0].last_well_at or _NEVER, pair[0].name))

    @property
    def ages(self) -> dict[str, int]:
        """How many syncs that run by a schedule last came through how long ago."""
        return ages([line for line in self.active if line.is_scheduled], self.now)

    @property
    def open_count(self) -> int:
        return sum(line.open_count for line in self.lines)

    @property
    def oldest_failed_at(self) -> datetime | None:
        return min((line.oldest_failed_at for line in self.lines if line.oldest_failed_at), default=None)

    @property
    def shown_steps(self) -> list[Figures]:
        return self.steps[self.filter.span.history :]

    @property
    def noisiest(self) -> list[tuple[SyncLine, Figures]]:
        """Most dead-lettered rows first, then most failed runs."""
        names = {line.pk: line for line in self.lines}
        noisy = [(names[pk], one) for pk, one in self.by_sync.items() if pk in names and (one.dead_lettered or one.failed)]
        return sorted(noisy, key=lambda pair: (-pair[1].dead_lettered, -pair[1].failed, pair[0].name))[:NOISY]


_NEVER = datetime.min.replace(tzinfo=UTC)


def ages(lines: Collection[SyncLine], now: datetime) -> dict[str, int]:
    counted = dict.fromkeys([words for _bound, words in AGES] + ["Never"], 0)
    for line in lines:
        at = line.last_well_at
        words = "Never" if at is None else next(text for bound, text in AGES if bound is None or now - at <= bound)
        counted[words] += 1
    return counted


def build(user: Viewer, given: Mapping[str, Sequence[str]], *, now: datetime) -> Dashboard:
    """``given``: the parameters of the address. With a problem in them nothing is looked up."""
    sight = Sight.of(user)
    if sight.is_blind:
        return Dashboard(now, sight, dashboard_filter.read({}, []))
    seen = sync_lines.load(user)
    chosen = dashboard_filter.read(given, seen)
    made = Dashboard(now, sight, chosen)
    if chosen.problems:
        return made
    made.lines = [line for line in seen if chosen.fits(line)]
    _fill(made, _ids(user, made))
    return made


def _ids(user: Viewer, made: Dashboard) -> series.Ids:
    """None where nothing needs to be left out: no condition is cheaper than a long one."""
    is_everything = not made.filter.is_narrow and access.visible_sync_ids(user) is None
    return None if is_everything else [line.pk for line in made.lines]


def _fill(made: Dashboard, ids: series.Ids) -> None:
    span, now, sight = made.filter.span, made.now, made.sight
    if sight.runs:
        runs = series.of_runs(span, now, ids)
        made.steps, made.by_sync = runs.steps, runs.by_sync
    if sight.entries:
        made.by_type = series.of_error_types(span, now, ids)
        made.groups = series.noisiest_groups(span, now, ids, NOISY)
        made.depth = series.of_depth(span, now, ids)
    if sight.incidents:
        mine = [line.pk for line in made.lines]
        made.incidents = open_incidents.load(mine, with_platform=not made.filter.is_narrow)
