"""Who is concerned by something that affects some syncs: who may see them, whose they are, who watches them.

Set-based: as many queries for a thousand people as for one. The rules of sight are those of ``syncs.services.access``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.contrib.auth import get_user_model
from django.db.models import BooleanField, Case, Q, QuerySet, Value, When

from monitoring.models import WatchedSync
from syncs.models import Sync, Team
from syncs.services.access import SEES_ALL

if TYPE_CHECKING:
    from django.contrib.auth.models import User

CHOOSES, SEES = "monitoring.view_subscription", "syncs.view_sync"  # both are needed to be told of a sync
LOOKS_AFTER = "monitoring.change_channel"  # who is told where there is nobody else: admins
_BACKEND = "django.contrib.auth.backends.ModelBackend"


@dataclass(frozen=True, slots=True)
class Person:
    user: User
    sees_all: bool
    is_admin: bool

    @property
    def id(self) -> int:
        return self.user.pk

    @property
    def name(self) -> str:
        return self.user.get_full_name() or self.user.get_username()


@dataclass(frozen=True, slots=True)
class StandIn:
    """A sync without an owner who can be told, and who is told instead. ``instead``: the team's name, or "" for the admins."""

    sync_id: int
    why: str
    instead: str


@dataclass(slots=True)
class Audience:
    """``seen``, ``owned``, ``watched``: ids of syncs by id of the person. ``stand_ins``: whose owner cannot be told."""

    people: dict[int, Person]
    seen: dict[int, frozenset[int]] = field(default_factory=dict)
    owned: dict[int, set[int]] = field(default_factory=dict)
    watched: dict[int, set[int]] = field(default_factory=dict)
    stand_ins: list[StandIn] = field(default_factory=list)

    def sees(self, person_id: int, sync_id: int) -> bool:
        return sync_id in self.seen.get(person_id, frozenset())

    def _own(self, person_id: int, sync_id: int) -> None:
        self.owned.setdefault(person_id, set()).add(sync_id)


def able() -> dict[int, Person]:
    """Everybody who can be told anything: active staff who may see syncs and choose how they are told."""
    holders = get_user_model()._default_manager.with_perm
    chosen = holders(CHOOSES, backend=_BACKEND).filter(is_staff=True, pk__in=holders(SEES, backend=_BACKEND).values("pk"))
    marked = chosen.annotate(
        sees_all=_holds(holders(SEES_ALL, backend=_BACKEND)), looks_after=_holds(holders(LOOKS_AFTER, backend=_BACKEND))
    )
    shown = marked.order_by("username").only("username", "first_name", "last_name", "email", "is_active")
    return {one.pk: Person(one, one.sees_all, one.looks_after) for one in shown}


def of(sync_ids: Collection[int]) -> Audience:
    """Of these syncs; without any, of Redrive itself: everybody who can be told, and its owners are the admins."""
    made = Audience(able())
    if not sync_ids:
        made.seen = dict.fromkeys(made.people, frozenset())
        for person in made.people.values():
            if person.is_admin:
                made.owned[person.id] = set()
        return made
    _look(made, list(Sync.objects.filter(pk__in=sync_ids).select_related("owner", "team").order_by("pk")))
    for user_id, sync_id in WatchedSync.objects.filter(sync__in=sync_ids).values_list("user_id", "sync_id"):
        if made.sees(user_id, sync_id):
            made.watched.setdefault(user_id, set()).add(sync_id)
    return made


def stood_in_by(user: User) -> list[tuple[Sync, str]]:
    """Syncs that he is told of in the owner's place, by name, each with the reason."""
    made = Audience(able())
    if user.pk not in made.people:
        return []
    orphans = Sync.objects.active().filter(Q(owner=None) | ~Q(owner__in=made.people.keys()) | Q(team__isnull=False))
    syncs = list(orphans.select_related("owner", "team").order_by("name"))
    _look(made, syncs)
    instead = {one.sync_id for one in made.stand_ins} & made.owned.get(user.pk, set())
    return [(sync, why(sync)) for sync in syncs if sync.pk in instead]


def _look(made: Audience, syncs: list[Sync]) -> None:
    members = members_of({sync.team_id for sync in syncs if sync.team_id is not None})
    for person in made.people.values():
        seen = frozenset(sync.pk for sync in syncs if _may_see(person, sync, members))
        if seen:
            made.seen[person.id] = seen
    for sync in syncs:
        _find_owners(made, sync, members)


def members_of(team_ids: Iterable[int]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {team_id: set() for team_id in team_ids}
    if found:
        for team_id, user_id in Team.members.through.objects.filter(team_id__in=found).values_list("team_id", "user_id"):
            found[team_id].add(user_id)
    return found


def _may_see(person: Person, sync: Sync, members: dict[int, set[int]]) -> bool:
    return person.sees_all or sync.team_id is None or person.id in members[sync.team_id]


def _find_owners(made: Audience, sync: Sync, members: dict[int, set[int]]) -> None:
    """The owner; where there is none who can be told, the members of the team; where there are none of these, the admins."""
    if sync.owner_id is not None and made.sees(sync.owner_id, sync.pk):
        made._own(sync.owner_id, sync.pk)
        return
    team = sorted(members.get(sync.team_id or 0, set()) & made.people.keys())
    instead = team or [one.id for one in made.people.values() if one.is_admin and made.sees(one.id, sync.pk)]
    for person_id in instead:
        made._own(person_id, sync.pk)
    made.stand_ins.append(StandIn(sync.pk, why(sync), sync.team.name if team and sync.team else ""))


def why(sync: Sync) -> str:
    """Why its owner is not told; the sync comes with its owner. What the reader may see of the sync says no more."""
    if sync.owner is None:
        return "it has no owner"
    name = sync.owner.get_full_name() or sync.owner.get_username()
    if not sync.owner.is_active:
        return f"its owner {name} is deactivated"
    return f"its owner {name} may not see it, or may not be told of alerts"


def _holds(holders: QuerySet[object]) -> Case:  # type: ignore[type-var,unused-ignore]
    return Case(When(pk__in=holders.values("pk"), then=Value(True)), default=Value(False), output_field=BooleanField())
