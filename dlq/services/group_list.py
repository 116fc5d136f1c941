"""The list of error groups: its filter, strictly read from an address, and its pages by position, never by offset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.db.models import Q, QuerySet
from django.utils.dateparse import parse_datetime

from dlq.choices import GroupState
from dlq.models import ErrorGroup
from dlq.services.budget import TooSlowError, budget
from syncs.connectors import Issue
from syncs.errors import ErrorType
from syncs.models import Sync
from syncs.services import access

if TYPE_CHECKING:
    from django.contrib.auth.models import User

PAGE_SIZE = 50
BUDGET_SECONDS = 3.0
OPEN, ALL = "open", "all"
NEWEST, MOST = "newest", "most"
ME, NOBODY = "me", "none"
PARAMETERS = ("show", "state", "sync", "error_type", "owner", "q", "sort", "after")
_TEXT_MAX = 200
TOO_SLOW = "Nothing was found in time. Choose a sync, an error type or a shorter list as well."


@dataclass(frozen=True, slots=True)
class Position:
    """A group's place in the list: the value that it is sorted by, then its number."""

    value: datetime | int
    id: int

    def __str__(self) -> str:
        return f"{self.value.isoformat() if isinstance(self.value, datetime) else self.value}_{self.id}"

    @classmethod
    def of(cls, group: ErrorGroup, sort: str) -> Position:
        return cls(group.open_count if sort == MOST else group.last_seen_at, group.pk)

    @classmethod
    def parse(cls, text: str, sort: str) -> Position | None:
        """None when it is no position in a list that is sorted so."""
        value, _, number = text.rpartition("_")
        pk = _number(number)
        if pk is None:
            return None
        if sort == MOST:
            count = _number(value)
            return None if count is None else cls(count, pk)
        try:
            at = parse_datetime(value.replace(" ", "+"))  # a bare + in an address arrives as a blank
        except ValueError:
            return None
        return cls(at, pk) if at is not None and at.tzinfo is not None else None


@dataclass(frozen=True, slots=True)
class Asked:
    """What the list was asked for; empty means "not filtered by this". With problems it shows nothing."""

    has_open: bool = True
    states: tuple[GroupState, ...] = ()
    sync_ids: tuple[int, ...] = ()
    error_types: tuple[ErrorType, ...] = ()
    owner: str = ""  # ME, NOBODY, or the number of a user
    text: str = ""
    sort: str = NEWEST
    after: Position | None = None
    problems: tuple[Issue, ...] = ()
    syncs: Mapping[int, str] = field(default_factory=dict, compare=False)  # all that one may see: id -> name

    def query(self, *, after: Position | None = None) -> str:
        pairs = [("show", OPEN if self.has_open else ALL)]
        pairs += [("state", state.value) for state in self.states]
        pairs += [("sync", str(pk)) for pk in self.sync_ids]
        pairs += [("error_type", one.value) for one in self.error_types]
        pairs += [(name, value) for name, value in (("owner", self.owner), ("q", self.text)) if value]
        pairs += [("sort", self.sort)] if self.sort != NEWEST else []
        return urlencode(pairs + ([("after", str(after))] if after else []))

    @property
    def is_narrowed(self) -> bool:
        return bool(self.states or self.sync_ids or self.error_types or self.owner or self.text)

    def without(self, name: str, value: str = "") -> Asked:
        """The same without one condition, for the chips."""
        kept = {
            "state": lambda: replace(self, states=tuple(one for one in self.states if one != value)),
            "sync": lambda: replace(self, sync_ids=tuple(pk for pk in self.sync_ids if str(pk) != value)),
            "error_type": lambda: replace(self, error_types=tuple(one for one in self.error_types if one != value)),
            "owner": lambda: replace(self, owner=""),
            "q": lambda: replace(self, text=""),
        }[name]()
        return replace(kept, after=None)


@dataclass(frozen=True, slots=True)
class GroupPage:
    groups: list[ErrorGroup]
    older_query: str = ""
    problem: str = ""  # a sentence when the database could not find the page in time


def visible(user: User) -> QuerySet[ErrorGroup]:
    """The groups of syncs that the user may see."""
    return access.scoped(ErrorGroup.objects.all(), user)


def parse(given: Mapping[str, Sequence[str]], *, user: User) -> Asked:
    """From address parameters (name -> values). What is malformed or unknown is a problem, never a wider list."""
    reader = _Reader(given, user)
    sort = reader.one_of("sort", (NEWEST, MOST), NEWEST)
    asked = Asked(
        has_open=reader.one_of("show", (OPEN, ALL), OPEN) == OPEN,
        states=tuple(GroupState(value) for value in reader.several("state", list(GroupState))),
        sync_ids=tuple(sorted(int(value) for value in reader.several("sync", [str(pk) for pk in reader.syncs]))),
        error_types=tuple(ErrorType(value) for value in reader.several("error_type", list(ErrorType))),
        owner=reader.owner(),
        text=reader.text(),
        sort=sort,
        after=reader.after(sort),
        syncs=reader.syncs,
    )
    return replace(asked, problems=tuple(reader.problems))


class _Reader:
    def __init__(self, given: Mapping[str, Sequence[str]], user: User) -> None:
        self.given = given
        self.problems = [
            Issue(name, f"is no filter of this list; there are {', '.join(PARAMETERS[:-1])}")
            for name in given
            if name not in PARAMETERS
        ]
        names = access.scoped(Sync.objects.order_by("name", "pk"), user, by="pk")
        self.syncs: dict[int, str] = dict(names.values_list("pk", "name"))

    def values(self, name: str) -> list[str]:
        return list(dict.fromkeys(text for text in (value.strip() for value in self.given.get(name, ())) if text))

    def refuse(self, name: str, sentence: str) -> None:
        self.problems.append(Issue(name, sentence))

    def one(self, name: str) -> str:
        values = self.values(name)
        if len(values) > 1:
            self.refuse(name, f"takes one value, but has {len(values)}")
        return values[0] if values else ""

    def one_of(self, name: str, known: Sequence[str], default: str) -> str:
        value = self.one(name) or default
        if value not in known:
            self.refuse(name, f"is {' or '.join(known)}")
        return value if value in known else default

    def several(self, name: str, known: Sequence[str]) -> list[str]:
        values = self.values(name)
        if any(value not in known for value in values):
            what = "a sync that is not there" if name == "sync" else "something else than " + ", ".join(known)
            self.refuse(name, f"names {what}; choose from the list")
        return [value for value in values if value in known]

    def owner(self) -> str:
        value = self.one("owner")
        if value and value not in (ME, NOBODY) and _number(value) is None:
            self.refuse("owner", "is me, none, or the number of a user")
            return ""
        return value

    def text(self) -> str:
        value = self.one("q")
        if len(value) > _TEXT_MAX or "\0" in value:
            self.refuse("q", f"is a text of at most {_TEXT_MAX} characters, without NUL")
            return ""
        return value

    def after(self, sort: str) -> Position | None:
        value = self.one("after")
        position = Position.parse(value, sort) if value else None
        if value and position is None:
            self.refuse("after", "is no position in this list; start again at the first page")
        return position


def page(asked: Asked, *, user: User) -> GroupPage:
    """One page in the order asked for, or the one below ``asked.after``."""
    if asked.problems:
        return GroupPage([])
    column = "open_count" if asked.sort == MOST else "last_seen_at"
    found = chosen(asked, user)
    if asked.after:
        below = Q(**{f"{column}__lt": asked.after.value}) | Q(id__lt=asked.after.id)
        found = found.filter(below, **{f"{column}__lte": asked.after.value})
    try:
        with budget(BUDGET_SECONDS):
            rows = list(found.order_by(f"-{column}", "-id")[: PAGE_SIZE + 1])
    except TooSlowError:
        return GroupPage([], problem=TOO_SLOW)
    shown = rows[:PAGE_SIZE]
    has_more = len(rows) > PAGE_SIZE
    return GroupPage(shown, asked.query(after=Position.of(shown[-1], asked.sort)) if has_more else "")


def chosen(asked: Asked, user: User) -> QuerySet[ErrorGroup]:
    """Those that the filter is for, with sync and owner, in no order."""
    if asked.problems:
        return ErrorGroup.objects.none()
    found = visible(user).select_related("sync", "owner")
    if asked.has_open:
        found = found.filter(open_count__gt=0)
    if asked.states:
        found = found.filter(state__in=asked.states)
    if asked.sync_ids:
        found = found.filter(sync_id__in=asked.sync_ids)
    if asked.error_types:
        found = found.filter(error_type__in=asked.error_types)
    if asked.owner:
        found = found.filter(_owned(asked.owner, user))
    if asked.text:
        of_text = Q(title__icontains=asked.text) | Q(error_code__icontains=asked.text) | Q(field__icontains=asked.text)
        found = found.filter(of_text | Q(note__icontains=asked.text))
    return found


def _owned(owner: str, user: User) -> Q:
    if owner == NOBODY:
        return Q(owner__isnull=True)
    return Q(owner_id=user.pk if owner == ME else int(owner))


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None
