"""The list of bulk operations: newest first, page by page by id, with filters that are read strictly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.db.models import QuerySet

from dlq.choices import OperationKind, OperationStatus
from dlq.models import BulkOperation
from dlq.services import operation_access

if TYPE_CHECKING:
    from django.contrib.auth.models import User

PAGE_SIZE = 50
_ID_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Asked:
    """``problems``: sentences; with any of them nothing is listed."""

    statuses: tuple[OperationStatus, ...] = ()
    kinds: tuple[OperationKind, ...] = ()
    is_mine: bool = False
    after: int | None = None
    problems: tuple[str, ...] = ()

    @property
    def query(self) -> str:
        """Without the position."""
        pairs = [("status", one.value) for one in self.statuses] + [("kind", one.value) for one in self.kinds]
        return urlencode([*pairs, *([("who", "me")] if self.is_mine else [])])

    @property
    def is_filtered(self) -> bool:
        return bool(self.statuses or self.kinds or self.is_mine)


@dataclass(frozen=True, slots=True)
class Page:
    operations: list[BulkOperation]
    older: int | None


def parse(given: Mapping[str, Sequence[str]]) -> Asked:
    """Address parameters status, kind, who and after; anything else, and any other value, is a problem."""
    strange = [name for name in given if name not in ("status", "kind", "who", "after")]
    problems = [f"“{name[:40]}” is no filter of this list; there are status, kind and who." for name in strange]
    statuses = _members(given, "status", OperationStatus, problems)
    kinds = _members(given, "kind", OperationKind, problems)
    who = [value for value in given.get("who", ()) if value]
    if set(who) - {"me"}:
        problems.append("“who” is me, or not there.")
    return Asked(statuses, kinds, "me" in who, _after(given.get("after", ()), problems), tuple(problems))


def _members(given: Mapping[str, Sequence[str]], name: str, enum: Any, problems: list[str]) -> tuple[Any, ...]:
    chosen = []
    for value in dict.fromkeys(given.get(name, ())):
        if value in set(enum):
            chosen.append(enum(value))
        elif value:
            problems.append(f"“{value[:60]}” is no {name} of a bulk operation; there are {', '.join(enum)}.")
    return tuple(chosen)


def _after(values: Sequence[str], problems: list[str]) -> int | None:
    if not values or not values[-1]:
        return None
    text = values[-1]
    if text.isascii() and text.isdigit() and len(text) <= _ID_DIGITS:
        return int(text)
    problems.append("The position in the list is not valid. Start again at the newest.")
    return None


def page(asked: Asked, *, user: User) -> Page:
    if asked.problems:
        return Page([], None)
    chosen = narrowed(shown(user), asked, user=user)
    if asked.after is not None:
        chosen = chosen.filter(pk__lt=asked.after)
    rows = list(chosen.order_by("-pk")[: PAGE_SIZE + 1])
    found = rows[:PAGE_SIZE]
    return Page(found, found[-1].pk if len(rows) > PAGE_SIZE else None)


def shown(user: User) -> QuerySet[BulkOperation]:
    """Those that the user may see, without what a list does not show."""
    return operation_access.visible(user).select_related("created_by").defer("ids", "query", "options")


def narrowed(rows: QuerySet[BulkOperation], asked: Asked, *, user: User) -> QuerySet[BulkOperation]:
    """The filters, without the position."""
    if asked.statuses:
        rows = rows.filter(status__in=asked.statuses)
    if asked.kinds:
        rows = rows.filter(kind__in=asked.kinds)
    return rows.filter(created_by=user) if asked.is_mine else rows
