"""API keys: found by their prefix, compared by their digest, good while their owner is active; made, rotated, revoked."""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
import string
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from syncs.choices import KeyState, Scope
from syncs.errors import RedriveError
from syncs.models import ApiKey
from syncs.services import audit, service_accounts

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

DAYS, DAYS_MOST = 90, 365  # how long a key is good, unless somebody says otherwise; and at most
OVERLAP_HOURS, OVERLAP_MOST = 24, 7 * 24  # how long a key that was rotated stays good
ENDS_SOON = timedelta(days=14)
MOST = 50  # good keys of one owner
_SHAPE = re.compile(r"rd_([a-z0-9]{12})_([A-Za-z0-9_-]{43})\Z", re.ASCII)
_NOTED_EVERY = timedelta(minutes=1)  # a write for each request would be one too many
_LETTERS = string.ascii_lowercase + string.digits


def made() -> tuple[str, str, str]:
    """(the key as shown once, its prefix, its digest): 256 random bits in the secret."""
    prefix = "".join(secrets.choice(_LETTERS) for _ in range(12))
    text = f"rd_{prefix}_{secrets.token_urlsafe(32)}"
    return text, prefix, digest_of(text)


def digest_of(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def find(text: str, *, address: str = "") -> ApiKey | None:
    """The good key of this text with its user; its use is noted. One query, and at most one update a minute."""
    shape = _SHAPE.match(text)
    if shape is None:
        return None
    key = ApiKey.objects.select_related("user").filter(prefix=shape[1]).first()
    now = timezone.now()
    if key is None or not hmac.compare_digest(key.digest, digest_of(text)) or not key.is_good(now) or not key.user.is_active:
        return None
    if key.last_used_at is None or key.last_used_at < now - _NOTED_EVERY:
        unnoted = Q(last_used_at=None) | Q(last_used_at__lt=now - _NOTED_EVERY)
        ApiKey.objects.filter(unnoted, pk=key.pk).update(last_used_at=now, last_used_from=_address(address))
    return key


def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


# --- what people do to keys


class KeyRefusedError(RedriveError):
    """Nothing was changed. ``field``: the input to correct."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A key that was just made. ``text``: the key itself, which nobody can read again."""

    key: ApiKey
    text: str


def manages(user: User | AnonymousUser) -> bool:
    """Whether everybody's keys are this person's to see and to revoke."""
    return user.has_perm("syncs.delete_apikey")


def seen_by(user: User) -> QuerySet[ApiKey]:
    """One's own keys; everybody's for who manages them. With ``replaced_by``: the key that a rotation made of it."""
    rows = ApiKey.objects.all() if manages(user) else ApiKey.objects.filter(user=user)
    after = ApiKey.objects.filter(rotated_from=OuterRef("pk")).order_by().values("pk")[:1]
    related = rows.select_related("user", "user__service_account", "created_by", "revoked_by")
    return related.annotate(replaced_by=Subquery(after))


def in_states(states: Collection[str], now: datetime) -> Q:
    """Keys in any of these ``KeyState``."""
    soon = now + ENDS_SOON
    of = {
        KeyState.GOOD: Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=soon)),
        KeyState.ENDING: Q(revoked_at=None, expires_at__gt=now, expires_at__lte=soon),
        KeyState.EXPIRED: Q(revoked_at=None, expires_at__lte=now),
        KeyState.REVOKED: Q(revoked_at__isnull=False),
    }
    found = Q(pk__in=[])
    for state in states:
        found |= of[KeyState(state)]
    return found


def state_of(key: ApiKey, now: datetime) -> KeyState:
    if key.revoked_at is not None:
        return KeyState.REVOKED
    if key.expires_at is None or key.expires_at > now + ENDS_SOON:
        return KeyState.GOOD
    return KeyState.ENDING if key.expires_at > now else KeyState.EXPIRED


def make(
    owner: User,
    *,
    name: str,
    scopes: Collection[str],
    days: int | None = DAYS,
    by: User,
    door: str,
    using: ApiKey | None = None,
) -> Shown:
    """A new key of ``owner``: oneself, or a service account that may no more than ``by``. ``days``: until it ends; None: it
    never does, which only a key of a service account may. ``using``: the key that asks for it, whose scopes and end the new
    one does not exceed. Raises ``KeyRefusedError``."""
    is_account = service_accounts.is_one(owner)
    _demand_standing(owner, by, is_account=is_account)
    name = " ".join(name.split())
    if not name or len(name) > 120:
        raise KeyRefusedError("Give the key a name of 1 to 120 characters that says what it is for.", field="name")
    if days is None and not is_account:
        raise KeyRefusedError(f"A key of a person ends: after 1 to {DAYS_MOST} days.", field="expires_in_days")
    if days is not None and not 1 <= days <= DAYS_MOST:
        raise KeyRefusedError(f"Choose 1 to {DAYS_MOST} days.", field="expires_in_days")
    now = timezone.now()
    ends = None if days is None else now + timedelta(days=days)
    with transaction.atomic():
        get_user_model()._default_manager.select_for_update().get(pk=owner.pk)  # of two at once, both are counted
        if ApiKey.objects.filter(Q(expires_at=None) | Q(expires_at__gt=now), user=owner, revoked_at=None).count() >= MOST:
            raise KeyRefusedError(f"“{owner}” has {MOST} keys that are good. Revoke those that nobody uses any more.")
        made = _add(owner, name=name, scopes=_checked(scopes, using), ends=_within(ends, using), by=by)
        audit.record("key_made", made.key, by=by, door=door, detail=_told(made.key))
    return made


def rotate(key: ApiKey, *, hours: int = OVERLAP_HOURS, by: User, door: str, using: ApiKey | None = None) -> Shown:
    """A new key in the place of this one, which stays good for ``hours`` more so that whoever uses it can change over; 0: it
    leaked, and ends at once. Name, scopes and the length of its life stay. Raises ``KeyRefusedError``."""
    if not 0 <= hours <= OVERLAP_MOST:
        raise KeyRefusedError(f"The overlap is 0 to {OVERLAP_MOST} hours.", field="overlap_hours")
    _demand_standing(key.user, by, is_account=service_accounts.is_one(key.user))
    with transaction.atomic():
        old = ApiKey.objects.select_for_update(of=("self",)).select_related("user").filter(pk=key.pk).first()
        now = timezone.now()
        if old is None or not old.is_good(now):
            raise KeyRefusedError("This key has ended. Make a new one.")
        after = ApiKey.objects.filter(rotated_from=old).first()
        if after is not None:
            raise KeyRefusedError(f"This key was rotated already: {after} takes its place. Rotate that one.")
        ends = None if old.expires_at is None else now + min(old.expires_at - old.created_at, timedelta(days=DAYS_MOST))
        made = _add(old.user, name=old.name, scopes=_checked(old.scopes, using), ends=_within(ends, using), by=by, old=old)
        until = now + timedelta(hours=hours)
        values: dict[str, Any] = {"expires_at": until if old.expires_at is None else min(until, old.expires_at)}
        if not hours:
            values = {"revoked_at": now, "revoked_by": by}
        if ApiKey.objects.filter(pk=old.pk, revoked_at=None).update(**values) != 1:
            raise KeyRefusedError("This key was revoked in this moment. Make a new one.")
        said = f"the one before is good for {hours} more hours" if hours else "the one before ended at once"
        audit.record(
            "key_rotated", made.key, by=by, door=door, detail={**_told(made.key), "reason": said, "before": old.prefix}
        )
    return made


def revoke(key: ApiKey, *, by: User, door: str) -> ApiKey:
    """It is not good any more, from the next request on. Raises ``KeyRefusedError`` when it was revoked before."""
    if key.user_id != by.pk and not manages(by):
        raise KeyRefusedError("Only its owner revokes this key, or who manages everybody's keys.")
    with transaction.atomic():
        mine = ApiKey.objects.filter(pk=key.pk, revoked_at=None)
        if mine.update(revoked_at=timezone.now(), revoked_by=by) != 1:
            raise KeyRefusedError("This key is revoked already.")
        audit.record("key_revoked", key, by=by, door=door, detail={"owner": key.user.get_username(), "prefix": key.prefix})
    return seen_by(by).get(pk=key.pk)


def _demand_standing(owner: User, by: User, *, is_account: bool) -> None:
    """Whoever reads a key acts as its owner: so it is made for oneself, or for a machine that may no more than oneself."""
    if owner.pk == by.pk:
        return
    if not is_account:
        raise KeyRefusedError("Only its owner makes or rotates a key of a person. Make one of a service account.")
    if not by.has_perm("syncs.change_serviceaccount"):
        raise KeyRefusedError("Only who manages service accounts makes or rotates their keys.")
    service_accounts.demand_no_more(owner, by)


def _checked(scopes: Collection[str], using: ApiKey | None) -> list[str]:
    """In the order of ``Scope``, each once."""
    unknown = [scope for scope in scopes if scope not in list(Scope)]
    if unknown or not scopes:
        raise KeyRefusedError(f"Choose at least one of {', '.join(Scope)}.", field="scopes")
    lacking = [scope for scope in scopes if using is not None and scope not in using.scopes]
    if lacking:
        raise KeyRefusedError(
            f"The key that asks lacks {', '.join(lacking)}, and a key made with it cannot have more. Sign in to the console, "
            "or use a key that has them.",
            field="scopes",
        )
    return [scope.value for scope in Scope if scope in scopes]


def _within(ends: datetime | None, using: ApiKey | None) -> datetime | None:
    if using is None or using.expires_at is None:
        return ends
    return using.expires_at if ends is None else min(ends, using.expires_at)


def _add(owner: User, *, name: str, scopes: list[str], ends: datetime | None, by: User, old: ApiKey | None = None) -> Shown:
    text, prefix, digest = made()
    key = ApiKey.objects.create(
        user=owner, name=name, prefix=prefix, digest=digest, scopes=scopes, expires_at=ends, created_by=by, rotated_from=old
    )
    return Shown(key, text)


def _told(key: ApiKey) -> dict[str, Any]:
    ends = key.expires_at.isoformat() if key.expires_at else None
    return {"owner": key.user.get_username(), "prefix": key.prefix, "scopes": key.scopes, "ends": ends}
