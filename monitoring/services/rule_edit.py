"""What people do to alert rules: saved, muted, switched, deleted; each with a line in the audit log."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from dlq.services.moves import ActRefusedError
from monitoring.choices import PLATFORM
from monitoring.models import AlertRule, Channel, Incident
from monitoring.services import alert_rules, mutes
from monitoring.services.incident_steps import LIVE
from syncs.services import access, audit, touches

if TYPE_CHECKING:
    from django.contrib.auth.models import User

COLUMNS = (
    *("name", "template", "scope", "sync_id", "connection_id", "tag_id", "condition", "window", "limits", "severity"),
    *("is_active", "tells_recovery", "owner_id", "runbook_url"),
)
REASON_MAX = 255
_STALE = "Nothing was changed: somebody else has changed the rule meanwhile. Reload the page to see what."


def visible(user: User) -> QuerySet[AlertRule]:
    """All rules but those about one sync that the user does not see."""
    ids = access.visible_sync_ids(user)
    rules = AlertRule.objects.select_related("sync", "connection", "tag", "owner", "muted_by")
    return rules if ids is None else rules.filter(Q(sync=None) | Q(sync_id__in=ids))


def save(rule: AlertRule, channels: Iterable[Channel], *, by: User, door: str, seen_at: datetime | None = None) -> AlertRule:
    """A new rule, or a changed one. ``seen_at``: ``updated_at`` of the rule that was edited. The syncs in its scope are judged
    anew, so that it holds at once. Raises ``ActRefusedError`` for a name that is taken, and when somebody was faster."""
    try:
        with transaction.atomic():
            before = _values(AlertRule.objects.filter(pk=rule.pk).first()) if rule.pk else {}
            if rule.pk:
                _update(rule, seen_at)
            else:
                rule.save(force_insert=True)
            rule.channels.set(channels)
            after = _values(rule)
            act = "changed" if before else "created"
            audit.record(act, rule, by=by, door=door, detail=audit.differences(before, after) if before else after)
            _judge_again(rule)
    except IntegrityError as error:
        if AlertRule.objects.filter(name=rule.name).exclude(pk=rule.pk).exists():
            raise ActRefusedError("There is a rule with this name already. Choose another.", field="name") from error
        raise
    return rule


def _update(rule: AlertRule, seen_at: datetime | None) -> None:
    mine = AlertRule.objects.filter(pk=rule.pk)
    if seen_at is not None:
        mine = mine.filter(updated_at=seen_at)
    columns = {name: getattr(rule, name) for name in COLUMNS}
    if mine.update(**columns, updated_at=timezone.now()) != 1:
        raise ActRefusedError(_STALE)


def _values(rule: AlertRule | None) -> dict[str, Any]:
    if rule is None:
        return {}
    own = {name: getattr(rule, name) for name in COLUMNS if name != "template"}
    return {**own, "channels": sorted(rule.channels.values_list("name", flat=True))}


def _judge_again(rule: AlertRule) -> None:
    if rule.condition not in PLATFORM:
        touches.touch_many(alert_rules.scope(rule).values_list("pk", flat=True))


def switch(rule: AlertRule, *, is_active: bool, by: User, door: str) -> str:
    with transaction.atomic():
        mine = AlertRule.objects.filter(pk=rule.pk, is_active=not is_active)
        if mine.update(is_active=is_active, updated_at=timezone.now()) != 1:
            raise ActRefusedError(f"Nothing was changed: the rule is {'on' if is_active else 'off'} already.")
        audit.record("switched_on" if is_active else "switched_off", rule, by=by, door=door)
        _judge_again(rule)
    if is_active:
        return f"“{rule}” is on."
    return f"“{rule}” is off. Incidents that only this rule finds are over with the next judgement of their syncs."


def mute(rule: AlertRule, *, until: str, reason: str, by: User, at: datetime, door: str) -> str:
    """``until``: a key of ``mutes.SPANS`` or a time. Raises ``ActRefusedError``."""
    ends_at = mutes.end(until, at)
    reason = reason.strip()
    if not reason or len(reason) > REASON_MAX or "\0" in reason:
        raise ActRefusedError(f"Why is it muted? Say it in at most {REASON_MAX} characters.", field="reason")
    with transaction.atomic():
        values = {"muted_until": ends_at, "mute_reason": reason, "muted_by": by, "updated_at": timezone.now()}
        if AlertRule.objects.filter(pk=rule.pk).update(**values) != 1:
            raise ActRefusedError(_STALE)
        audit.record("muted", rule, by=by, door=door, detail={"until": ends_at.isoformat(), "reason": reason})
    return f"“{rule}” is muted until {mutes.said(ends_at)}. What is found meanwhile and lasts is told then."


def unmute(rule: AlertRule, *, by: User, at: datetime, door: str) -> str:
    with transaction.atomic():
        muted = AlertRule.objects.filter(pk=rule.pk, muted_until__gt=at)
        if muted.update(muted_until=None, mute_reason="", muted_by=None, updated_at=timezone.now()) != 1:
            raise ActRefusedError("Nothing was changed: the rule is not muted any more.")
        # What it kept quiet ends with it: the next tick tells.
        kept = Incident.objects.filter(rules=rule, state__in=LIVE, muted_until=rule.muted_until)
        Incident.objects.filter(pk__in=list(kept.values_list("pk", flat=True))).update(muted_until=at)
        audit.record("unmuted", rule, by=by, door=door)
    return f"“{rule}” is heard again."


def delete(rule: AlertRule, *, by: User, door: str) -> str:
    name = str(rule)
    with transaction.atomic():
        audit.record("deleted", rule, by=by, door=door, detail=_values(rule))
        _judge_again(rule)
        AlertRule.objects.filter(pk=rule.pk).delete()
    return f"“{name}” is deleted. Incidents that only this rule found are over with the next judgement of their syncs."
