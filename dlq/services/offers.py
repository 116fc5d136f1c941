"""What the filters of the dead letter list have to offer: syncs, connections, error codes, people. Four small queries at most.

Everything is narrowed to the syncs that the user may see. Chosen values are always among what is offered.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.contrib.auth import get_user_model
from django.db.models import Exists, OuterRef, Q, Sum

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


@dataclass(slots=True)
class Offers:
    """``codes``: error code -> live entries of it. ``sync_count``: all syncs, of which ``syncs`` lists at most SYNCS_MAX."""

    syncs: dict[int, str] = field(default_factory=dict)
    sync_count: int = 0
    connections: dict[int, str] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    people: dict[int, Person] = field(default_factory=dict)
    group_title: str = ""


def offers(found: EntryFilter, user: User) -> Offers:
    made = Offers()
    _syncs(made, found, user)
    _codes(made, found, user)
    _people(made, found)
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
    if found.group_id is not None:  # one group has one code: nothing to choose, and only its title is wanted
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


def _people(made: Offers, found: EntryFilter) -> None:
    """Those who own dead letters: each is one probe of the index of owners."""
    wanted = Q(Exists(DLQEntry.objects.filter(owner=OuterRef("pk"))))
    if found.owner.isdigit():
        wanted |= Q(pk=int(found.owner))
    people = get_user_model().objects.filter(wanted).order_by("username")
    for pk, first, last, username in people.values_list("pk", "first_name", "last_name", "username")[:PEOPLE_MAX]:
        made.people[pk] = person(pk, first, last, username)


def person(pk: int, first: str, last: str, username: str) -> Person:
    name = f"{first} {last}".strip()
    letters = f"{first[:1]}{last[:1]}" if first and last else (name or username)[:2]
    return Person(pk, f"{name} ({username})" if name else username, letters.upper())
