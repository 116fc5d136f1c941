"""Which ids of an address stand for something that is there and that the person may see: one query for all of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, cast

from django.contrib.auth import get_user_model
from django.db.models import CharField, Model, QuerySet, Value

from dlq.models import ErrorGroup
from syncs.models import Connection, Run, Sync
from syncs.services import access

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

NAMES = ("sync", "connection", "group", "run", "owner")


def there(wanted: Mapping[str, Collection[int]], user: User | AnonymousUser | None) -> dict[str, set[int]]:
    """``wanted``: name among ``NAMES`` -> ids. Returns those that are there; ``user`` None: whoever may see them."""
    found: dict[str, set[int]] = {name: set() for name in NAMES}
    parts = [
        _seen(name, user).order_by().filter(pk__in=ids).annotate(what=Value(name, CharField())).values_list("what", "pk")
        for name, ids in wanted.items()
        if ids
    ]
    if parts:
        for name, pk in parts[0].union(*parts[1:], all=True):
            found[name].add(pk)
    return found


def _seen(name: str, user: User | AnonymousUser | None) -> QuerySet[Any]:
    models: dict[str, type[Model]] = {"connection": Connection, "owner": cast("type[Model]", get_user_model())}
    if name in models:
        return models[name]._default_manager.all()
    model, by = {"sync": (Sync, "pk"), "group": (ErrorGroup, "sync_id"), "run": (Run, "sync_id")}[name]
    rows: QuerySet[Any] = model._default_manager.all()
    return rows if user is None else access.scoped(rows, user, by=by)
