"""Incidents: the list, one with its timeline, and what people do with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import django_filters as df
from django.db.models import QuerySet
from django.utils import timezone
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.api.base import DOOR, NUMBER, MuteShape, naming
from monitoring.api.incident_shapes import (
    AssignIncidentShape,
    IncidentDetailShape,
    IncidentEventShape,
    IncidentShape,
    NoteIncidentShape,
    ResolveIncidentShape,
)
from monitoring.choices import Condition, Severity
from monitoring.models import Incident
from monitoring.services import incident_acts, incident_list, incident_page, incident_sight, people
from monitoring.services.incident_list import Asked, Shown
from syncs.choices import Scope
from syncs.rest import paging
from syncs.rest.filters import IdFilter, StrictFilterSet, TextFilter, WordsFilter
from syncs.rest.operations import operation
from syncs.rest.resources import Resource, user_of

_SEE, _ACT = "monitoring.view_incident", "monitoring.change_incident"
_RELATED = ("owner", "acknowledged_by", "resolved_by")


class IncidentFilters(StrictFilterSet):
    show = df.ChoiceFilter(choices=[(one.value, one.value) for one in Shown], label="Left out: `open`.")
    severity = WordsFilter(choices=[(one.value, one.value) for one in Severity], label="Any of these.")
    condition = WordsFilter(choices=[(one.value, one.value) for one in Condition], label="Any of these.")
    owner = TextFilter(pattern=f"me|none|{NUMBER}", label="`me`, `none` or the number of a person.")
    sync = IdFilter(label="That affect this sync.")
    connection = IdFilter(label="Whose fault this connection is.")
    rule = IdFilter(label="That this alert rule found.")
    q = df.CharFilter(max_length=100, label="Part of the title.")

    def filter_queryset(self, queryset: QuerySet[Incident]) -> QuerySet[Incident]:
        given = self.form.cleaned_data
        asked = Asked(
            show=Shown(given["show"] or Shown.OPEN),
            severities=tuple(map(Severity, given["severity"])),
            conditions=tuple(map(Condition, given["condition"])),
            owner=given["owner"],
            sync_id=_number(given["sync"]),
            connection_id=_number(given["connection"]),
            rule_id=_number(given["rule"]),
            text=given["q"],
        )
        return incident_list.chosen(asked, self.user)


class Incidents(Resource):
    tag = "Incidents"

    @operation(
        "Incidents, newest first",
        scope=Scope.READ,
        permission=_SEE,
        shape=IncidentShape,
        is_page=True,
        filters=IncidentFilters,
        description="Without `show`, those that are not over and do not follow from another one.",
    )
    def list(self, request: Request) -> Response:
        user, asked = user_of(request), paging.wanted(request)
        rows = IncidentFilters.of(request.query_params, Incident.objects.none(), user=user).select_related(*_RELATED)
        found = paging.page(rows, ("-id",), asked)
        return self.page_of(request, paging.Page(incident_list.lines(found.rows, user), found.next), asked.limit)

    @operation("One incident with its timeline", scope=Scope.READ, permission=_SEE, shape=IncidentDetailShape)
    def retrieve(self, request: Request, id: str) -> Response:
        user, incident = user_of(request), self._found(request, id)
        line = incident_list.lines([incident], user)[0]
        found = incident_page.load(incident, user)
        return self.one(request, incident_page.Detail(line, found, incident_page.run_id(incident, user)))

    @action(detail=True, methods=["get"])
    @operation(
        "Timeline of an incident",
        scope=Scope.READ,
        permission=_SEE,
        shape=IncidentEventShape,
        is_page=True,
        orders={"-at": ("-id",), "at": ("id",)},
    )
    def events(self, request: Request, id: str) -> Response:
        seen = incident_sight.events(self._found(request, id), user_of(request))
        return self.paged(request, seen)

    @action(detail=True, methods=["post"])
    @operation("Acknowledge an incident", scope=Scope.DLQ_ACT, permission=_ACT, shape=IncidentShape, can_refuse=True)
    def acknowledge(self, request: Request, id: str) -> Response:
        return self._act(request, id, incident_acts.acknowledge)

    @action(detail=True, methods=["post"])
    @operation(
        "Resolve an incident",
        scope=Scope.DLQ_ACT,
        permission=_ACT,
        takes=ResolveIncidentShape,
        shape=IncidentShape,
        can_refuse=True,
        description="It opens again when a newer run shows it, or when it is still so in 24 hours.",
        example={"reason": "The field is writable again."},
    )
    def resolve(self, request: Request, id: str) -> Response:
        return self._act(request, id, incident_acts.resolve, reason=self.given["reason"])

    @action(detail=True, methods=["post"])
    @operation(
        "Write a note into the timeline",
        scope=Scope.DLQ_ACT,
        permission=_ACT,
        takes=NoteIncidentShape,
        shape=IncidentShape,
        can_refuse=True,
        example={"note": "Ticket OPS-12 with the vendor."},
    )
    def note(self, request: Request, id: str) -> Response:
        return self._act(request, id, incident_acts.note, text=self.given["note"])

    @action(detail=True, methods=["post"])
    @operation(
        "Mute an incident",
        scope=Scope.DLQ_ACT,
        permission=_ACT,
        takes=MuteShape,
        shape=IncidentShape,
        can_refuse=True,
        description="Nobody is told of it until then. That it is over is still told.",
        example={"span": "4h", "reason": "The vendor is at it."},
    )
    def mute(self, request: Request, id: str) -> Response:
        until = MuteShape.end(self.given)
        return self._act(request, id, incident_acts.mute, until=until, reason=self.given["reason"])

    @action(detail=True, methods=["post"])
    @operation("Lift the mute of an incident", scope=Scope.DLQ_ACT, permission=_ACT, shape=IncidentShape, can_refuse=True)
    def unmute(self, request: Request, id: str) -> Response:
        return self._act(request, id, incident_acts.unmute)

    @action(detail=True, methods=["post"])
    @operation(
        "Give an incident to somebody",
        scope=Scope.DLQ_ACT,
        permission=_ACT,
        takes=AssignIncidentShape,
        shape=IncidentShape,
        can_refuse=True,
        example={"owner_id": 3},
    )
    def assign(self, request: Request, id: str) -> Response:
        with naming(owner="owner_id"):
            owner = people.named(str(self.given["owner_id"] or ""))
            return self._act(request, id, incident_acts.assign, owner=owner)

    def _act(self, request: Request, id: str, work: Callable[..., str], **given: Any) -> Response:
        work(self._found(request, id), by=user_of(request), at=timezone.now(), door=DOOR, **given)
        return self.one(request, incident_list.lines([self._found(request, id)], user_of(request))[0])

    def _found(self, request: Request, id: str) -> Incident:
        seen = incident_sight.visible(user_of(request)).select_related(*_RELATED, "run")
        incident: Incident = self.find(seen, id, "No incident of that number")
        return incident


def _number(value: Any) -> int | None:
    return None if value is None else int(value)
