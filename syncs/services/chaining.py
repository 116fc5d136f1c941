"""Chains: a sync runs after another one. Set up by who sees both; never in a circle."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, connection, transaction
from django.db.models import QuerySet

from syncs.choices import ChainWhen
from syncs.errors import ConfigError
from syncs.models import Sync, SyncChain
from syncs.services import access, audit

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

EDITABLE = ("when", "is_enabled")
_LOCK = 0x63_68_61_69_6E_73  # "chains"
_GONE = "Nothing was changed: the chain was deleted meanwhile."


def seen_by(user: User | AnonymousUser) -> QuerySet[SyncChain]:
    """Chains between syncs that are both the user's to see."""
    mine = access.scoped(SyncChain.objects.all(), user, by="sync_id")
    return access.scoped(mine, user, by="after_id").select_related("after", "sync", "created_by")


def add(sync: Sync, *, after: Sync, when: str = ChainWhen.SUCCEEDED, is_enabled: bool = True, by: User, door: str) -> SyncChain:
    """From now on ``sync`` runs after ``after``; both are the user's to see. Raises ``ConfigError``, naming the way round where
    it would be a circle."""
    for one in (sync, after):
        if one.is_archived:
            raise ConfigError(f"“{one.name}” is archived and runs no more. Take it out of the archive first.")
    if sync.pk == after.pk:
        raise ConfigError("A sync cannot run after itself. Give it a schedule, or choose another one.", field="after_id")
    chain = SyncChain(sync=sync, after=after, when=_when(when), is_enabled=is_enabled, created_by=by)
    try:
        with transaction.atomic():
            _alone()
            if way := _way(sync.pk, after.pk):
                raise ConfigError(_circle(way, by), field="after_id")
            chain.save(force_insert=True)
            audit.record("created", chain, by=by, door=door, detail=_ends(chain) | {"when": chain.when})
    except IntegrityError:
        if not SyncChain.objects.filter(sync=sync, after=after).exists():
            raise
        raise ConfigError(f"“{sync.name}” runs after “{after.name}” already. Change that chain.", field="after_id") from None
    return chain


def change(chain: SyncChain, *, by: User, door: str, **values: Any) -> SyncChain:
    """``values``: some of ``EDITABLE``. Raises ``ConfigError``."""
    if "when" in values:
        values["when"] = _when(values["when"])
    with transaction.atomic():
        stored = _locked(chain)
        before = {name: getattr(stored, name) for name in EDITABLE}
        if changes := audit.differences(before, {**before, **values}):
            SyncChain.objects.filter(pk=stored.pk).update(**values)
            stored.refresh_from_db(fields=EDITABLE)
            audit.record("changed", stored, by=by, door=door, detail=changes)
    return stored


def delete(chain: SyncChain, *, by: User, door: str) -> None:
    """With the record of what it started; the runs stay."""
    with transaction.atomic():
        stored = _locked(chain)
        audit.record("deleted", stored, by=by, door=door, detail=_ends(stored))
        stored.delete()


def _when(text: str) -> str:
    if text not in list(ChainWhen):
        raise ConfigError(f"There is no end “{text[:40]}”. Choose among {', '.join(ChainWhen)}.", field="when")
    return text


def _ends(chain: SyncChain) -> dict[str, Any]:
    return {"sync": chain.sync_id, "after": chain.after_id}


def _locked(chain: SyncChain) -> SyncChain:
    stored = SyncChain.objects.select_for_update().filter(pk=chain.pk).first()
    if stored is None:
        raise ConfigError(_GONE)
    return stored


def _alone() -> None:
    """Two chains that close a circle only together are not added at the same moment. SQLite has one writer anyway."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


def _way(start: int, end: int) -> list[int]:
    """Syncs from ``start`` to ``end`` along chains, also those that are off; empty: none lead there."""
    onward: dict[int, list[int]] = defaultdict(list)
    for after, sync in SyncChain.objects.order_by("pk").values_list("after_id", "sync_id"):
        onward[after].append(sync)
    came: dict[int, int | None] = {start: None}
    waiting = deque([start])
    while waiting:
        here = waiting.popleft()
        if here == end:
            return _back(came, end)
        for there in onward[here]:
            if there not in came:
                came[there] = here
                waiting.append(there)
    return []


def _back(came: dict[int, int | None], end: int) -> list[int]:
    way: list[int] = []
    here: int | None = end
    while here is not None:
        way.append(here)
        here = came[here]
    return way[::-1]


def _circle(way: list[int], user: User) -> str:
    """Syncs of other teams are not named."""
    seen = access.scoped(Sync.objects.filter(pk__in=way), user, by="pk")
    names = dict(seen.values_list("pk", "name"))
    said = [f"“{names[pk]}”" if pk in names else "a sync of another team" for pk in (*way, way[0])]
    return f"That would be a circle: {' → '.join(said)}. Take one of these chains away first."
