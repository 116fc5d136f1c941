"""Whose syncs: which syncs, and with them which runs, steps and dead letters, somebody may see and act on.

A sync without a team belongs to everybody who may see syncs at all; a sync of a team to its members. ``allteams_sync`` lifts
the border (admins and auditors). What somebody may *do* with what they see is a matter of permissions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from django.db.models import BooleanField, Case, Exists, OuterRef, Q, QuerySet, When

from syncs.models import Sync, Team

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

SEES_ALL = "syncs.allteams_sync"
_REMEMBERED = "_visible_sync_ids"
Q_ = TypeVar("Q_", bound="QuerySet[Any]")


def visible_sync_ids(user: User | AnonymousUser) -> tuple[int, ...] | None:
    """Ids of the syncs that the user may see, ascending; None: every one there is, so that no condition is needed.

    Looked up once per user object, which lives as long as one request.
    """
    if not user.is_authenticated:
        return ()
    if user.has_perm(SEES_ALL):
        return None
    if not hasattr(user, _REMEMBERED):
        is_member = Exists(Team.members.through.objects.filter(team_id=OuterRef("team_id"), user_id=user.pk))
        is_mine = Case(When(Q(team__isnull=True) | is_member, then=True), default=False, output_field=BooleanField())
        seen = list(Sync.objects.order_by("pk").annotate(is_mine=is_mine).values_list("pk", "is_mine"))
        setattr(user, _REMEMBERED, None if all(mine for _, mine in seen) else tuple(pk for pk, mine in seen if mine))
    ids: tuple[int, ...] | None = getattr(user, _REMEMBERED)
    return ids


def teams_of(user: User | AnonymousUser) -> QuerySet[Team]:
    """The teams that the user may give a sync to."""
    return Team.objects.all() if user.has_perm(SEES_ALL) else Team.objects.filter(members=user.pk)


def may_see(user: User | AnonymousUser, sync_id: int) -> bool:
    ids = visible_sync_ids(user)
    return ids is None or sync_id in ids


def scoped(rows: Q_, user: User | AnonymousUser, *, by: str = "sync_id") -> Q_:
    """Those rows that belong to syncs the user may see. ``by``: the column that holds the sync's id."""
    ids = visible_sync_ids(user)
    narrowed: Q_ = rows if ids is None else rows.filter(**{f"{by}__in": ids})
    return narrowed
