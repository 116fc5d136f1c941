"""The status of a sync, with its reason and since when: worked out from its runs and dead letters, and written here only."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import Case, Exists, F, OuterRef, Q, QuerySet, Subquery, Sum, Value, When
from django.db.models.functions import Coalesce
from django.utils import timezone

from dlq.models import ErrorGroup
from syncs.choices import ConnectionState, RunStatus, SyncStatus, Trigger
from syncs.models import Run, Sync
from syncs.services import credentials

logger = logging.getLogger(__name__)

_WELL = (RunStatus.SUCCEEDED, RunStatus.PARTIAL)
_ENDED = (*_WELL, RunStatus.FAILED)  # a cancelled or skipped run says nothing about the sync
_SETUP_CODES = ("config", "address_refused", "https_required")  # a run that its own set-up kept from starting
_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Health:
    status: SyncStatus
    reason: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What the verdict rests on. ``last``: the newest run that came to an end; ``open_count``: live dead letters."""

    sync: Sync
    last: Run | None
    open_count: int
    has_worked: bool


def judge(facts: Facts) -> Health:
    health = _judge(facts)
    if health.status not in (SyncStatus.HEALTHY, SyncStatus.DEGRADED):
        return health
    sync, now = facts.sync, timezone.now()
    warnings = [text for one in (sync.source, sync.destination) if (text := credentials.expiry_text(one, now))]
    return Health(SyncStatus.DEGRADED, " ".join(filter(None, (health.reason, *warnings)))) if warnings else health


def _judge(facts: Facts) -> Health:
    sync, last = facts.sync, facts.last
    if sync.is_paused:
        return Health(SyncStatus.PAUSED, sync.pause_reason or "Paused.")
    if sync.destination.state == ConnectionState.REAUTHORIZE:
        status = SyncStatus.FAILING if last else SyncStatus.UNCONFIGURED
        return Health(status, credentials.login_text(sync.destination))
    if last is None:
        return Health(SyncStatus.UNCONFIGURED, "Never ran.")
    if last.status == RunStatus.FAILED:
        # What has worked before and cannot run any more is a failure someone must see, whatever broke it.
        is_unready = last.failure_code in _SETUP_CODES and not facts.has_worked
        status = SyncStatus.UNCONFIGURED if is_unready else SyncStatus.FAILING
        return Health(status, last.failure_message or last.reason or f"Run {last.pk} failed.")
    if sync.drift_since is not None:
        return Health(SyncStatus.DEGRADED, f"Destination schema changed: {sync.drift_reason}.")
    if last.status == RunStatus.PARTIAL:
        share = f"{last.dead_lettered_count:,} of {last.read_count + last.vanished_count:,} rows"
        return Health(SyncStatus.DEGRADED, f"Last run dead-lettered {share}; {facts.open_count:,} open.")
    if facts.open_count:
        verb = "is" if facts.open_count == 1 else "are"
        noun = "dead letter" if facts.open_count == 1 else "dead letters"
        return Health(SyncStatus.DEGRADED, f"Last run succeeded, but {facts.open_count:,} {noun} of earlier runs {verb} open.")
    return Health(SyncStatus.HEALTHY, "")


def recompute(sync_id: int) -> bool:
    """Write the status where it differs; ``status_since`` moves only with the status itself. False: nothing to write."""
    return _recompute(sync_id) > 0


def recompute_all() -> int:
    """Every sync that is not archived, in two queries and one UPDATE for each that differs. Returns how many were written."""
    stale = [facts.sync.pk for facts in _facts(Sync.objects.all()) if _differs(facts.sync, judge(facts))]
    return sum(_recompute(pk) for pk in stale)


def _recompute(sync_id: int) -> int:
    """The UPDATE asks for the row as it was when the facts were read: two that overlap cannot leave the older verdict."""
    for _ in range(_ROUNDS):
        facts = next(_facts(Sync.objects.filter(pk=sync_id)), None)
        if facts is None:
            return 0
        health = judge(facts)
        if not _differs(facts.sync, health):
            return 0
        if _write(facts.sync, health):
            return 1
    logger.warning("The status of sync %s changes all the time; the next tick looks again.", sync_id)
    return 0


def _differs(sync: Sync, health: Health) -> bool:
    return (sync.status, sync.status_reason) != (health.status.value, health.reason)


def _write(sync: Sync, health: Health) -> bool:
    as_read = Sync.objects.filter(
        pk=sync.pk,
        is_paused=sync.is_paused,
        drift_since=sync.drift_since,
        status=sync.status,
        status_reason=sync.status_reason,
        status_since=sync.status_since,
    )
    since = Case(When(status=health.status, then=F("status_since")), default=Value(timezone.now()))
    return as_read.update(status=health.status, status_reason=health.reason, status_since=since) == 1


def _facts(syncs: QuerySet[Sync]) -> Iterator[Facts]:
    """Open dead letters come from the counters of the error groups: no count over the entries themselves.

    A reprocess touches chosen rows only: it tells that the sync fails, but not that all is well.
    """
    ended = Run.objects.filter(sync=OuterRef("pk"), status__in=_ENDED)
    newest = ended.exclude(Q(trigger=Trigger.REPROCESS), ~Q(status=RunStatus.FAILED)).order_by("-id")
    groups = ErrorGroup.objects.filter(sync=OuterRef("pk")).order_by().values("sync")
    annotated = syncs.filter(is_archived=False).annotate(
        last_ended_id=Subquery(newest.values("id")[:1]),
        open_dead_letters=Coalesce(Subquery(groups.annotate(n=Sum("open_count")).values("n")[:1]), 0),
        has_worked=Exists(ended.filter(status__in=_WELL)),
    )
    drift = ("drift_since", "drift_reason")
    own = ("pk", "is_paused", "pause_reason", "status", "status_reason", "status_since", *drift)
    theirs = [f"{role}__{name}" for role in ("source", "destination") for name in ("name", "state", "credential_expires_at")]
    found = list(annotated.select_related("source", "destination").only(*own, *theirs))
    last = Run.objects.defer("options", "error_summary").in_bulk([sync.last_ended_id for sync in found if sync.last_ended_id])
    for sync in found:
        yield Facts(sync, last.get(sync.last_ended_id or 0), sync.open_dead_letters, sync.has_worked)
