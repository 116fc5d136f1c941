"""Incidents: the list, the page of one, and what people do with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from dlq.services.moves import ActRefusedError
from monitoring.admin import incident_words
from monitoring.admin.base import ReadOnlyAdmin, demand, may, user_of
from monitoring.models import Incident
from monitoring.services import incident_acts, incident_list, incident_page, incident_sight, people

Work = Callable[..., str]


@admin.register(Incident)
class IncidentAdmin(ReadOnlyAdmin):
    def pages(self) -> list[tuple[str, Callable[..., HttpResponseBase], str]]:
        return [
            ("", require_GET(self.list_view), "changelist"),
            ("<int:pk>/change/", require_GET(self.page_view), "change"),
            ("<int:pk>/act/", require_POST(perform), "act"),
        ]

    def list_view(self, request: HttpRequest) -> HttpResponse:
        user = user_of(request)
        asked = incident_list.parse(dict(request.GET.lists()))
        context = {
            "asked": asked,
            "page": incident_list.page(asked, user=user),
            "tabs": incident_words.tabs(asked, incident_list.counts(user)),
            "popovers": incident_words.popovers(asked),
            "chips": incident_words.chips(asked, user),
            "may_see_rules": may(request, "view_alertrule"),
        }
        status = 400 if asked.problems else 200
        return self.show(request, "admin/monitoring/incident/list.html", context, title="Incidents", status=status)

    def page_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        incident = find(request, pk)
        found = incident_page.load(incident, user_of(request))
        may_change = may(request, "change_incident")
        context = {
            "incident": incident,
            "found": found,
            "lines": [incident_words.line(event, incident) for event in found.events],
            "advice": incident_words.links(incident),
            "may_change": may_change,
            "people": people.choices(incident.owner) if may_change else [],
            "spans": incident_words.SPANS,
            "is_muted": incident.muted_until is not None and incident.muted_until > timezone.now(),
        }
        return self.show(request, "admin/monitoring/incident/page.html", context, title=f"Incident {pk}")


def find(request: HttpRequest, pk: int) -> Incident:
    related = ("sync", "connection", "group", "run", "owner", "acknowledged_by", "resolved_by", "follows")
    seen = incident_sight.visible(user_of(request)).select_related(*related)
    incident = seen.filter(pk=pk).first() if pk < 1 << 63 else None
    if incident is None:
        raise Http404(f"There is no incident {pk}.")
    return incident


def perform(request: HttpRequest, pk: int) -> HttpResponse:
    work = _ACTS.get(request.POST.get("act", ""))
    if work is None:
        raise Http404("There is no such act.")
    demand(request, "change_incident")
    incident = find(request, pk)
    try:
        messages.success(request, work(request, incident))
    except ActRefusedError as refusal:
        messages.error(request, str(refusal))
    return HttpResponseRedirect(reverse("admin:monitoring_incident_change", args=(pk,)))


def _who(request: HttpRequest) -> dict[str, Any]:
    return {"by": user_of(request), "at": timezone.now(), "door": "admin"}


def _text(request: HttpRequest, name: str) -> str:
    return request.POST.get(name, "")


def _mute(request: HttpRequest, incident: Incident) -> str:
    until = _text(request, "until_at") or _text(request, "until")
    return incident_acts.mute(incident, until=until, reason=_text(request, "reason"), **_who(request))


def _assign(request: HttpRequest, incident: Incident) -> str:
    owner = user_of(request) if _text(request, "owner") == "me" else people.named(_text(request, "owner"))
    return incident_acts.assign(incident, owner=owner, **_who(request))


_ACTS: dict[str, Work] = {
    "acknowledge": lambda request, incident: incident_acts.acknowledge(incident, **_who(request)),
    "resolve": lambda request, incident: incident_acts.resolve(incident, reason=_text(request, "reason"), **_who(request)),
    "note": lambda request, incident: incident_acts.note(incident, text=_text(request, "note"), **_who(request)),
    "mute": _mute,
    "unmute": lambda request, incident: incident_acts.unmute(incident, **_who(request)),
    "assign": _assign,
}
