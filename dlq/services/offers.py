"""What the filters of the dead letter list have to offer: syncs, connections, error codes, people, saved views. Three queries
at most, because the list has few to spend.

Everything is narrowed to the syncs that the user may see. Chosen values are always among what is offered.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.contrib.auth import get_user_model
from django.db.models import Exists, FilteredRelation, OuterRef, Q, Sum

from dlq.models import DLQEntry, ErrorGroup
from dlq.services.entry_filter import EntryFilter
from syncs.models import Sync
from syncs.services import access

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SYNCS_MAX = 500
CODES_MAX = 40
PEOPLE_MAX = 200


@dataclass(frozen=True, slots=True)
class Person:
    id: int
    name: str  # full name, else the user name
    initials: str  # one or two letters


@dataclass(frozen=True, slots=True)
class View:
    """A saved view that the user sees."""

    pk: int
    name: str
    query: str
    is_shared: bool
    owner_id: int
    owner_name: str


@dataclass(slots=True)
class Offers:
    """``codes``: error code -> live entries of it. ``sync_count``: all syncs, of which ``syncs`` lists at most SYNCS_MAX."""

    syncs: dict[int, str] = field(default_factory=dict)
    sync_count: int = 0
    connections: dict[int, str] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    people: dict[int, Person] = field(default_factory=dict)
    group_title: str = ""
    views: list[View] = field(default_factory=list)  # one's own, then those that others share; each by name


def offers(found: EntryFilter, user: User) -> Offers:
    made = Offers()
    _syncs(made, found, user)
    _codes(made, found, user)
    _people_and_views(made, found, user)
    return made


def _syncs(made: Offers, found: EntryFilter, user: User) -> None:
    columns = ("pk", "name", "source_id", "source__name", "destination_id", "destination__name")
    rows = access.scoped(Sync.objects.order_by("name", "pk"), user, by="pk").values_list(*columns)
    connections: dict[int, str] = {}
    for pk, name, source_id, source, destination_id, destination in rows.iterator(chunk_size=2_000):
        made.sync_count += 1
        connections |= {source_id: source, destination_id: destination}
        if len(made.syncs) < SYNCS_MAX or pk in found.sync_ids:
            made.syncs[pk] = name
    made.connections = dict(sorted(connections.items(), key=lambda pair: pair[1].casefold()))


def _codes(made: Offers, found: EntryFilter, user: User) -> None:
    groups = access.scoped(ErrorGroup.objects.all(), user)
    if found.text:
        pass  # a search has queries of its own to spend
    elif found.group_id is not None:  # one group has one code: nothing to choose, and only its title is wanted
        made.group_title = groups.filter(pk=found.group_id).values_list("title", flat=True).first() or ""
    else:
        scope = found.scope()
        if scope is not None:
            groups = groups.filter(sync_id__in=scope)
        counted = groups.filter(open_count__gt=0).exclude(error_code="").order_by().values("error_code")
        rows = counted.annotate(live=Sum("open_count")).order_by("-live", "error_code")[:CODES_MAX]
        made.codes = {row["error_code"]: row["live"] for row in rows}
    for code in found.error_codes:
        made.codes.setdefault(code, 0)


def _people_and_views(made: Offers, found: EntryFilter, user: User) -> None:
    """Who owns dead letters, and which saved views the user sees. One query, since both hang on people."""
    seen = Q(saved_views__is_shared=True) | Q(saved_views__owner=user)
    is_owner = Exists(DLQEntry.objects.filter(owner=OuterRef("pk")))  # one probe of the index of owners
    wanted = Q(is_owner=True) | Q(view__isnull=False) | Q(pk=int(found.owner) if found.owner.isdigit() else None)
    people = get_user_model().objects.annotate(is_owner=is_owner, view=FilteredRelation("saved_views", condition=seen))
    who, what = ("pk", "first_name", "last_name", "username", "is_owner"), ("pk", "name", "query", "is_shared")
    rows = people.filter(wanted).order_by("username").values_list(*who, *(f"view__{name}" for name in what))
    for pk, first, last, username, is_owner_too, view_pk, name, query, is_shared in rows.iterator(chunk_size=2_000):
        is_offered = is_owner_too or str(pk) == found.owner
        if is_offered and (len(made.people) < PEOPLE_MAX or str(pk) == found.owner):
            made.people[pk] = person(pk, first, last, username)
        if view_pk is not None:
            made.views.append(View(view_pk, name, query, is_shared, pk, username))
    made.views.sort(key=lambda view: (view.owner_id != user.pk, view.name.casefold(), view.pk))


def person(pk: int, first: str, last: str, username: str) -> Person:
    name = f"{first} {last}".strip()
    letters = f"{first[:1]}{last[:1]}" if first and last else (name or username)[:2]
    return Person(pk, f"{name} ({username})" if name else username, letters.upper())
