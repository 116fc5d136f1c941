"""The mapper: a page of its own for the field mapping of one sync. One form; each button posts it, and only Save saves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from syncs.admin import acts, mapper_lines, sync_pages
from syncs.admin.mapper_lines import Line
from syncs.choices import FieldType, MappingKind, OnNull, labelled
from syncs.console.version_diff import Difference, by_field, differences
from syncs.destinations.base import Field
from syncs.engine import schema_fit
from syncs.engine.mapping import MappingField
from syncs.errors import RedriveError
from syncs.models import Sync
from syncs.services import mapper, mappings
from syncs.services.mapping_review import MISSING, Finding, Level
from syncs.services.mappings import InvalidMappingError, StaleMappingError

if TYPE_CHECKING:
    from syncs.admin.syncs import SyncAdmin

SHOWN_FIELDS = 500
_SETTINGS = ("options", "on_null", "default", "is_required", "is_key")  # behind the line's fold
_PAGE, _PART = "admin/syncs/sync/mapping.html", "admin/syncs/sync/mapping_part.html"


@dataclass
class _State:
    """``opened``: digest of the sync that the form was opened with. ``focus``: id of the element to go on with."""

    lines: list[Line]
    opened: str
    note: str = ""
    find: str = ""
    focus: str = ""
    refused: tuple[Finding, ...] = ()
    conflict: StaleMappingError | None = None


def page(self: SyncAdmin, request: HttpRequest, *, pk: int) -> HttpResponse:
    sync = sync_pages._find(self, request, pk)
    acts.demand(self.has_change_permission(request, sync))
    if request.method != "POST":
        lines = [mapper_lines.written(line) for line in mappings.lines(sync)]
        return _answer(self, request, sync, _State(lines, mappings.digest(sync), find=request.GET.get("find", "")[:200]))
    data = request.POST
    state = _State(mapper_lines.posted(data), data.get("opened", ""), data.get("note", "")[:255], data.get("find", "")[:200])
    if data.get("do") in _SAVING:
        answer = _save(request, sync, state, str(data["do"]))
        if answer is not None:
            return answer
    else:
        _edit(sync, state, data)
    return _answer(self, request, sync, state, again=data.get("do") == "again")


# --- buttons that change the lines on the page


def _edit(sync: Sync, state: _State, data: Mapping[str, Any]) -> None:
    for name, act in _EDITS.items():
        if name in data:
            act(sync, state, str(data[name]))
            return


def _move(state: _State, place: str, by: int) -> None:
    number = _number(place)
    state.lines = mapper_lines.moved(state.lines, number, by)
    other = number + by
    place_now = other if 0 <= other < len(state.lines) else number
    is_at_end = place_now in (0, len(state.lines) - 1)  # there its button is off
    state.focus = f"{'value' if is_at_end else 'up' if by < 0 else 'down'}-{place_now}"


def _remove(_sync: Sync, state: _State, place: str) -> None:
    number = _number(place)
    if 0 <= number < len(state.lines):
        del state.lines[number]
        state.focus = f"remove-{min(number, len(state.lines) - 1)}" if state.lines else "add"


def _add(_sync: Sync, state: _State, _value: str) -> None:
    state.lines.append(Line())
    state.focus = f"value-{len(state.lines) - 1}"


def _take(sync: Sync, state: _State, name: str) -> None:
    fields, _ = mapper_lines.said(state.lines)
    line = mapper.taken(mapper.view(sync, fields), name, fields)
    state.lines.append(mapper_lines.written(line))
    state.focus = f"value-{len(state.lines) - 1}"


def _take_all(sync: Sync, state: _State, _value: str) -> None:
    fields, _ = mapper_lines.said(state.lines)
    view = mapper.view(sync, fields)
    for one in view.suggested:
        fields.append(mapper.taken(view, one.field.name, fields))
        state.lines.append(mapper_lines.written(fields[-1]))
    state.focus = "save"


def _take_column(sync: Sync, state: _State, name: str) -> None:
    fields, _ = mapper_lines.said(state.lines)
    line = mapper.taken_column(sync, mapper.view(sync, fields), name, fields)
    state.lines.append(mapper_lines.written(line))
    state.focus = f"field-{len(state.lines) - 1}"


_EDITS = {
    "up": lambda _sync, state, place: _move(state, place, -1),
    "down": lambda _sync, state, place: _move(state, place, 1),
    "remove": _remove,
    "add": _add,
    "take": _take,
    "take_all": _take_all,
    "take_column": _take_column,
}


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else -1


# --- saving

_SAVING = ("save", "save_preview", "overwrite")


def _save(request: HttpRequest, sync: Sync, state: _State, do: str) -> HttpResponse | None:
    """The way on; None, with what is wrong in ``state``, where nothing was saved."""
    state.lines = [line for line in state.lines if not line.is_blank]
    fields, unreadable = mapper_lines.said(state.lines)
    if unreadable:
        state.refused = tuple(unreadable)
        return None
    opened = request.POST.get("seen", "") if do == "overwrite" else state.opened
    try:
        version = mappings.save(sync, fields, opened=opened, by=_user(request), door="admin", note=state.note)
    except StaleMappingError as error:
        state.conflict = error
        return None
    except InvalidMappingError as error:
        state.refused = tuple(_finding(issue.field, issue.message) for issue in error.issues)
        return None
    except RedriveError as error:
        state.refused = (Finding(Level.ERROR, None, error.field, error.message),)
        return None
    messages.success(request, f"The mapping of “{sync}” is saved as version {version.number}. Runs use it from now on.")
    name = "preview" if do == "save_preview" else "mapping"
    return HttpResponseRedirect(reverse(f"admin:syncs_sync_{name}", args=(sync.pk,)))


def _user(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


def _finding(where: str, message: str) -> Finding:
    parts = where.split(".")
    if parts[0] == "mappings":
        is_line = len(parts) > 1 and parts[1].isdigit()
        return Finding(Level.ERROR, int(parts[1]) if is_line else None, parts[2] if len(parts) > 2 else "", message)
    return Finding(Level.ERROR, None, where, f"{where.replace('_', ' ').capitalize()}: {message}" if where else message)


# --- the page


def _answer(self: SyncAdmin, request: HttpRequest, sync: Sync, state: _State, *, again: bool = False) -> HttpResponse:
    fields, unreadable = mapper_lines.said(state.lines)
    view = mapper.view(sync, fields, again=again)
    found = [*state.refused, *unreadable, *view.findings]
    is_part = request.headers.get("Accept", "").startswith("text/vnd.redrive.part")
    context = {
        **sync_pages._frame(self, request, sync, title="Field mapping"),
        "view": view,
        "state": state,
        "lines": _line_views(state, view, found),
        "whole": _unique([one for one in found if one.line is None and one.attribute != MISSING]),
        "tally": _tally(found),
        "others": _matching(view.others, state.find)[:SHOWN_FIELDS],
        "others_count": len(_matching(view.others, state.find)),
        "is_conflict": state.conflict is not None,
        "differences": _theirs_and_mine(state, fields),
        "kinds": labelled(MappingKind),
        "types": labelled(FieldType),
        "nulls": labelled(OnNull),
        "mapping_url": reverse("admin:syncs_sync_mapping", args=(sync.pk,)),
    }
    return TemplateResponse(request, _PART if is_part else _PAGE, context)


def _line_views(state: _State, view: mapper.View, found: list[Finding]) -> list[dict[str, Any]]:
    known = {field.name: field for field in view.known.fields or ()}
    by_line: dict[int, list[Finding]] = {}
    for one in found:
        if one.line is not None:
            by_line.setdefault(one.line, []).append(one)
    return [
        {
            "number": number,
            "line": line,
            "field": _field_of(line.destination_field, known),
            "is_known": view.known.fields is not None,
            "column": view.by_name.get(line.value.strip()) if line.kind == MappingKind.COLUMN else None,
            "findings": _unique(by_line.get(number, [])),
            "is_last": number == len(state.lines) - 1,
            "is_open": any(one.attribute in _SETTINGS and one.level is Level.ERROR for one in by_line.get(number, [])),
            "focus": state.focus.removesuffix(f"-{number}") if state.focus.endswith(f"-{number}") else "",
        }
        for number, line in enumerate(state.lines)
    ]


def _field_of(name: str, known: Mapping[str, Field]) -> Field | None:
    return known.get(schema_fit.plain(name))


def _unique(found: list[Finding]) -> list[Finding]:
    """A save says what the check says as well."""
    seen: dict[str, Finding] = {}
    for one in found:
        seen.setdefault(one.message, one)
    return list(seen.values())


def _tally(found: list[Finding]) -> dict[str, int]:
    unique = {(one.line, one.message): one.level for one in found}
    return {level.value: sum(one is level for one in unique.values()) for level in Level}


def _matching(fields: tuple[mapper.FieldView, ...], find: str) -> list[mapper.FieldView]:
    wanted = find.strip().casefold()
    return [one for one in fields if wanted in f"{one.field.name} {one.field.label} {one.field.type}".casefold()]


def _theirs_and_mine(state: _State, fields: list[MappingField]) -> list[Difference]:
    if state.conflict is None:
        return []
    mine = {"mappings": mappings.as_snapshot(fields)}
    found = differences(by_field(state.conflict.snapshot), by_field(mine))
    return [one for one in found if one.is_changed]
