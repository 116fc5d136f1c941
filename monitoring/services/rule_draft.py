"""An alert rule as somebody wrote it, checked before it is saved: its condition is fixed, so it has that condition's limit, and
the target of its scope and no other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlq.services.group_acts import checked_url
from dlq.services.moves import ActRefusedError
from monitoring.choices import PLATFORM, Condition, Scope
from monitoring.models import AlertRule, Channel
from monitoring.services import people, rule_templates
from monitoring.services.rule_words import ABOUT, Limit
from syncs.connectors import Issue
from syncs.models import Connection, Sync, Tag
from syncs.services import access

if TYPE_CHECKING:
    from django.contrib.auth.models import User

TARGETS = {Scope.SYNC: "sync", Scope.CONNECTION: "connection", Scope.TAG: "tag"}
_PLAIN = ("name", "severity", "is_active", "tells_recovery")


class RuleRefusedError(ActRefusedError):
    """``issues``: what of it cannot be, by field."""

    def __init__(self, issues: Sequence[Issue]) -> None:
        super().__init__(" ".join(issue.message for issue in issues), field=issues[0].field)
        self.issues = tuple(issues)


@dataclass(frozen=True, slots=True)
class Draft:
    rule: AlertRule
    channels: list[Channel]


def blank(template: str, condition: str) -> AlertRule | None:
    """A rule to begin with; None: neither is known."""
    if template in rule_templates.BY_KEY:
        return AlertRule(**rule_templates.values(rule_templates.BY_KEY[template]))
    return AlertRule(condition=condition) if condition in set(Condition) else None


def limit_value(limit: Limit, value: Any) -> float | None:
    """None: each sync's own threshold. Raises ``ActRefusedError`` with the field ``limit``."""
    if value is None:
        return None
    if limit.is_whole and value != int(value):
        raise ActRefusedError("This takes a whole number.", field="limit")
    if not 0 < value <= limit.most:
        least = "1" if limit.is_whole else "more than 0"
        raise ActRefusedError(f"From {least} to {limit.most:,} {limit.unit}, please.", field="limit")
    return int(value) if limit.is_whole else float(value)


def limits(limit: Limit, value: float | None) -> dict[str, float]:
    """As a rule keeps it."""
    return {} if value is None else dict.fromkeys(limit.names, value)


def write(rule: AlertRule, given: Mapping[str, Any], *, by: User) -> Draft:
    """Put what is given on the rule, without saving it. ``given``: columns by name, ``limit``, ``channel_ids``; what is left
    out stays. Raises ``RuleRefusedError``."""
    for name in _PLAIN:
        if name in given:
            setattr(rule, name, given[name])
    issues = [*_limit(rule, given), *_scope(rule, given, by), *_owner(rule, given), *_runbook(rule, given)]
    channels, unknown = _channels(rule, given)
    if found := issues + unknown:
        raise RuleRefusedError(found)
    return Draft(rule, channels)


def _limit(rule: AlertRule, given: Mapping[str, Any]) -> Iterator[Issue]:
    about, words = ABOUT[Condition(rule.condition)], rule.get_condition_display()
    if "limit" in given and about.limit is not None:
        try:
            rule.limits = limits(about.limit, limit_value(about.limit, given["limit"]))
        except ActRefusedError as refusal:
            yield Issue("limit", refusal.message)
    elif given.get("limit") is not None:
        yield Issue("limit", f"“{words}” has no limit to set. Leave it out.")
    if given.get("window") is not None:
        if about.window:
            rule.window = given["window"]
        else:
            yield Issue("window", f"“{words}” looks at no window. Leave it out.")


def _scope(rule: AlertRule, given: Mapping[str, Any], by: User) -> Iterator[Issue]:
    """A target that was chosen before stays, also where it could not be chosen any more."""
    scope = Scope(given.get("scope", rule.scope))
    if rule.condition in PLATFORM and scope != Scope.ALL:
        yield Issue("scope", "This is about Redrive itself, not about syncs: its scope is all.")
        return
    rule.scope = scope
    offered = {
        "sync": access.scoped(Sync.objects.active(), by, by="pk"),
        "connection": Connection.objects.all(),
        "tag": Tag.objects.all(),
    }
    for of, name in TARGETS.items():
        column, before = f"{name}_id", getattr(rule, f"{name}_id")
        wanted = given.get(column, before if of == scope else None)
        if of != scope:
            if wanted is not None:
                yield Issue(column, f"Only a rule with the scope {of.value} has it. Leave it out, or choose that scope.")
            setattr(rule, name, None)
        elif wanted is None:
            yield Issue(column, f"Choose the {name} that the rule is for, or another scope.")
        elif wanted != before:
            target = offered[name].filter(pk=wanted).first()
            if target is None:
                yield Issue(column, f"There is no {name} {wanted} that you may choose.")
            setattr(rule, name, target)


def _owner(rule: AlertRule, given: Mapping[str, Any]) -> Iterator[Issue]:
    if "owner_id" not in given or given["owner_id"] == rule.owner_id:
        return
    try:
        rule.owner = people.named(str(given["owner_id"] or ""))
    except ActRefusedError as refusal:
        yield Issue("owner_id", refusal.message)


def _runbook(rule: AlertRule, given: Mapping[str, Any]) -> Iterator[Issue]:
    if "runbook_url" in given:
        try:
            rule.runbook_url = checked_url(given["runbook_url"])
        except ActRefusedError as refusal:
            yield Issue("runbook_url", refusal.message)


def _channels(rule: AlertRule, given: Mapping[str, Any]) -> tuple[list[Channel], list[Issue]]:
    if "channel_ids" not in given:
        return list(rule.channels.all()) if rule.pk else [], []
    wanted = given["channel_ids"]
    found = list(Channel.objects.filter(pk__in=wanted).only("name"))
    unknown = sorted(set(wanted) - {one.pk for one in found})
    return found, [Issue("channel_ids", f"There is no channel {unknown[0]}.")] if unknown else []
