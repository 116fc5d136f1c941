"""Teams: naming them, and who is in them. Each change stands in the audit log."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.db.models import Count, ProtectedError, QuerySet

from syncs.errors import RedriveError
from syncs.models import Team
from syncs.services import access, audit

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

NAME_MOST, ABOUT_MOST, MEMBERS_MOST = 80, 2000, 1000


class TeamRefusedError(RedriveError):
    """Nothing was changed. ``field``: the input to correct."""


def seen_by(user: User | AnonymousUser) -> QuerySet[Team]:
    """Those one belongs to; all for who sees every team's syncs. With ``people_count`` and ``sync_count``."""
    return counted().filter(pk__in=mine_of(user).values("pk")).order_by("name")


def mine_of(user: User | AnonymousUser) -> QuerySet[Team]:
    return access.teams_of(user)


def counted() -> QuerySet[Team]:
    return Team.objects.annotate(people_count=Count("members", distinct=True), sync_count=Count("syncs", distinct=True))


def held(team: Team) -> dict[str, Any]:
    """What an edit can change of it; ``members``: user names."""
    names = sorted(member.get_username() for member in team.members.all())
    return {"name": team.name, "description": team.description, "members": names}


def saved(team: Team, *, before: Mapping[str, Any] | None, by: User, door: str) -> None:
    """A team was made (``before`` None), or was what ``before`` says."""
    after = held(Team.objects.get(pk=team.pk))
    if before is None:
        audit.record("created", team, by=by, door=door, detail={"members": after["members"]})
    elif changes := audit.differences(before, after):
        audit.record("changed", team, by=by, door=door, detail=changes)


def save(team: Team, *, name: str, description: str, member_ids: Collection[int] | None, by: User, door: str) -> Team:
    """A new team, or a changed one. ``member_ids``: who is in it; None: as before. Raises ``TeamRefusedError``."""
    name = " ".join(name.split())
    if not 1 <= len(name) <= NAME_MOST:
        raise TeamRefusedError(f"Give a name of 1 to {NAME_MOST} characters.", field="name")
    before = held(team) if team.pk else None
    try:
        with transaction.atomic():
            team.name, team.description = name, description.strip()
            team.save()
            if member_ids is not None:
                team.members.set(_people(member_ids))
            saved(team, before=before, by=by, door=door)
    except IntegrityError as error:
        if Team.objects.filter(name=name).exclude(pk=team.pk).exists():
            raise TeamRefusedError(f"There is a team “{name}” already.", field="name") from error
        raise
    return team


def delete(team: Team, *, by: User, door: str) -> None:
    """Raises ``TeamRefusedError`` while it has syncs: they would become everybody's."""
    try:
        with transaction.atomic():
            audit.record("deleted", team, by=by, door=door, detail={"members": held(team)["members"]})
            team.delete()
    except ProtectedError:
        raise TeamRefusedError("It still has syncs, which would become everybody's. Give them to another first.") from None


def _people(ids: Collection[int]) -> list[Any]:
    found = list(get_user_model()._default_manager.filter(pk__in=ids))
    missing = sorted(set(ids) - {one.pk for one in found})
    if missing:
        raise TeamRefusedError(f"There is no person {missing[0]}.", field="member_ids")
    return found
