"""Saved views of the dead letter list: a filter under a name, private or shared.

What is saved is the filter as it is written in an address, with relative times and "me" kept relative: a shared view of "my"
dead letters is everybody's own, and "the last 24 hours" are those before each look.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl

from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from dlq.choices import Door
from dlq.models import ErrorGroup, SavedView
from dlq.services import selection
from dlq.services.moves import ActRefusedError
from dlq.services.offers import View
from dlq.services.selection import EntryFilter
from syncs.models import Connection, Run, Sync
from syncs.services import access, audit

if TYPE_CHECKING:
    from django.contrib.auth.models import User

NAME_MAX = 80
QUERY_MAX = 8_000
VIEWS_MAX = 100  # of one owner
_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
_JOINERS = "\u200c\u200d"  # scripts and emoji need them
SHARE = "dlq.add_savedview"
CHANGE_ANY = "dlq.change_savedview"


@dataclass(frozen=True, slots=True)
class BuiltIn:
    name: str
    query: str


BUILT_IN = (
    BuiltIn("Open", "status=open"),
    BuiltIn("Mine", "status=open&owner=me"),
    BuiltIn("Unassigned", "status=open&owner=none"),
    BuiltIn("Failed in the last 24 hours", "status=open&failed=24h"),
    BuiltIn("Row changed since", "status=open&row=changed"),
)


def find(pk: int, user: User) -> SavedView | None:
    """None where there is none, or it is somebody else's private one."""
    return visible(user).filter(pk=pk).first()


def visible(user: User) -> QuerySet[SavedView]:
    """One's own, and those that others share."""
    return SavedView.objects.select_related("owner").filter(Q(is_shared=True) | Q(owner=user))


def may_change(view: SavedView | View, user: User) -> bool:
    return view.owner_id == user.pk or user.has_perm(CHANGE_ANY)


def may_share(user: User) -> bool:
    return user.has_perm(SHARE)


def is_current(query: str, found: EntryFilter) -> bool:
    """Whether a view's query is the filter that the list shows, in whatever order they are written."""
    return sorted(parse_qsl(query)) == sorted(found.parameters())


def of_query(saved: Iterable[View], query: str) -> View | None:
    """The view that an address, as it was asked for, comes from."""
    wanted = sorted(parse_qsl(query))
    return next((view for view in saved if sorted(parse_qsl(view.query)) == wanted), None)


def gone(saved: Sequence[View | SavedView], user: User) -> dict[int, str]:
    """Id of a view -> what it names that is not there any more, or not for this user. One query for each kind of thing."""
    wanted: dict[str, set[int]] = defaultdict(set)
    for view in saved:
        for name, number in _numbers(view.query):
            wanted[name].add(number)
    there = {name: set(_things(name, user).filter(pk__in=ids).values_list("pk", flat=True)) for name, ids in wanted.items()}
    found = {}
    for view in saved:
        lost = [f"{_NOUNS[name]} {number}" for name, number in _numbers(view.query) if number not in there[name]]
        if lost:
            found[view.pk] = ", ".join(lost)
    return found


_NOUNS = {"sync": "sync", "connection": "connection", "group": "error group", "run": "run", "owner": "user"}


def _numbers(query: str) -> list[tuple[str, int]]:
    return [(name, int(value)) for name, value in parse_qsl(query) if name in _NOUNS and value.isascii() and value.isdigit()]


def _things(name: str, user: User) -> QuerySet[Any]:
    if name == "owner":
        return get_user_model().objects.all()
    if name == "connection":
        return Connection.objects.all()
    if name == "sync":
        return access.scoped(Sync.objects.all(), user, by="pk")
    return access.scoped((ErrorGroup if name == "group" else Run)._default_manager.all(), user)


def save(
    *,
    owner: User,
    name: str,
    query: str,
    is_shared: bool = False,
    is_replacing: bool = False,
    door: Door = Door.ADMIN,
) -> SavedView:
    """Save a filter under a name. ``is_replacing``: the owner's view of that name, if there is one, gets this filter.

    Raises ``ActRefusedError`` for a name that is missing, taken or malformed, a filter that cannot be read, or too many views,
    or where the owner may not share.
    """
    name, query = _checked_name(name), _checked_query(query, owner)
    if is_shared and not may_share(owner):
        raise ActRefusedError("You may keep views for yourself, but not share them. Save it unshared.", field="shared")
    there = SavedView.objects.filter(owner=owner, name=name).first() if is_replacing else None
    if there is not None:
        change(there, query=query, is_shared=is_shared, by=owner, door=door)
        return there
    if SavedView.objects.filter(owner=owner).count() >= VIEWS_MAX:
        raise ActRefusedError(f"You have {VIEWS_MAX} saved views already. Delete one that you no longer use.")
    try:
        with transaction.atomic():
            made: SavedView = SavedView.objects.create(owner=owner, name=name, query=query, is_shared=is_shared)
            audit.record("created", made, by=owner, door=door, detail=_values(made))
            return made
    except IntegrityError:
        raise _taken(name) from None


def change(
    view: SavedView,
    *,
    by: User,
    name: str | None = None,
    query: str | None = None,
    is_shared: bool | None = None,
    door: Door = Door.ADMIN,
) -> None:
    """Change what is given, all at once.

    Raises ``ActRefusedError`` for a name or filter that cannot be taken, where ``by`` may not share, or where the view has been
    deleted. To stop sharing needs no right.
    """
    if is_shared and not view.is_shared and not may_share(by):
        raise ActRefusedError("You may keep views for yourself, but not share them.", field="shared")
    values: dict[str, Any] = {}
    if name is not None:
        values["name"] = _checked_name(name)
    if query is not None:
        values["query"] = _checked_query(query, by)
    if is_shared is not None:
        values["is_shared"] = is_shared
    before = _values(view)
    try:
        with transaction.atomic():
            if values and not SavedView.objects.filter(pk=view.pk).update(**values):
                raise _gone()
            changes = audit.differences(before, before | values)
            if changes:
                audit.record("changed", view, by=by, door=door, detail=changes)
    except IntegrityError:
        raise _taken(values.get("name", view.name)) from None
    for field, value in values.items():
        setattr(view, field, value)


def delete(view: SavedView, *, by: User, door: Door = Door.ADMIN) -> None:
    with transaction.atomic():
        audit.record("deleted", view, by=by, door=door, detail=_values(view))
        SavedView.objects.filter(pk=view.pk).delete()


def _values(view: SavedView) -> dict[str, Any]:
    return {"name": view.name, "query": view.query, "is_shared": view.is_shared}


def _checked_name(text: str) -> str:
    name = " ".join(text.split())
    if not name:
        raise ActRefusedError("Give the view a name.", field="name")
    if len(name) > NAME_MAX:
        raise ActRefusedError(f"The name has {len(name)} characters; at most {NAME_MAX} fit.", field="name")
    unseen = next((one for one in name if unicodedata.category(one) in _UNSEEN and one not in _JOINERS), None)
    if unseen is not None:
        raise ActRefusedError(f"The name holds the invisible character U+{ord(unseen):04X}. Type it in anew.", field="name")
    return name


def _checked_query(text: str, user: User) -> str:
    if len(text) > QUERY_MAX:
        raise ActRefusedError("This filter is too long to be saved. Choose fewer values.", field="filter")
    parsed = selection.parse(parse_qs(text, keep_blank_values=True), user=user)
    if parsed.problems:
        first = parsed.problems[0]
        raise ActRefusedError(f"This filter cannot be saved: “{first.field}” {first.message}.", field="filter")
    return parsed.filter.query()


def _taken(name: str) -> ActRefusedError:
    return ActRefusedError(f"You have a view named “{name}” already. Choose another name, or have it replaced.", field="name")


def _gone() -> ActRefusedError:
    return ActRefusedError("This view has been deleted in the meantime.")
