"""The list of alert rules, with what each found of late."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db.models import Count, Q

from monitoring.choices import Condition, Severity
from monitoring.models import AlertRule, Incident
from monitoring.services import incident_sight, rule_edit, rule_templates, rule_words
from monitoring.services.incident_steps import LIVE

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MOST = 500
_SINCE = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Line:
    """``said``: condition and limit; ``channels``: names; ``open_count``, ``week_count``: incidents that the reader sees."""

    rule: AlertRule
    said: str
    about: str
    channels: tuple[str, ...]
    open_count: int
    week_count: int
    is_muted: bool

    @property
    def channel_ids(self) -> list[int]:
        return [channel.pk for channel in self.rule.channels.all()]

    @property
    def limit(self) -> float | None:
        """The one number of its condition; None: each sync's own threshold, or there is none to set."""
        return rule_words.limit(self.rule)

    @property
    def window(self) -> str | None:
        return self.rule.window if rule_words.ABOUT[Condition(self.rule.condition)].window else None


def lines(user: User, now: datetime) -> list[Line]:
    """Those that are on first, then by name."""
    return lines_of(rule_edit.visible(user).prefetch_related("channels").order_by("-is_active", "name")[:MOST], user, now)


def lines_of(rules: Iterable[AlertRule], user: User, now: datetime) -> list[Line]:
    """One query for all, where the rules bring their channels and targets along."""
    is_recent = Q(state__in=LIVE) | Q(opened_at__gte=now - _SINCE)
    recent = incident_sight.visible(user).filter(is_recent).order_by().values("rules")
    open_, week = Count("pk", filter=Q(state__in=LIVE)), Count("pk", filter=Q(opened_at__gte=now - _SINCE))
    counted = recent.annotate(open_count=open_, week_count=week).values_list("rules", "open_count", "week_count")
    counts = {pk: (open_count, week_count) for pk, open_count, week_count in counted}
    return [_line(rule, counts.get(rule.pk, (0, 0)), now) for rule in rules]


def _line(rule: AlertRule, counts: tuple[int, int], now: datetime) -> Line:
    names = tuple(channel.name for channel in rule.channels.all())
    is_muted = rule.muted_until is not None and rule.muted_until > now
    return Line(rule, rule_words.said(rule), rule_words.about(rule), names, *counts, is_muted=is_muted)


def incidents(rule: AlertRule, user: User) -> list[Incident]:
    return list(incident_sight.visible(user).filter(rules=rule).order_by("-pk")[:10])


@dataclass(frozen=True, slots=True)
class TemplateLine:
    key: str
    name: str
    condition: Condition
    severity: Severity
    said: str
    limit: float | None


def templates() -> list[TemplateLine]:
    return [_template(one, AlertRule(**rule_templates.values(one))) for one in rule_templates.TEMPLATES]


def _template(one: rule_templates.Template, rule: AlertRule) -> TemplateLine:
    return TemplateLine(one.key, one.name, one.condition, one.severity, rule_words.said(rule), rule_words.limit(rule))
