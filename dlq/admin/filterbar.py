"""The filter form and the chips of the dead letter list, made from a parsed filter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from dlq.choices import EntryStatus
from dlq.models import ErrorGroup
from dlq.services.selection import ANY, BETWEEN, NO_RESPONSE, WINDOWS, EntryFilter
from syncs.choices import labelled
from syncs.errors import ErrorType
from syncs.models import Sync

_USUAL_CODES = (400, 401, 403, 404, 409, 413, 422, 429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Option:
    value: str
    label: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class Popover:
    name: str
    title: str
    options: list[Option]
    has_search: bool = False

    @property
    def chosen_count(self) -> int:
        return sum(option.is_chosen and option.value != ANY for option in self.options)


@dataclass(frozen=True, slots=True)
class Chip:
    title: str
    label: str
    query: str  # the list without this condition


def popovers(found: EntryFilter) -> list[Popover]:
    statuses = [Option(ANY, "Any status", not found.statuses)]
    statuses += [Option(value, label, value in found.statuses) for value, label in labelled(EntryStatus)]
    names = Sync.objects.order_by("name").values_list("pk", "name")
    types = sorted(ErrorType, key=lambda member: member.info.label)
    codes: list[int | None] = [None, *sorted({*_USUAL_CODES, *(code for code in found.codes if code is not None)})]
    return [
        Popover("status", "Status", statuses),
        Popover("sync", "Sync", [Option(str(pk), name, pk in found.sync_ids) for pk, name in names]),
        Popover("error_type", "Error type", [Option(one.value, one.info.label, one in found.error_types) for one in types]),
        Popover(
            "code", "Response code", [Option(_code_value(code), _code_label(code), code in found.codes) for code in codes], True
        ),
    ]


def times(found: EntryFilter) -> dict[str, Any]:
    chosen = found.window or (BETWEEN if found.since or found.until else "")
    options = [Option("", "Any time", not chosen)]
    options += [Option(value, label, value == chosen) for value, (label, _span) in WINDOWS.items()]
    options.append(Option(BETWEEN, "Between (UTC)", chosen == BETWEEN))
    texts = dict(found.parameters())
    return {"options": options, "since": texts.get("from", ""), "until": texts.get("to", ""), "is_set": bool(chosen)}


def chips(found: EntryFilter) -> list[Chip]:
    """One for each condition, with the address of the list without it."""
    made = list(_chips(found))
    return [Chip(title, label, changed.query()) for title, label, changed in made]


def _chips(found: EntryFilter) -> Iterable[tuple[str, str, EntryFilter]]:
    words = dict(labelled(EntryStatus))
    for status in found.statuses:
        yield "Status", words[status], replace(found, statuses=_without(found.statuses, status))
    names = dict(Sync.objects.filter(pk__in=found.sync_ids).values_list("pk", "name")) if found.sync_ids else {}
    for pk in found.sync_ids:
        yield "Sync", names.get(pk, str(pk)), replace(found, sync_ids=_without(found.sync_ids, pk))
    for one in found.error_types:
        yield "Error type", one.info.label, replace(found, error_types=_without(found.error_types, one))
    for code in found.codes:
        yield "Response code", _code_label(code), replace(found, codes=_without(found.codes, code))
    if found.window:
        yield "Failed", WINDOWS[found.window][0].lower(), replace(found, window="")
    if found.since:
        yield "Failed from", f"{found.since:%Y-%m-%d %H:%M}", replace(found, since=None)
    if found.until:
        yield "Failed before", f"{found.until:%Y-%m-%d %H:%M}", replace(found, until=None)
    if found.row_key:
        yield "Row", found.row_key, replace(found, row_key="")
    if found.group_id is not None:
        title = ErrorGroup.objects.filter(pk=found.group_id).values_list("title", flat=True).first()
        yield "Error group", title or str(found.group_id), replace(found, group_id=None)
    if found.run_id is not None:
        yield "Run", f"#{found.run_id}", replace(found, run_id=None)


def _without(values: tuple[Any, ...], gone: Any) -> tuple[Any, ...]:
    return tuple(value for value in values if value != gone)


def _code_value(code: int | None) -> str:
    return NO_RESPONSE if code is None else str(code)


def _code_label(code: int | None) -> str:
    return "No response" if code is None else str(code)
