"""The filter form and the chips of the dead letter list, made from a filter, what it may be set to, and the tally's counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl

from dlq.choices import EntryStatus, RowState
from dlq.services.entry_filter import ME, NOBODY, UNKNOWN_ROW, EntryFilter
from dlq.services.offers import Offers
from dlq.services.selection import AGES, ANY, BETWEEN, NO_RESPONSE, WINDOWS
from dlq.services.tally import Facets
from syncs.choices import labelled
from syncs.errors import ErrorType

_USUAL_CODES = (400, 401, 403, 404, 409, 413, 422, 429, 500, 502, 503, 504)
_SEARCH_FROM = 10  # options from which on a popover gets a search box
ROW_LABELS = {
    RowState.CHANGED: "Changed since",
    RowState.SAME: "Still the same",
    RowState.GONE: "Gone from the warehouse",
    RowState.UNKNOWN: "Not looked at yet",
}


@dataclass(frozen=True, slots=True)
class Option:
    value: str
    label: str
    is_chosen: bool
    count: int | None = None  # entries that choosing it alone would show; None: not known


@dataclass(frozen=True, slots=True)
class Popover:
    """``other``: label, example and size of a text field for values that are not offered; "" where there is none."""

    name: str
    title: str
    options: list[Option]
    is_single: bool = False  # radio buttons; the first one stands for "any"
    other: tuple[str, str, int] | None = None
    note: str = ""

    @property
    def chosen_count(self) -> int:
        return sum(option.is_chosen and option.value not in ("", ANY) for option in self.options)

    @property
    def has_search(self) -> bool:
        return len(self.options) >= _SEARCH_FROM and not self.other and not self.is_single


@dataclass(frozen=True, slots=True)
class Bar:
    """``main``: buttons of the bar; ``more``: what is behind its last one."""

    main: list[Popover]
    more: list[Popover]
    times: dict[str, Any]
    attempts: int | None
    hidden: list[tuple[str, str]]  # conditions that have a chip, but no field

    @property
    def more_count(self) -> int:
        return sum(popover.chosen_count for popover in self.more) + (self.attempts is not None)


@dataclass(frozen=True, slots=True)
class Chip:
    title: str
    label: str
    query: str  # the list without this condition


def bar(found: EntryFilter, offers: Offers, facets: Facets | None) -> Bar:
    main = [
        _statuses(found, facets),
        _syncs(found, offers, facets),
        _error_types(found, facets),
        _codes(found, facets),
        _owners(found, offers),
    ]
    more = [_connections(found, offers), _error_codes(found, offers), _rows(found), _ages(found)]
    shown = ("key", "group", "run", "field")
    hidden = [(name, value) for name, value in found.parameters() if name in shown]
    if found.older_than:
        hidden += [(name, value) for name, value in found.parameters() if name == "age"]
    return Bar(main, more, _times(found), found.min_attempts, hidden)


def _counted(counts: Mapping[Any, int] | None, value: Any) -> int | None:
    return None if counts is None else counts.get(value, 0)


def _statuses(found: EntryFilter, facets: Facets | None) -> Popover:
    counts = None if facets is None else facets.statuses
    options = [Option(ANY, "Any status", not found.statuses, sum(counts.values()) if counts is not None else None)]
    options += [
        Option(value, label, value in found.statuses, _counted(counts, value)) for value, label in labelled(EntryStatus)
    ]
    return Popover("status", "Status", options)


def _syncs(found: EntryFilter, offers: Offers, facets: Facets | None) -> Popover:
    counts = None if facets is None else facets.syncs
    options = [Option(str(pk), name, pk in found.sync_ids, _counted(counts, pk)) for pk, name in offers.syncs.items()]
    hidden = offers.sync_count - len(options)
    note = f"{hidden:,} more syncs are not listed here. Open one from the list of syncs." if hidden > 0 else ""
    return Popover("sync", "Sync", options, note=note)


def _error_types(found: EntryFilter, facets: Facets | None) -> Popover:
    counts = None if facets is None else facets.error_types
    types = sorted(ErrorType, key=lambda one: one.info.label)
    if counts is not None:  # the frequent ones first
        types.sort(key=lambda one: -counts.get(one.value, 0))
    options = [Option(one.value, one.info.label, one in found.error_types, _counted(counts, one.value)) for one in types]
    return Popover("error_type", "Error type", options)


def _codes(found: EntryFilter, facets: Facets | None) -> Popover:
    counts = None if facets is None else facets.codes
    known = {*_USUAL_CODES, *found.codes} if counts is None else {*counts, *found.codes}
    numbers = sorted(code for code in known if code is not None)
    codes: list[int | None] = [None, *numbers]
    options = [Option(_code_value(code), _code_label(code), code in found.codes, _counted(counts, code)) for code in codes]
    return Popover("code", "Response code", options, other=("Other", "418", 6))


def _owners(found: EntryFilter, offers: Offers) -> Popover:
    options = [
        Option("", "Anyone or nobody", not found.owner),
        Option(ME, "Me", found.owner == ME),
        Option(NOBODY, "Nobody", found.owner == NOBODY),
    ]
    options += [Option(str(pk), one.name, found.owner == str(pk)) for pk, one in offers.people.items()]
    return Popover("owner", "Owner", options, is_single=True)


def _connections(found: EntryFilter, offers: Offers) -> Popover:
    options = [Option(str(pk), name, pk in found.connection_ids) for pk, name in offers.connections.items()]
    return Popover("connection", "Connection", options)


def _error_codes(found: EntryFilter, offers: Offers) -> Popover:
    options = [Option(code, code, code in found.error_codes, live or None) for code, live in offers.codes.items()]
    return Popover("error_code", "Error code", options, other=("Other, exact", "INVALID_EMAIL", 16))


def _rows(found: EntryFilter) -> Popover:
    options = [Option(state.value or UNKNOWN_ROW, label, state in found.row_states) for state, label in ROW_LABELS.items()]
    return Popover("row", "Row in the warehouse", options)


def _ages(found: EntryFilter) -> Popover:
    options = [Option("", "Any age", not found.age and not found.older_than)]
    options += [Option(value, label, value == found.age) for value, (label, _span) in AGES.items()]
    return Popover("age", "First failed", options, is_single=True)


def _times(found: EntryFilter) -> dict[str, Any]:
    chosen = found.window or (BETWEEN if found.since or found.until else "")
    options = [Option("", "Any time", not chosen)]
    options += [Option(value, label, value == chosen) for value, (label, _span) in WINDOWS.items()]
    options.append(Option(BETWEEN, "Between (UTC)", chosen == BETWEEN))
    texts = dict(found.parameters())
    return {"options": options, "since": texts.get("from", ""), "until": texts.get("to", ""), "is_set": bool(chosen)}


def chips(found: EntryFilter, offers: Offers) -> list[Chip]:
    """One for each condition, with the address of the list without it."""
    made = (*_chips_of_the_error(found, offers), *_chips_of_times(found), *_chips_of_people(found, offers))
    return [Chip(title, label, changed.query()) for title, label, changed in made]


_Made = Iterable[tuple[str, str, EntryFilter]]


def _chips_of_the_error(found: EntryFilter, offers: Offers) -> _Made:
    words = dict(labelled(EntryStatus))
    if found.text:
        yield "Search", found.text, replace(found, text="")
    if found.row_key:
        yield "Row", found.row_key, replace(found, row_key="")
    for status in found.statuses:
        yield "Status", words[status], replace(found, statuses=_without(found.statuses, status))
    for pk in found.sync_ids:
        yield "Sync", offers.syncs.get(pk, str(pk)), replace(found, sync_ids=_without(found.sync_ids, pk))
    for pk in found.connection_ids:
        rest = replace(found, connection_ids=_without(found.connection_ids, pk))
        yield "Connection", offers.connections.get(pk, str(pk)), rest
    for one in found.error_types:
        yield "Error type", one.info.label, replace(found, error_types=_without(found.error_types, one))
    for text in found.error_codes:
        yield "Error code", text, replace(found, error_codes=_without(found.error_codes, text))
    for name in found.field_names:
        yield "Field", name, replace(found, field_names=_without(found.field_names, name))
    for code in found.codes:
        yield "Response code", _code_label(code), replace(found, codes=_without(found.codes, code))
    if found.group_id is not None:
        yield "Error group", offers.group_title or str(found.group_id), replace(found, group_id=None)
    if found.run_id is not None:
        yield "Run", f"#{found.run_id}", replace(found, run_id=None)


def _chips_of_times(found: EntryFilter) -> _Made:
    if found.window:
        yield "Failed", WINDOWS[found.window][0].lower(), replace(found, window="")
    if found.since:
        yield "Failed from", f"{found.since:%Y-%m-%d %H:%M}", replace(found, since=None)
    if found.until:
        yield "Failed before", f"{found.until:%Y-%m-%d %H:%M}", replace(found, until=None)
    if found.age:
        yield "First failed", AGES[found.age][0].lower(), replace(found, age="")
    if found.older_than:
        yield "First failed before", f"{found.older_than:%Y-%m-%d %H:%M}", replace(found, older_than=None)
    if found.min_attempts is not None:
        yield "Attempts", f"{found.min_attempts:,} or more", replace(found, min_attempts=None)


def _chips_of_people(found: EntryFilter, offers: Offers) -> _Made:
    if found.owner:
        known = {ME: "me", NOBODY: "nobody"} | {str(pk): one.name for pk, one in offers.people.items()}
        yield "Owner", known.get(found.owner, f"user {found.owner}"), replace(found, owner="")
    for state in found.row_states:
        yield "Row", ROW_LABELS[state].lower(), replace(found, row_states=_without(found.row_states, state))


_TITLES = {
    "status": "Status", "sync": "Sync", "connection": "Connection", "error_type": "Error type", "error_code": "Error code",
    "field": "Field", "code": "Response code", "failed": "Failed", "from": "From", "to": "To", "age": "First failed",
    "key": "Row", "group": "Error group", "run": "Run", "owner": "Owner", "attempts": "Attempts", "row": "Row in the warehouse",
    "q": "Search",
}  # fmt: skip


def words(query: str, offers: Offers) -> list[tuple[str, str]]:
    """(title, value) of each condition of an address that may be out of date; nothing is looked up."""
    labels: dict[str, dict[str, str]] = {
        "status": {**dict(labelled(EntryStatus)), ANY: "any"},
        "sync": {str(pk): name for pk, name in offers.syncs.items()},
        "connection": {str(pk): name for pk, name in offers.connections.items()},
        "error_type": {one.value: one.info.label for one in ErrorType},
        "code": {NO_RESPONSE: "none"},
        "failed": {value: label.lower() for value, (label, _span) in WINDOWS.items()},
        "age": {value: label.lower() for value, (label, _span) in AGES.items()},
        "owner": {ME: "me", NOBODY: "nobody"} | {str(pk): one.name for pk, one in offers.people.items()},
        "row": {state.value or UNKNOWN_ROW: label.lower() for state, label in ROW_LABELS.items()},
    }
    pairs = [(name, value) for name, value in parse_qsl(query) if (name, value) != ("failed", BETWEEN)]
    return [(_TITLES.get(name, name), labels.get(name, {}).get(value, value)) for name, value in pairs]


def _without(values: tuple[Any, ...], gone: Any) -> tuple[Any, ...]:
    return tuple(value for value in values if value != gone)


def _code_value(code: int | None) -> str:
    return NO_RESPONSE if code is None else str(code)


def _code_label(code: int | None) -> str:
    return "No response" if code is None else str(code)
