"""The thresholds of a sync for its page: read, checked against each other, held against last week, and written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils import timezone

from dlq.services.moves import ActRefusedError
from monitoring.judging import lookback, timing
from monitoring.judging.facts import Facts
from monitoring.judging.limits import Limits
from monitoring.judging.lookback import Lookback
from monitoring.models import SyncPolicy
from monitoring.services import evaluation, facts, policies, status_history
from monitoring.services.status_history import Part
from monitoring.services.threshold_words import GROUPS, THRESHOLDS, Threshold
from syncs.connectors import Issue
from syncs.models import Sync
from syncs.services import audit, touches

if TYPE_CHECKING:
    from django.contrib.auth.models import User

ACT = "thresholds_changed"
LOOK_BACK = timedelta(days=7)
SELDOM_PERCENT = 10


@dataclass(frozen=True, slots=True)
class Line:
    """``typed``: as it stands in the field. ``default``: in words, with its unit."""

    threshold: Threshold
    typed: str
    default: str
    problem: str = ""
    held: timedelta | None = None  # in the last days, with what is saved
    would_hold: timedelta | None = None  # with what is typed

    @property
    def step(self) -> str:
        return "any" if self.threshold.places else "1"


@dataclass(frozen=True, slots=True)
class Week:
    """The last days as a page shows them. ``shares``: (status, label, time, percent), longest first."""

    parts: list[Part]
    shares: list[tuple[str, str, timedelta, float]]
    turn_count: int

    @classmethod
    def of(cls, made: Lookback) -> Week:
        pieces = status_history.parts([(span.status, span.begins_at, span.ends_at) for span in made.spans])
        return cls(pieces, status_history.shares(pieces), made.turn_count)


@dataclass(frozen=True)
class Page:
    """``past``: with what is saved; ``tried``: with what is typed, where that differs. None: nothing is known of the past."""

    sync: Sync
    groups: list[tuple[str, list[Line]]]
    past: Lookback | None
    tried: Lookback | None = None
    problems: Mapping[str, str] = field(default_factory=dict)
    policy: SyncPolicy | None = None
    values: Mapping[str, Any] = field(default_factory=dict)  # of the fields, where there is no problem

    @property
    def weeks(self) -> list[tuple[str, Week]]:
        named = (("With what is saved", self.past), ("With what stands below, not saved yet", self.tried))
        return [(words, Week.of(made)) for words, made in named if made is not None]

    @property
    def saved_text(self) -> str:
        """Also says whether the sync would have been anything but healthy nearly always."""
        shown = self.tried or self.past
        if shown is None or shown.share("healthy") >= SELDOM_PERCENT:
            return "Saved. The sync is judged by them from now on."
        return (
            f"Saved. With them it would have been healthy for {shown.share('healthy'):.0f} % of the last 7 days: who sees a "
            "warning all the time stops looking. Choose wider limits, or mend what they show."
        )


def page(sync: Sync, now: datetime, *, typed: Mapping[str, str] | None = None) -> Page:
    """``typed``: what stands in the fields, right or wrong; None: what is saved."""
    policy = SyncPolicy.objects.select_related("updated_by").filter(pk=sync.pk).first()
    found = facts.load(sync.pk, now, past=LOOK_BACK)
    saved = {name: None if policy is None else getattr(policy, name) for name in THRESHOLDS}
    shown = {name: _text(value) for name, value in saved.items()} if typed is None else typed
    values, problems = read(shown, found)
    past = tried = None
    if found is not None:
        past = _look_back(found, policies.limits(policy), policies.chosen(policy))
        if typed is not None and not problems and values != saved:
            chosen = frozenset(name for name, value in values.items() if value is not None)
            tried = _look_back(found, policies.defaults().but(values), chosen)
    groups = [
        (title, [_line(one, shown.get(one.name, ""), found, problems, past, tried) for one in group]) for title, group in GROUPS
    ]
    return Page(sync, groups, past, tried, problems if typed is not None else {}, policy, values)


def _line(
    one: Threshold,
    typed: str,
    sync: Facts | None,
    problems: Mapping[str, str],
    past: Lookback | None,
    tried: Lookback | None,
) -> Line:
    held, would_hold = (_held(one, made) for made in (past, tried))
    return Line(one, typed, _default(one, sync), problems.get(one.name, ""), held, would_hold)


def _held(one: Threshold, made: Lookback | None) -> timedelta | None:
    if made is None or one.level is None:
        return None
    return made.held.get((one.condition, one.level), timedelta())


def _look_back(found: Facts, limits: Limits, chosen: frozenset[str]) -> Lookback | None:
    made = lookback.look_back(found, limits, chosen, found.now - LOOK_BACK)
    return made if made.spans else None


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value.normalize():f}" if isinstance(value, Decimal) else str(value)


def _default(one: Threshold, sync: Facts | None) -> str:
    value = getattr(policies.defaults(), one.name)
    if value is None:
        return one.default(sync) if one.default and sync else ""
    if value == 0 and one.off:
        return one.off
    unit = one.unit.removesuffix("s") if value == 1 and not one.unit.startswith("%") else one.unit
    return f"{value:g} {unit}"


def read(typed: Mapping[str, str], sync: Facts | None) -> tuple[dict[str, Any], dict[str, str]]:
    """(values, sentences about those that cannot be), by name. An empty field is the default."""
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for name, one in THRESHOLDS.items():
        values[name], problem = _value(one, typed.get(name, ""))
        if problem:
            problems[name] = problem
    if not problems:
        problems = _contradictions(policies.defaults().but(values), values, sync)
    return values, problems


def _value(one: Threshold, typed: str) -> tuple[Any, str]:
    text = typed.strip().replace("\u202f", "").replace(" ", "")
    if not text:
        return None, ""
    kind = f"a number of at most {one.places} decimal places" if one.places else "a whole number"
    wanted = f"Give {kind} from {one.least:,} to {one.most:,}, or leave the field empty for the default."
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None, f"“{text[:40]}” is no number. {wanted}"
    if not value.is_finite() or not one.least <= value <= one.most:
        return None, wanted
    if value != round(value, one.places):
        return None, wanted
    return (value if one.places else int(value)), ""


def _contradictions(limits: Limits, values: Mapping[str, Any], sync: Facts | None) -> dict[str, str]:
    """Limits that contradict each other or the schedule. Each is told at a field that was typed into."""
    found: dict[str, str] = {}
    for warn, fail in (("error_rate_warn_percent", "error_rate_fail_percent"), ("dlq_depth_warn", "dlq_depth_fail")):
        low, high = getattr(limits, warn), getattr(limits, fail)
        if low and high and high < low:
            name = fail if values[fail] is not None else warn
            found[name] = (
                f"Failing begins at {high:g}, below degraded at {low:g}: raise the one or lower the other, or give 0 to switch "
                "one off."
            )
    minutes = values["freshness_minutes"]
    if minutes and sync is not None and sync.period_seconds and minutes * 60 < sync.period_seconds:
        period = timing.span(timedelta(seconds=sync.period_seconds))
        found["freshness_minutes"] = (
            f"Its runs may be {period} apart: it would be stale before each of them. Give more than "
            f"{sync.period_seconds / 60:,.0f} minutes, 0 for never, or let it run more often."
        )
    return found


class ThresholdsRefusedError(ActRefusedError):
    """``issues``: what of it cannot be, by ``values.<name>``."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        self.issues = tuple(Issue(f"values.{name}", text) for name, text in problems.items())
        super().__init__(" ".join(problems.values()), field=self.issues[0].field)


def over(sync: Sync, given: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """``given`` over what is saved, None for the default, checked. Raises ``ThresholdsRefusedError``."""
    policy = SyncPolicy.objects.filter(pk=sync.pk).first()
    saved = {name: getattr(policy, name, None) for name in THRESHOLDS}
    values, problems = read(typed({**saved, **given}), facts.load(sync.pk, now, past=LOOK_BACK))
    if problems:
        raise ThresholdsRefusedError(problems)
    return values


def typed(values: Mapping[str, Any]) -> dict[str, str]:
    """As somebody would write them into the fields."""
    return {name: _text(value) for name, value in values.items()}


def lock(sync: Sync) -> None:
    """Orders those who write thresholds of it, whether it has any yet or not; within a transaction."""
    Sync.objects.select_for_update(no_key=True, of=("self",)).only("pk").get(pk=sync.pk)


def save(sync: Sync, values: Mapping[str, Any], *, by: User, door: str) -> bool:
    """Write them and have the sync judged. ``values``: from ``read``, without problems. False: they were so already."""
    with transaction.atomic():
        lock(sync)
        policy = SyncPolicy.objects.filter(pk=sync.pk).first()
        before = {name: plain(getattr(policy, name, None)) for name in THRESHOLDS}
        changes = audit.differences(before, {name: plain(value) for name, value in values.items()})
        if not changes:
            return False
        known = {"updated_by": by, "updated_at": timezone.now()}
        if not SyncPolicy.objects.filter(pk=sync.pk).update(**values, **known):
            SyncPolicy.objects.create(sync=sync, **values, updated_by=by)
        audit.record(ACT, sync, by=by, door=door, detail=changes)
        touches.touch(sync.pk)
        transaction.on_commit(lambda: evaluation.judge(sync.pk) and None, robust=True)
    return True


def plain(value: Any) -> Any:
    """As JSON has it: 1.50 and 1.5 are the same."""
    return float(value) if isinstance(value, Decimal) else value
