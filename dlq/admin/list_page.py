"""The page of the dead letter list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone

from dlq.admin import filterbar
from dlq.admin.base import may, permission_for, user_of
from dlq.choices import EntryStatus
from dlq.services import paging, selection, tally, views
from dlq.services.lines import lines
from dlq.services.offers import View, offers
from dlq.services.paging import Page, Position
from dlq.services.selection import EntryFilter
from dlq.services.snapshots import BulkKind

if TYPE_CHECKING:
    from dlq.admin.base import ReadOnlyAdmin

_PLACES = ("after", "before")
_TABS_MAX = 15  # more views are on their own page


@dataclass(frozen=True, slots=True)
class BulkButton:
    act: str
    label: str
    look: str  # class of the button
    key: str  # on the keyboard


# In this order; an act that is not installed, or not the user's, has no button.
_BUTTONS = (
    BulkButton("reprocess", "Reprocess", "rd-button-primary", "r"),
    BulkButton("discard", "Discard", "rd-button-danger", "d"),
    BulkButton("reopen", "Reopen", "", "u"),
    BulkButton("assign", "Assign", "", "a"),
    BulkButton("check", "Check rows", "", "c"),
    BulkButton("export", "Export", "", "e"),
)


@dataclass(frozen=True, slots=True)
class Tab:
    """A view over the list. ``problem``: why it can no longer be shown."""

    name: str
    query: str
    is_current: bool
    owner: str = ""  # of somebody else's
    is_shared: bool = False


def show(page: ReadOnlyAdmin, request: HttpRequest) -> HttpResponse:
    given = dict(request.GET.lists())
    user = user_of(request)
    parsed = selection.parse(given, ignore=_PLACES, user=user)
    places = [_place(request, name) for name in _PLACES]
    is_lost = any(text and place is None for text, place in places)
    if not (parsed.problems or is_lost) and any("" in values for values in given.values()):
        return HttpResponseRedirect(f"{request.path}?{parsed.filter.query()}")  # a form sends what is empty, too
    fixed = parsed.filter.at(timezone.now())
    facets = None if parsed.problems else tally.counts(fixed)
    found = Page([], 0, False, None)
    if not parsed.problems and not is_lost:
        (_, after), (_, before) = places
        found = paging.page(fixed, after=after, before=before, facets=facets)
    offered = offers(parsed.filter, user)
    tabs = _tabs(parsed.filter, offered.views)
    broken = views.of_query(offered.views, request.META.get("QUERY_STRING", "")) if parsed.problems else None
    context = {
        "page": found,
        "lines": lines(found.entries, offered.people),
        "found": parsed.filter,
        "hints": () if parsed.problems else fixed.hints,
        "query": parsed.filter.query(),
        "problems": parsed.problems,
        "is_lost": is_lost,
        "broken": broken,
        "may_delete_broken": broken is not None and views.may_change(broken, user),
        "bar": filterbar.bar(parsed.filter, offered, facets),
        "chips": filterbar.chips(parsed.filter, offered),
        "built_in": tabs[: len(views.BUILT_IN)],
        "saved": tabs[len(views.BUILT_IN) :],
        "has_views": bool(offered.views),
        "is_saved": any(tab.is_current for tab in tabs),
        "may_share": views.may_share(user),
        "is_default": parsed.filter == EntryFilter(),
        "is_first": facets is not None and not sum(facets.statuses.values()),
        "buttons": _buttons(request, parsed.filter),
    }
    status = 400 if parsed.problems or is_lost else 200
    return page.show(request, "admin/dlq/dlqentry/list.html", context, title="Dead letters", status=status)


def _buttons(request: HttpRequest, found: EntryFilter) -> list[BulkButton]:
    is_reopening = EntryStatus.DISCARDED in found.statuses
    fitting = [one for one in _BUTTONS if one.act in set(BulkKind) and (one.act != "reopen" or is_reopening)]
    return [one for one in fitting if may(request, permission_for(BulkKind(one.act)))]


def _place(request: HttpRequest, name: str) -> tuple[str, Position | None]:
    text = request.GET.get(name, "")
    return text, Position.parse(text) if text else None


def _tabs(found: EntryFilter, saved: list[View]) -> list[Tab]:
    made = [Tab(one.name, one.query, views.is_current(one.query, found)) for one in views.BUILT_IN]
    for view in saved:
        other = "" if view.owner_id == found.me else view.owner_name
        tab = Tab(view.name, view.query, views.is_current(view.query, found), other, view.is_shared)
        if len(made) < _TABS_MAX or tab.is_current:
            made.append(tab)
    return made
