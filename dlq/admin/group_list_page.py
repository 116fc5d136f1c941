"""The page of the list of error groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse

from dlq.admin import group_charts
from dlq.admin.base import may, user_of
from dlq.choices import GroupState
from dlq.services import group_chart, group_list
from dlq.services.group_list import ALL, ME, MOST, NEWEST, NOBODY, OPEN, Asked
from syncs.choices import labelled
from syncs.console.popovers import Option, Popover
from syncs.errors import ErrorType

if TYPE_CHECKING:
    from dlq.admin.base import ReadOnlyAdmin


@dataclass(frozen=True, slots=True)
class Chip:
    title: str
    label: str
    query: str  # the list without this condition


def show(page: ReadOnlyAdmin, request: HttpRequest) -> HttpResponse:
    user = user_of(request)
    asked = group_list.parse(dict(request.GET.lists()), user=user)
    found = group_list.page(asked, user=user)
    span = group_chart.SPANS[group_chart.DEFAULT_SPAN]
    series = group_chart.series([group.pk for group in found.groups], span) if found.groups else {}
    context = {
        "page": found,
        "rows": [(group, group_charts.spark(series[group.pk], span)) for group in found.groups],
        "asked": asked,
        "problems": asked.problems,
        "popovers": _popovers(asked),
        "chips": list(_chips(asked)),
        "query_all": _replaced(asked, ALL),
        "may_view_entries": may(request, "view"),
    }
    status = 400 if asked.problems else 200
    return page.show(request, "admin/dlq/errorgroup/list.html", context, title="Dead letters by error", status=status)


def _replaced(asked: Asked, show_: str) -> str:
    return asked.query().replace(f"show={OPEN}", f"show={show_}", 1)


def _popovers(asked: Asked) -> list[Popover]:
    shown = [Option(OPEN, "With open dead letters", asked.has_open), Option(ALL, "All, settled ones too", not asked.has_open)]
    states = [Option(value, label, value in asked.states) for value, label in labelled(GroupState)]
    syncs = [Option(str(pk), name, pk in asked.sync_ids) for pk, name in asked.syncs.items()]
    types = sorted(ErrorType, key=lambda member: member.info.label)
    of_types = [Option(one.value, one.info.label, one in asked.error_types) for one in types]
    owners = [Option("", "Anybody", not asked.owner), Option(ME, "Me", asked.owner == ME)]
    owners.append(Option(NOBODY, "Nobody", asked.owner == NOBODY))
    sorts = [Option(NEWEST, "Newest failure first", asked.sort == NEWEST), Option(MOST, "Most open first", asked.sort == MOST)]
    if asked.owner not in ("", ME, NOBODY):
        owners.append(Option(asked.owner, _name_of(asked.owner), True))
    return [
        Popover("show", "Show", "radio", shown, 0 if asked.has_open else 1),
        Popover("state", "State", "checkbox", states, len(asked.states)),
        Popover("sync", "Sync", "checkbox", syncs, len(asked.sync_ids)),
        Popover("error_type", "Error type", "checkbox", of_types, len(asked.error_types)),
        Popover("owner", "Owner", "radio", owners, 1 if asked.owner else 0),
        Popover("sort", "Order", "radio", sorts, 0 if asked.sort == NEWEST else 1),
    ]


def _chips(asked: Asked) -> Iterator[Chip]:
    states = dict(labelled(GroupState))
    for state in asked.states:
        yield Chip("State", states[state], asked.without("state", state).query())
    for pk in asked.sync_ids:
        yield Chip("Sync", asked.syncs[pk], asked.without("sync", str(pk)).query())
    for one in asked.error_types:
        yield Chip("Error type", one.info.label, asked.without("error_type", one).query())
    if asked.owner:
        words = {ME: "me", NOBODY: "nobody"}
        yield Chip("Owner", words.get(asked.owner) or _name_of(asked.owner), asked.without("owner").query())
    if asked.text:
        yield Chip("Text", asked.text, asked.without("q").query())


def _name_of(number: str) -> str:
    name = get_user_model().objects.filter(pk=int(number)).values_list("username", flat=True).first()
    return name or f"user {number}"
