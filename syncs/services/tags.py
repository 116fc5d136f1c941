"""Tags: naming them, renaming them, putting them on syncs. Whoever judges a sync by its tags is told by a touch."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from django.db import transaction

from syncs.models import Sync, Tag
from syncs.services import access, audit, touches

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User


def unknown(names: Collection[str]) -> list[str]:
    """Those that nobody has named yet, in their order."""
    known = set(Tag.objects.filter(name__in=names).values_list("name", flat=True)) if names else set()
    return [name for name in names if name not in known]


def may_touch(user: User | AnonymousUser, tag: Tag | None) -> bool:
    """Renaming and deleting a tag changes the syncs that have it: for who sees them all."""
    ids = access.visible_sync_ids(user)
    return tag is None or ids is None or not tag.syncs.exclude(pk__in=ids).exists()


@transaction.atomic
def put(sync: Sync, names: Collection[str], *, by: User | None, door: str) -> None:
    """Give the sync these tags and no others; new ones are named."""
    for name in unknown(names):
        tag, is_new = Tag.objects.get_or_create(name=name)
        if is_new:
            audit.record("created", tag, by=by, door=door)
    sync.tags.set(Tag.objects.filter(name__in=names))
    touches.touch(sync.pk)


def saved(tag: Tag, *, before: str, by: User | None, door: str) -> None:
    """A tag was named, or has another name than ``before`` (empty: it is new)."""
    if not before:
        audit.record("created", tag, by=by, door=door)
    elif before != tag.name:
        audit.record("changed", tag, by=by, door=door, detail={"name": [before, tag.name]})
        _touch(tag)


@transaction.atomic
def delete(tag: Tag, *, by: User | None, door: str) -> None:
    """Take it from all syncs. Raises ``ProtectedError`` while a rule is about it."""
    ids = _touch(tag)
    audit.record("deleted", tag, by=by, door=door, detail={"syncs": len(ids)})
    tag.delete()


def _touch(tag: Tag) -> list[int]:
    ids = list(tag.syncs.values_list("pk", flat=True))
    touches.touch_many(ids)
    return ids
