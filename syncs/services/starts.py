"""What starts a sync: its triggers and chains, and what came of them lately; of syncs that the user sees."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from django.db.models import Exists, OuterRef, Q, QuerySet

from syncs.models import ChainFiring, Sync, SyncChain, SyncTrigger, TriggerCall
from syncs.services import access, chaining

if TYPE_CHECKING:
    from django.contrib.auth.models import User

_LATEST = 12


@dataclass(frozen=True, slots=True)
class Starts:
    """``before``: chains to syncs that it runs after; ``behind``: to those that run after it."""

    triggers: list[SyncTrigger]
    before: list[SyncChain]
    behind: list[SyncChain]


@dataclass(frozen=True, slots=True)
class Event:
    """A call that was taken in, or a chain that answered an end. ``after_run``: the run that ended."""

    at: datetime
    what: str
    after_run: int | None
    run: int | None
    outcome: str


def with_starts(rows: QuerySet[Sync]) -> QuerySet[Sync]:
    """Adds ``has_starts``: whether a sync has any trigger or chain; most have none, and need not be asked for them."""
    triggers = SyncTrigger.objects.filter(sync=OuterRef("pk"))
    chains = SyncChain.objects.filter(Q(sync=OuterRef("pk")) | Q(after=OuterRef("pk")))
    return rows.annotate(has_starts=Exists(triggers) | Exists(chains))


def of(sync: Sync, user: User) -> Starts:
    """Empty where the user may not see them. Two queries; none for a sync of ``with_starts`` that has nothing."""
    if not getattr(sync, "has_starts", True):
        return Starts([], [], [])
    triggers: list[SyncTrigger] = []
    chains: list[SyncChain] = []
    if user.has_perm("syncs.view_synctrigger"):
        triggers = list(SyncTrigger.objects.filter(sync=sync).order_by("pk").defer("secrets"))
    if user.has_perm("syncs.view_syncchain"):
        chains = list(chaining.seen_by(user).filter(Q(sync=sync) | Q(after=sync)).order_by("pk"))
    before = [chain for chain in chains if chain.sync_id == sync.pk]
    return Starts(triggers, before, [chain for chain in chains if chain.after_id == sync.pk])


def latest(found: Starts) -> list[Event]:
    """Newest first. Two queries."""
    chains = [chain.pk for chain in found.before]
    calls = TriggerCall.objects.filter(trigger__in=found.triggers).select_related("trigger").defer("trigger__secrets")
    firings = ChainFiring.objects.filter(chain__in=chains).select_related("chain__after")
    events = [
        Event(call.at, f"Call of “{call.trigger.name}”", None, call.run_id, "")
        for call in (calls.order_by("-pk")[:_LATEST] if found.triggers else ())
    ]
    events += [
        Event(firing.at, f"End of “{firing.chain.after.name}”", firing.after_run_id, firing.run_id, firing.outcome)
        for firing in (firings.order_by("-pk")[:_LATEST] if chains else ())
    ]
    return sorted(events, key=lambda event: event.at, reverse=True)[:_LATEST]


def candidates(sync: Sync, user: User, found: Starts) -> QuerySet[Sync]:
    """Syncs that it could run after; a circle is refused when it is chosen."""
    taken = [sync.pk, *(chain.after_id for chain in found.before), *(chain.sync_id for chain in found.behind)]
    return access.scoped(Sync.objects.active(), user, by="pk").exclude(pk__in=taken).only("name").order_by("name")
