"""Service accounts: users for machines. They have roles and teams as people have, own API keys, and never sign in."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Count, Max, Prefetch, Q, QuerySet
from django.utils import timezone

from syncs.errors import RedriveError
from syncs.models import ServiceAccount, Team
from syncs.services import access, audit

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

NAME_MOST, ABOUT_MOST = 150, 255


class AccountRefusedError(RedriveError):
    """Nothing was changed. ``field``: the input to correct."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an account is to be. ``roles``: names; ``teams``: ids."""

    description: str
    roles: tuple[str, ...]
    teams: tuple[int, ...]
    is_active: bool = True


def is_one(user: User | AnonymousUser) -> bool:
    return user.pk is not None and ServiceAccount.objects.filter(user=user.pk).exists()


def rows() -> QuerySet[ServiceAccount]:
    """With their user, roles, teams; ``key_count`` of good keys and ``last_used_at`` of any."""
    now = timezone.now()
    good = Q(user__api_keys__revoked_at=None) & (Q(user__api_keys__expires_at=None) | Q(user__api_keys__expires_at__gt=now))
    has_key = Q(user__api_keys__isnull=False)
    counted = ServiceAccount.objects.annotate(
        key_count=Count("user__api_keys", filter=has_key & good), last_used_at=Max("user__api_keys__last_used_at")
    )
    groups, teams = (
        Prefetch("user__groups", Group.objects.order_by("name")),
        Prefetch("user__teams", Team.objects.order_by("name")),
    )
    return counted.select_related("user", "created_by").prefetch_related(groups, teams)


def held(account: ServiceAccount) -> Wanted:
    user = account.user
    return Wanted(
        description=account.description,
        roles=tuple(sorted(group.name for group in user.groups.all())),
        teams=tuple(sorted(team.pk for team in user.teams.all())),
        is_active=user.is_active,
    )


def stamp(wanted: Wanted) -> str:
    """The same for the same state, for edits that are not to be lost."""
    return sha256(repr(wanted).encode()).hexdigest()[:32]


def create(name: str, wanted: Wanted, *, by: User, door: str) -> ServiceAccount:
    """Raises ``AccountRefusedError``: a name that is taken, and roles or teams beyond those of ``by``."""
    name = _name(name)
    users = get_user_model()._default_manager
    try:
        with transaction.atomic():
            user = users.create(username=name, is_staff=False, is_superuser=False, is_active=wanted.is_active)
            user.set_unusable_password()
            user.save(update_fields=["password"])
            account = ServiceAccount.objects.create(user=user, description=_about(wanted), created_by=by)
            _give(user, wanted, by)
            audit.record("created", account, by=by, door=door, detail=_told(wanted))
    except IntegrityError as error:
        if users.filter(username=name).exists():
            raise AccountRefusedError(f"There is a person or an account “{name}” already.", field="name") from error
        raise
    return rows().get(pk=account.pk)


@transaction.atomic
def change(account: ServiceAccount, wanted: Wanted, *, by: User, door: str, seen: str = "") -> ServiceAccount:
    """``seen``: the ``stamp`` of what was edited. Raises ``AccountRefusedError``: roles or teams, present or wanted, beyond
    those of ``by``, and when somebody was faster."""
    get_user_model()._default_manager.select_for_update().get(pk=account.user_id)
    fresh = rows().get(pk=account.pk)
    before = held(fresh)
    if seen and seen != stamp(before):
        raise AccountRefusedError("Nothing was changed: somebody else has changed it meanwhile. Reload the page to see what.")
    demand_no_more(fresh.user, by)
    ServiceAccount.objects.filter(pk=fresh.pk).update(description=_about(wanted))
    get_user_model()._default_manager.filter(pk=fresh.user_id).update(is_active=wanted.is_active)
    _give(fresh.user, wanted, by)
    if changes := audit.differences(_told(before), _told(wanted)):
        audit.record("changed", fresh, by=by, door=door, detail=changes)
    return rows().get(pk=fresh.pk)


def demand_no_more(user: User, by: User) -> None:
    """Whoever holds an account's key acts as the account. Raises ``AccountRefusedError`` where it may more than ``by``."""
    theirs = get_user_model()._default_manager.get(pk=user.pk)  # fresh: what it may is remembered by the object
    beyond = [] if by.is_superuser else sorted(theirs.get_all_permissions() - by.get_all_permissions())
    if theirs.is_superuser and not by.is_superuser:
        beyond = ["everything"]
    if not beyond and not by.has_perm(access.SEES_ALL):
        beyond = [
            f"the team {name}" for name in theirs.teams.exclude(pk__in=access.teams_of(by)).values_list("name", flat=True)
        ]
    if beyond:
        raise AccountRefusedError(f"“{user}” may more than you: {', '.join(beyond[:3])}. Ask somebody who may that, too.")


def roles() -> QuerySet[Group]:
    return Group.objects.order_by("name")


def _give(user: User, wanted: Wanted, by: User) -> None:
    groups = list(Group.objects.filter(name__in=wanted.roles))
    unknown = sorted(set(wanted.roles) - {group.name for group in groups})
    if unknown:
        known = ", ".join(roles().values_list("name", flat=True))
        raise AccountRefusedError(f"There is no role “{unknown[0][:80]}”. There are: {known}.", field="roles")
    teams = list(access.teams_of(by).filter(pk__in=wanted.teams))
    kept = set(user.teams.values_list("pk", flat=True))
    missing = sorted(set(wanted.teams) - {team.pk for team in teams} - kept)
    if missing:
        raise AccountRefusedError(f"There is no team {missing[0]} that you may give.", field="team_ids")
    user.groups.set(groups)
    user.teams.set([*teams, *Team.objects.filter(pk__in=set(wanted.teams) & kept)])
    try:
        demand_no_more(user, by)
    except AccountRefusedError as refusal:
        raise AccountRefusedError(refusal.message, field="roles") from None


def _name(text: str) -> str:
    text = text.strip()
    try:
        UnicodeUsernameValidator()(text)
    except ValidationError:
        raise AccountRefusedError("Use letters, digits and @ . + - _ only, without spaces.", field="name") from None
    if not 1 <= len(text) <= NAME_MOST:
        raise AccountRefusedError(f"Use 1 to {NAME_MOST} characters.", field="name")
    return text


def _about(wanted: Wanted) -> str:
    text = " ".join(wanted.description.split())
    if len(text) > ABOUT_MOST:
        raise AccountRefusedError(f"Use at most {ABOUT_MOST} characters.", field="description")
    return text


def _told(wanted: Wanted) -> dict[str, Any]:
    names: Collection[str] = list(Team.objects.filter(pk__in=wanted.teams).order_by("name").values_list("name", flat=True))
    return {
        "description": " ".join(wanted.description.split()),
        "roles": sorted(wanted.roles),
        "teams": list(names),
        "active": wanted.is_active,
    }
