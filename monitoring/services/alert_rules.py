"""Alert rules applied to the facts of a sync: which are about it, with which limits, and what they find."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from django.db.models import QuerySet

from monitoring.choices import PLATFORM, WINDOW_HOURS, Condition, Scope, Severity, Window
from monitoring.judging.facts import Facts, Finding
from monitoring.judging.limits import Limits
from monitoring.models import AlertRule

logger = logging.getLogger(__name__)

Find = Callable[[Condition, Facts, Limits], list[Finding]]
Found = tuple[int, Severity, datetime | None, Finding]  # rule, its severity, until when it is muted


def active() -> QuerySet[AlertRule]:
    return AlertRule.objects.filter(is_active=True).select_related("tag").order_by("pk")


def is_about(rule: AlertRule, facts: Facts) -> bool:
    match Scope(rule.scope):
        case Scope.ALL:
            return True
        case Scope.SYNC:
            return rule.sync_id == facts.sync_id
        case Scope.CONNECTION:
            return rule.connection_id in (facts.source.id, facts.destination.id)
        case Scope.TAG:
            return rule.tag is not None and rule.tag.name in facts.tags


def limits_of(rule: AlertRule, own: Limits) -> Limits:
    """The rule's limits; those it leaves open are the thresholds of the sync."""
    return own.but({"window_hours": WINDOW_HOURS[Window(rule.window)], **rule.limits})


def muted_until(rule: AlertRule, now: datetime) -> datetime | None:
    return rule.muted_until if rule.muted_until is not None and rule.muted_until > now else None


def found(rules: Iterable[AlertRule], facts: Facts, own: Limits, find: Find) -> Iterator[Found]:
    """What the rules find wrong with one sync. A rule that breaks is logged and left out: the others are heard all the same."""
    for rule in rules:
        if rule.condition in PLATFORM or not is_about(rule, facts):
            continue
        try:
            findings = find(Condition(rule.condition), facts, limits_of(rule, own))
        except Exception:
            logger.exception("Alert rule %s could not be judged for sync %s; the other rules go on.", rule.pk, facts.sync_id)
            continue
        for finding in findings:
            yield rule.pk, Severity(rule.severity), muted_until(rule, facts.now), finding


def found_in_redrive(rules: Iterable[AlertRule], findings: Iterable[Finding], now: datetime) -> Iterator[Found]:
    """What the rules about Redrive itself say to findings that are there already."""
    by_condition = {finding.condition: finding for finding in findings}
    for rule in rules:
        finding = by_condition.get(Condition(rule.condition))
        if finding is not None:
            yield rule.pk, Severity(rule.severity), muted_until(rule, now), finding
