"""Alert rules applied to the facts of a sync: which are about it, with which limits, and what they find."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from django.db.models import Q, QuerySet

from monitoring.choices import PLATFORM, WINDOW_HOURS, Condition, Scope, Severity, Window
from monitoring.judging.facts import Facts, Finding, Level
from monitoring.judging.limits import Limits
from monitoring.models import AlertRule
from syncs.models import Sync

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


def scope(rule: AlertRule) -> QuerySet[Sync]:
    """The syncs that a rule is about. Archived ones are not judged."""
    syncs = Sync.objects.active()
    match Scope(rule.scope):
        case Scope.ALL:
            return syncs
        case Scope.SYNC:
            return syncs.filter(pk=rule.sync_id or 0)
        case Scope.CONNECTION:
            return syncs.filter(Q(source=rule.connection_id) | Q(destination=rule.connection_id))
        case Scope.TAG:
            return syncs.filter(tags=rule.tag_id)


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
            yield rule.pk, severity_of(rule, finding), muted_until(rule, facts.now), finding


def severity_of(rule: AlertRule, finding: Finding) -> Severity:
    """The rule's; a login that is about to expire wakes nobody up."""
    severity = Severity(rule.severity)
    is_mild = finding.condition == Condition.CREDENTIAL and finding.level == Level.WARN
    return Severity.WARNING if is_mild and severity == Severity.PAGE else severity


def found_in_redrive(rules: Iterable[AlertRule], findings: Iterable[Finding], now: datetime) -> Iterator[Found]:
    """What the rules about Redrive itself say to findings that are there already."""
    by_condition = {finding.condition: finding for finding in findings}
    for rule in rules:
        finding = by_condition.get(Condition(rule.condition))
        if finding is not None:
            yield rule.pk, Severity(rule.severity), muted_until(rule, now), finding
