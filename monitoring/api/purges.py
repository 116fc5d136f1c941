"""Purges: what they deleted, or would delete, and how far they are."""

from __future__ import annotations

import django_filters as df
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.api.base import DOOR
from monitoring.api.retention_shapes import PurgeShape
from monitoring.choices import Retained
from monitoring.models import Purge
from monitoring.services.retention import passes, reading
from syncs.choices import Scope
from syncs.rest import paging
from syncs.rest.filters import FlagFilter, StrictFilterSet
from syncs.rest.operations import operation
from syncs.rest.problems import RefusedError
from syncs.rest.resources import Resource, user_of

_SEE, _PURGE = "monitoring.view_purge", "monitoring.add_purge"


class PurgeFilters(StrictFilterSet):
    kind = df.ChoiceFilter(choices=[(one.value, one.value) for one in Retained])
    is_dry_run = FlagFilter(field_name="is_dry_run")
    is_over = FlagFilter(field_name="is_over")


class Purges(Resource):
    tag = "Retention"

    @operation("Purges, newest first", scope=Scope.READ, permission=_SEE, shape=PurgeShape, is_page=True, filters=PurgeFilters)
    def list(self, request: Request) -> Response:
        asked = paging.wanted(request)
        rows = PurgeFilters.of(request.query_params, Purge.objects.select_related("requested_by"))
        found = paging.page(rows, ("-id",), asked)
        return self.page_of(request, paging.Page(list(map(reading.line, found.rows)), found.next), asked.limit)

    @operation("One purge", scope=Scope.READ, permission=_SEE, shape=PurgeShape)
    def retrieve(self, request: Request, id: str) -> Response:
        return self.one(request, reading.line(self._found(id)))

    @action(detail=True, methods=["post"])
    @operation(
        "Stop a purge", scope=Scope.ADMIN, permission=_PURGE, shape=PurgeShape, can_refuse=True,
        description="What it deleted stays deleted.",
    )  # fmt: skip
    def stop(self, request: Request, id: str) -> Response:
        if not passes.stop(self._found(id), by=user_of(request), door=DOOR):
            raise RefusedError("It was over already.")
        return self.one(request, reading.line(self._found(id)))

    def _found(self, id: str) -> Purge:
        purge: Purge = self.find(Purge.objects.select_related("requested_by"), id, "No purge of that number")
        return purge
