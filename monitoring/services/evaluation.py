"""Judges syncs: at once when something happened to one, and by the tick those that were missed or whose time has come.

One judgement is one transaction that holds the sync's watch: facts, status, incidents, and the touches it has seen go together.
The cost follows what changed, not how many syncs there are.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from monitoring.judging import conditions, verdict
from monitoring.judging.facts import Facts, Finding
from monitoring.judging.limits import Limits
from monitoring.models import SyncWatch
from monitoring.services import alert_rules, alerts, depth_hours, facts, policies, status
from syncs.models import Sync, SyncTouch

logger = logging.getLogger(__name__)

_ROUNDS = 4
MOST = 200  # syncs a tick: the next one follows in seconds


def judge(sync_id: int, now: datetime | None = None) -> bool:
    """Bring status and incidents of one sync up to date. False: it is archived or gone, somebody else is at it, or it changes
    faster than it can be judged; its touches then stay, and the next tick looks again."""
    for _ in range(_ROUNDS):
        try:
            with transaction.atomic():
                return _judge(sync_id, now or timezone.now())
        except status.OvertakenError:
            continue
    logger.warning("Sync %s changes while it is judged; the next tick looks again.", sync_id)
    return False


def judge_connection(connection_id: int, now: datetime | None = None) -> int:
    """All syncs that use it. Returns how many were judged."""
    using = Sync.objects.active().filter(Q(source=connection_id) | Q(destination=connection_id))
    return _judge_each(using.order_by("pk").values_list("pk", flat=True), now or timezone.now())


def judge_due(now: datetime | None = None) -> int:
    """Those that were touched, whose time has come, whose open dead letters are not those of the last judgement, or that were
    never judged. Four queries where there are none. Returns how many were judged."""
    now = now or timezone.now()
    return _judge_each(due(now)[:MOST], now)


def due(now: datetime) -> list[int]:
    """Who waits for a judgement, longest first: touched ones, then the others."""
    touched = list(SyncTouch.objects.order_by("pk").values_list("sync_id", flat=True)[: MOST * 10])
    timely = SyncWatch.objects.filter(due_at__lte=now).order_by("due_at").values_list("sync_id", flat=True)[:MOST]
    unseen = Sync.objects.active().filter(watch=None).order_by("pk").values_list("pk", flat=True)[:MOST]
    return list(dict.fromkeys([*touched, *timely, *_with_other_depth(), *unseen]))


def _with_other_depth() -> list[int]:
    depths = depth_hours.depths()
    seen = dict(SyncWatch.objects.filter(Q(depth__gt=0) | Q(sync__in=list(depths))).values_list("sync_id", "depth"))
    return [pk for pk, depth in sorted(seen.items()) if depths.get(pk, 0) != depth]


def _judge_each(sync_ids: Iterable[int], now: datetime) -> int:
    done = 0
    for sync_id in list(sync_ids):
        try:
            done += judge(sync_id, now)
        except Exception:
            logger.exception("Sync %s could not be judged; the next tick tries again.", sync_id)
    return done


def _judge(sync_id: int, now: datetime) -> bool:
    if not _is_locked(sync_id):
        return False
    # After the lock and before the facts: what is deleted below was seen.
    seen = list(SyncTouch.objects.filter(sync=sync_id).values_list("pk", flat=True))
    found = facts.load(sync_id, now)
    if found is None:
        _forget(sync_id)
        return False
    limits, chosen = policies.of(sync_id)
    made = verdict.judge(found, limits, chosen)
    found = status.apply(found, made)
    alerts.apply(found, limits)
    _keep_watch(found, made, _due_at(found, limits))
    SyncTouch.objects.filter(pk__in=seen).delete()
    return True


def _is_locked(sync_id: int) -> bool:
    """The watch of the sync is ours until the transaction ends. False: there is no such sync, or somebody else has it."""
    mine = SyncWatch.objects.select_for_update(skip_locked=True, of=("self",)).filter(sync=sync_id)
    if mine.first() is not None:
        return True
    if not Sync.objects.active().filter(pk=sync_id).exists():
        _forget(sync_id)
        return False
    SyncWatch.objects.bulk_create([SyncWatch(sync_id=sync_id)], ignore_conflicts=True)
    return mine.first() is not None


def _forget(sync_id: int) -> None:
    """An archived sync has no status to judge; taken out of the archive, it begins anew."""
    SyncTouch.objects.filter(sync=sync_id).delete()
    SyncWatch.objects.filter(sync=sync_id).delete()


def _due_at(found: Facts, limits: Limits) -> datetime | None:
    """By the sync's own limits and by those of every rule about it."""
    asked = {limits} | {
        alert_rules.limits_of(rule, limits) for rule in alert_rules.active() if alert_rules.is_about(rule, found)
    }
    return min((at for one in asked if (at := conditions.due_at(found, one)) is not None), default=None)


def _keep_watch(found: Facts, made: verdict.Verdict, due_at: datetime | None) -> None:
    SyncWatch.objects.filter(sync=found.sync_id).update(
        judged_at=found.now,
        due_at=due_at,
        depth=found.depth,
        oldest_failed_at=found.oldest_failed_at,
        better_count=made.good_count if made.needed_count else 0,
        findings=[_line(finding) for finding in made.findings],
    )


def _line(finding: Finding) -> dict[str, object]:
    return {
        "condition": finding.condition.value,
        "level": finding.level.name.lower(),
        "text": finding.text,
        "advice": finding.advice,
        "cause": finding.cause,
        "value": finding.value,
        "limit": finding.limit,
        "run_id": finding.run_id,
        "group_id": finding.group_id,
    }
