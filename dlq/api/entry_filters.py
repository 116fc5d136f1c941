"""The filters of the dead letter list: named here for the document, read by the console's own parser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

import django_filters as df
from django.http import QueryDict
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from dlq.choices import EntryStatus, RowState
from dlq.models import DLQEntry
from dlq.services import selection
from dlq.services.entry_filter import AGES, ANY, BETWEEN, UNKNOWN_ROW, WINDOWS, EntryFilter
from dlq.services.paging import Position
from syncs.connectors import Issue
from syncs.errors import ErrorType
from syncs.rest.filters import PAGE_NAMES, IdFilter, IdsFilter, StrictFilterSet, TextFilter, TextsFilter, WordsFilter
from syncs.rest.paging import Wanted
from syncs.rest.problems import InvalidError

_TIME = "ISO 8601 with a time zone, or in UTC without; a date alone is its whole day."
_SETTLED = "filter"  # in a cursor: the filter as it was settled for the first page


def _words(*values: str) -> list[tuple[str, str]]:
    return [(value, value) for value in values]


def _declared() -> dict[str, df.Filter]:
    """By the names of the console's addresses; one of them is a word of Python."""
    windows, states = _words(*WINDOWS, BETWEEN), _words(*(state.value or UNKNOWN_ROW for state in RowState))
    return {
        "status": WordsFilter(
            choices=_words(*EntryStatus, ANY), label="Without it only open ones are listed; `any`: whatever their status."
        ),
        "sync": IdsFilter(label="Of these syncs."),
        "connection": IdsFilter(label="Whose sync reads from or writes to one of these connections."),
        "error_type": WordsFilter(choices=_words(*ErrorType), label="With one of these error types."),
        "error_code": TextsFilter(max_length=120, label="With one of these codes of the destination."),
        "field": TextsFilter(max_length=255, label="Whose error names one of these destination fields."),
        "code": TextsFilter(pattern="[1-5][0-9]{2}|none", label="With one of these HTTP statuses; `none`: no response."),
        "failed": df.ChoiceFilter(
            choices=windows, label="Failed last within this span up to now; `between`: within `from` and `to`."
        ),
        "from": TextFilter(max_length=40, label=f"Failed last at this moment or later. {_TIME}"),
        "to": TextFilter(max_length=40, label=f"Failed last before this moment. {_TIME}"),
        "age": TextFilter(max_length=40, label=f"Failed first longer ago than {', '.join(AGES)}; or before a moment. {_TIME}"),
        "key": TextFilter(max_length=255, label="With this row key, whole."),
        "group": IdFilter(label="Of this error group."),
        "run": IdFilter(label="Refused last by this run."),
        "owner": TextFilter(pattern="me|none|[1-9][0-9]{0,17}", label="`me`, `none`, or the number of a person."),
        "attempts": df.NumberFilter(min_value=1, max_value=1_000_000, label="Sent at least so many times."),
        "row": WordsFilter(choices=states, label="What the last look into the warehouse found; `unknown`: nobody looked."),
        "q": TextFilter(
            max_length=200,
            label="Row keys that begin with this text, and what error groups it occurs in. Messages and payloads are searched "
            "as well where the other filters leave at most 50,000 dead letters.",
        ),
    }


class EntryFilters(StrictFilterSet):
    """``chosen`` instead of ``of``: the console's ``selection.parse`` decides what a value means."""

    @classmethod
    def chosen(cls, query: QueryDict, *, user: Any, beside: Sequence[str] = PAGE_NAMES) -> EntryFilter:
        """The filter that the address describes. ``beside``: what else it may hold. Raises ``InvalidError`` with each
        parameter that is wrong."""
        made = cls(query, DLQEntry.objects.none(), user=user)
        parsed = selection.parse(dict(query.lists()), ignore=beside, user=user)
        made.refuse([Issue(one.field, f"{one.field} {one.message}.") for one in parsed.problems] or made.misread(query))
        return parsed.filter

    @classmethod
    def settled(cls, query: QueryDict, asked: Wanted, *, user: Any) -> EntryFilter:
        """The same with everything relative fixed: at this moment on the first page, as then on those after it."""
        chosen = cls.chosen(query, user=user)
        kept = asked.after.get(_SETTLED) if asked.after is not None else None
        if kept is None:
            return chosen.at(timezone.now())
        since, older_than, syncs, groups, is_deep = kept
        then = replace(
            chosen,
            window="",
            since=_moment(since),
            age="",
            older_than=_moment(older_than),
            connection_sync_ids=_ids(syncs),
            text_group_ids=_ids(groups),
            is_text_deep=is_deep,
        )
        return then.at(timezone.now())

    @staticmethod
    def kept(found: EntryFilter) -> dict[str, Any]:
        """What a cursor carries of a settled filter: what the address does not say. Short, for addresses have a limit."""
        times = [None if at is None else at.isoformat() for at in (found.since, found.older_than)]
        return {_SETTLED: [*times, found.connection_sync_ids, found.text_group_ids, found.is_text_deep]}


def position(asked: Wanted) -> Position | None:
    """Where a page begins; None: at the newest. Raises ``InvalidError`` for a cursor of an earlier release."""
    if asked.after is None:
        return None
    found = Position.parse(str(asked.after.get("at", "")))
    if found is None:
        raise InvalidError([Issue("cursor", "This cursor is of another version. Begin without one.")])
    return found


def _moment(text: str | None) -> datetime | None:
    return None if text is None else parse_datetime(text)


def _ids(values: Sequence[int] | None) -> tuple[int, ...] | None:
    return None if values is None else tuple(values)


cast("dict[str, df.Filter]", EntryFilters.base_filters).update(_declared())
