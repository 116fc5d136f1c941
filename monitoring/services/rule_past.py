"""A rule held against last week: when it would have fired, and for which sync. Answers before it is saved whether it helps.

Facts of each sync in scope are cut at every moment at which a judgement was due then, and judged by the same code as now.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from monitoring.choices import PLATFORM, Condition
from monitoring.judging.conditions import find
from monitoring.judging.facts import Facts, Finding
from monitoring.judging.limits import Limits
from monitoring.judging.plan import REOPENS_WITHIN
from monitoring.models import AlertRule, SyncPolicy
from monitoring.services import alert_rules, facts, incident_sight, policies
from monitoring.services.rule_words import ABOUT
from syncs.choices import ScheduleKind
from syncs.models import Sync
from syncs.services import access

if TYPE_CHECKING:
    from django.contrib.auth.models import User

WEEK = timedelta(days=7)
BUDGET_SECONDS = 4.0
MOMENTS_MOST = 2_000  # for one sync; of more, every so-manieth
MOMENTS_OF_BASELINES = 170  # these cost some milliseconds each
_BASELINES = (Condition.VOLUME, Condition.DURATION, Condition.ANOMALY)
NAMED_MOST = 100  # firings that an answer names
NOISY = 20  # firings in a week of which nobody reads each
ALWAYS = 0.9  # share of the week
_TIMELY = (Condition.FRESHNESS, Condition.DLQ_AGE)  # begin by the clock
_GROUPS = {Condition.NEW_GROUP: "new", Condition.REGRESSED_GROUP: "regressed"}


@dataclass(frozen=True, slots=True)
class Firing:
    """``ended_at`` None: it would fire still."""

    sync_id: int
    sync_name: str
    began_at: datetime
    ended_at: datetime | None
    text: str


@dataclass(slots=True)
class Past:
    """``scope_count``: syncs in scope; ``looked_count``: those that were looked at in time. ``hidden_count``: firings of syncs
    that the reader does not see. ``share``: of the moments looked at, how many it would have been firing."""

    since: datetime
    is_testable: bool
    scope_count: int = 0
    looked_count: int = 0
    firings: list[Firing] = field(default_factory=list)
    hidden_count: int = 0
    share: float = 0.0
    incident_count: int = 0  # of this condition, in the same time; where it cannot be tested
    why_never: str = ""

    @property
    def count(self) -> int:
        return len(self.firings) + self.hidden_count

    @property
    def newest(self) -> list[Firing]:
        return self.firings[:NAMED_MOST]

    @property
    def is_noisy(self) -> bool:
        return self.count >= NOISY or (self.count > 0 and self.share >= ALWAYS)

    @property
    def is_doubtful(self) -> bool:
        """Whether somebody should look twice before this rule is saved."""
        return bool(self.why_never) or self.is_noisy

    @property
    def sentence(self) -> str:
        if self.why_never:
            return self.why_never
        if not self.is_testable:
            noun = "incident" if self.incident_count == 1 else "incidents"
            seen = f"{self.incident_count} {noun} of this kind in the last 7 days"
            return f"It cannot be tested against the past, because that is not kept with a time. There were {seen}."
        partly = "" if self.looked_count == self.scope_count else f" Looked at {self.looked_count} of {self.scope_count} syncs."
        if not self.count:
            return f"It would not have fired in the last 7 days.{partly}"
        times = "once" if self.count == 1 else f"{self.count:,} times"
        always = " It would fire nearly always: choose a wider limit." if self.share >= ALWAYS else ""
        noisy = (
            " Nobody reads that many: choose a wider limit or a narrower scope." if self.count >= NOISY and not always else ""
        )
        return f"It would have fired {times} in the last 7 days.{always}{noisy}{partly}"


def test(rule: AlertRule, *, user: User, now: datetime) -> Past:
    """``rule``: saved or not. Syncs that the user does not see count, and are not named."""
    condition = Condition(rule.condition)
    past = Past(now - WEEK, ABOUT[condition].has_past)
    if condition not in PLATFORM:
        names = dict(alert_rules.scope(rule).order_by("pk").values_list("pk", "name"))
        past.scope_count = len(names)
        past.why_never = _why_never(rule, names)
    if past.is_testable and not past.why_never:
        _look(past, rule, list(names), user, now)
    elif not past.is_testable:
        seen = incident_sight.visible(user).filter(condition=condition, opened_at__gte=past.since)
        past.incident_count = seen.count()
    return past


def _why_never(rule: AlertRule, names: dict[int, str]) -> str:
    """Why it can fire for nobody; empty where it can."""
    if not names:
        return "No sync is in its scope now, so it can never fire. Choose another scope, or make the sync or tag first."
    if rule.condition in (Condition.LATE, Condition.FRESHNESS) and not rule.limits.get("freshness_minutes"):
        syncs = Sync.objects.filter(pk__in=names)
        if not syncs.exclude(schedule_kind=ScheduleKind.MANUAL).exists():
            return "No sync in its scope has a schedule, so none can be late or stale: it can never fire. Widen the scope."
    limit = ABOUT[Condition(rule.condition)].limit
    if limit is not None and limit.of(rule.limits) is None and limit.field in _MAY_BE_OFF:
        chosen = SyncPolicy.objects.filter(pk__in=names, **{limit.field: 0}).count()
        by_default = getattr(policies.defaults(), limit.field) == 0
        if chosen == len(names) and not by_default:
            return "Every sync in its scope has this threshold switched off (0), so it can never fire. Give the rule a limit."
    return ""


_MAY_BE_OFF = frozenset(name for name in policies.NAMES if name not in ("window_hours", "failures_to_fail"))


def _look(past: Past, rule: AlertRule, sync_ids: list[int], user: User, now: datetime) -> None:
    ends_at = time.monotonic() + BUDGET_SECONDS
    limits = {policy.pk: policies.limits(policy) for policy in SyncPolicy.objects.filter(pk__in=sync_ids)}
    found_count = moment_count = 0
    for sync_id in sync_ids:
        if time.monotonic() > ends_at and past.looked_count:
            break
        loaded = facts.load(sync_id, now, past=WEEK)
        past.looked_count += 1
        if loaded is None:
            continue
        own = alert_rules.limits_of(rule, limits.get(sync_id, policies.defaults()))
        firings, found, moments = judged(Condition(rule.condition), loaded, own, past.since)
        found_count, moment_count = found_count + found, moment_count + moments
        if access.may_see(user, sync_id):
            past.firings += firings
        else:
            past.hidden_count += len(firings)
    past.share = found_count / moment_count if moment_count else 0.0
    past.firings.sort(key=lambda firing: firing.began_at, reverse=True)


def judged(condition: Condition, sync: Facts, limits: Limits, since: datetime) -> tuple[list[Firing], int, int]:
    """(firings, at how many moments something was found, of how many)."""
    if condition in _GROUPS:
        appeared = [one for one in sync.groups if one.kind == _GROUPS[condition] and one.at >= since]
        return [Firing(sync.sync_id, sync.name, one.at, one.at, one.headline) for one in appeared], 0, 0
    if condition == Condition.RECOVERY:
        well = [one for one in sync.changes if one.at >= since and one.after == "healthy"]
        return [Firing(sync.sync_id, sync.name, one.at, one.at, f"Was {one.before}.") for one in well], 0, 0
    moments = list(_moments(condition, sync, since))
    seen = [(moment, find(condition, sync.as_of(moment), limits)) for moment in moments]
    return list(_firings(sync, seen)), sum(bool(found) for _, found in seen), len(seen)


def _moments(condition: Condition, sync: Facts, since: datetime) -> Iterator[datetime]:
    """When something happened, and every hour for what begins by the clock."""
    happened = {run.finished_at for run in sync.runs} | {one.at for one in sync.depths}
    if condition in _TIMELY:
        happened |= {since + timedelta(hours=hour) for hour in range(1, 7 * 24 + 1)}
    known = sorted(moment for moment in happened if since <= moment <= sync.now)
    step = -(-len(known) // (MOMENTS_OF_BASELINES if condition in _BASELINES else MOMENTS_MOST)) or 1
    yield from known[::-step][::-1]


def _firings(sync: Facts, seen: Sequence[tuple[datetime, list[Finding]]]) -> Iterator[Firing]:
    """From when something is found until nothing is; what comes back within an hour is the same."""
    began: tuple[datetime, str] | None = None
    ended: datetime | None = None
    for moment, found in seen:
        if began is not None and ended is not None and moment - ended > REOPENS_WITHIN:
            yield Firing(sync.sync_id, sync.name, began[0], ended, began[1])
            began = ended = None
        if found:
            began, ended = began or (moment, found[0].text), None
        elif began is not None and ended is None:
            ended = moment
    if began is not None:
        yield Firing(sync.sync_id, sync.name, began[0], ended, began[1])
