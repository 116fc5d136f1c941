"""The page of one error group, and the acts on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from dlq.admin import group_charts
from dlq.admin.base import may, permission_for, user_of
from dlq.choices import Door, GroupState
from dlq.models import ErrorGroup
from dlq.services import group_acts, group_chart, group_detail, rules
from dlq.services.group_acts import GroupAct
from dlq.services.moves import ActRefusedError
from dlq.services.snapshots import BulkKind
from syncs.console import links
from syncs.errors import ErrorType
from syncs.models import Run

if TYPE_CHECKING:
    from dlq.admin.base import ReadOnlyAdmin

_EVENTS_SHOWN = 50
_PEOPLE_MAX = 200
_BULK = (
    ("reprocess", "Reprocess", "rd-button-primary"),
    ("discard", "Discard", "rd-button-danger"),
    ("assign", "Assign", ""),
    ("check", "Check rows", ""),
    ("export", "Export", ""),
)


@dataclass(frozen=True, slots=True)
class SeenIn:
    """A run that refused rows with this error, and the version of the sync it used."""

    run: int
    run_url: str
    version: int | None
    version_url: str


def show(page: ReadOnlyAdmin, request: HttpRequest, pk: int) -> HttpResponse:
    group = group_of(request, pk)
    span_key = request.GET.get("span", group_chart.DEFAULT_SPAN)
    if span_key not in group_chart.SPANS:
        raise Http404("There is no such chart.")
    span = group_chart.SPANS[span_key]
    events = list(group.events.select_related("actor").order_by("-pk")[: _EVENTS_SHOWN + 1])
    may_annotate, may_rule = may(request, "annotate"), user_of(request).has_perm("dlq.change_fingerprintrule")
    context = {
        "group": group,
        "info": ErrorType(group.error_type).info,
        "first_seen_in": _seen_in(group.first_run),
        "last_seen_in": _seen_in(group.last_run),
        "chart": group_charts.chart(group_chart.series([group.pk], span)[group.pk], span),
        "spans": [(key, one.label, key == span_key) for key, one in group_chart.SPANS.items()],
        "span": span,
        "bulk": _bulk(request),
        "may_annotate": may_annotate,
        "people": _people(group) if may_annotate else [],
        "can": _can(group),
        "is_mine": group.owner_id == request.user.pk,
        "events": events[:_EVENTS_SHOWN],
        "has_more_events": len(events) > _EVENTS_SHOWN,
        "rules": rules.of_group(group),
        "may_rule": may_rule,
        "may_view_entries": may(request, "view"),
        "came_back": next((event for event in events if event.kind == "regressed"), None),
        **(_of_entries(group) if may(request, "view") else {}),
    }
    return page.show(request, "admin/dlq/errorgroup/page.html", context, title=f"Error group {group.pk}")


def group_of(request: HttpRequest, pk: int) -> ErrorGroup:
    group = group_detail.find(pk, user_of(request))
    if group is None:
        raise Http404(f"There is no error group {pk}.")
    return group


def _of_entries(group: ErrorGroup) -> dict[str, Any]:
    found = group_detail.of_entries(group)
    return {"stats": found.stats, "newest": found.newest}


def _seen_in(run: Run | None) -> SeenIn | None:
    if run is None:
        return None
    number = run.version.number if run.version else None
    version_url = links.page("admin:syncs_sync_version", run.sync_id, number) if number else ""
    return SeenIn(run.pk, links.page("admin:syncs_run_change", run.pk), number, version_url)


def _bulk(request: HttpRequest) -> list[tuple[str, str, str]]:
    known = set(BulkKind)
    return [(act, label, look) for act, label, look in _BULK if act in known and may(request, permission_for(BulkKind(act)))]


def _people(group: ErrorGroup) -> list[tuple[int, str, bool]]:
    """(id, name, whether it is the owner) of those who can sign in here."""
    people = get_user_model().objects.filter(is_active=True, is_staff=True).order_by("username")
    found = [(pk, name, pk == group.owner_id) for pk, name in people.values_list("pk", "username")[:_PEOPLE_MAX]]
    if group.owner and not any(is_owner for _pk, _name, is_owner in found):
        found.insert(0, (group.owner.pk, group.owner.get_username(), True))
    return found


def _can(group: ErrorGroup) -> dict[str, bool]:
    return {
        "acknowledge": group.state in (GroupState.OPEN, GroupState.REGRESSED),
        "resolve": group.state != GroupState.RESOLVED,
        "reopen": group.state in (GroupState.RESOLVED, GroupState.ACKNOWLEDGED),
    }


# --- acts


def perform(request: HttpRequest, pk: int) -> HttpResponse:
    work = _ACTS.get(request.POST.get("act", ""))
    if work is None:
        raise Http404("There is no such act.")
    if not may(request, "annotate"):
        raise PermissionDenied
    group = group_of(request, pk)
    try:
        done = work(request, group)
        level = messages.WARNING if group.open_count and group.state == GroupState.RESOLVED else messages.SUCCESS
        messages.add_message(request, level, done.sentence)
    except ActRefusedError as refusal:
        messages.error(request, str(refusal))
    return HttpResponseRedirect(reverse("admin:dlq_errorgroup_change", args=(pk,)))


def _who(request: HttpRequest) -> dict[str, Any]:
    return {"by": user_of(request), "door": Door.ADMIN}


def _assign(request: HttpRequest, group: ErrorGroup) -> GroupAct:
    text = request.POST.get("owner", "")
    owner = user_of(request) if text == "me" else group_acts.owner_of(text)
    return group_acts.assign(group, owner=owner, **_who(request))


def _reasoned(act: Callable[..., GroupAct]) -> Callable[[HttpRequest, ErrorGroup], GroupAct]:
    return lambda request, group: act(group, reason=request.POST.get("reason", ""), **_who(request))


_ACTS: Mapping[str, Callable[[HttpRequest, ErrorGroup], GroupAct]] = {
    "acknowledge": _reasoned(group_acts.acknowledge),
    "resolve": _reasoned(group_acts.resolve),
    "reopen": _reasoned(group_acts.reopen),
    "assign": _assign,
    "note": lambda request, group: group_acts.note(group, text=request.POST.get("note", ""), **_who(request)),
    "runbook": lambda request, group: group_acts.set_runbook(group, url=request.POST.get("runbook_url", ""), **_who(request)),
}
