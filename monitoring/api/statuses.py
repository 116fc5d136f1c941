"""Statuses of all syncs, and how they changed."""

from __future__ import annotations

import django_filters as df
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.api.status_shapes import StatusChangeShape, StatusShape
from monitoring.models import StatusChange
from syncs.choices import Scope, SyncStatus
from syncs.models import Sync
from syncs.rest.filters import IdsFilter, StrictFilterSet, TimeFilter, WordsFilter
from syncs.rest.operations import operation
from syncs.rest.resources import Resource, user_of
from syncs.services import access

_WORDS = [(one.value, one.value) for one in SyncStatus]


class StatusFilters(StrictFilterSet):
    status = WordsFilter(choices=_WORDS, label="Any of these.")
    sync = IdsFilter(field_name="pk", label="Any of these.")
    tag = df.CharFilter(field_name="tags__name", max_length=40, label="The name of a tag.")


class StatusChangeFilters(StrictFilterSet):
    sync = IdsFilter(field_name="sync_id", label="Of any of these.")
    after = WordsFilter(choices=_WORDS, label="To any of these.")
    before = WordsFilter(choices=_WORDS, label="From any of these.")
    since = TimeFilter(field_name="at", lookup_expr="gte", label="From then on.")
    until = TimeFilter(field_name="at", lookup_expr="lt", label="Before then.")


class Statuses(Resource):
    tag = "Status"

    @operation(
        "Statuses of syncs, by name",
        scope=Scope.READ,
        permission="syncs.view_sync",
        shape=StatusShape,
        is_page=True,
        filters=StatusFilters,
        orders={"sync": ("name", "id"), "-since": ("-status_since", "-id"), "since": ("status_since", "id")},
        description="Archived syncs have none.",
    )
    def list(self, request: Request) -> Response:
        rows = access.scoped(Sync.objects.active(), user_of(request), by="pk")
        return self.paged(request, StatusFilters.of(request.query_params, rows))


class StatusChanges(Resource):
    tag = "Status"

    @operation(
        "Status changes, newest first",
        scope=Scope.READ,
        permission="monitoring.view_statuschange",
        shape=StatusChangeShape,
        is_page=True,
        filters=StatusChangeFilters,
    )
    def list(self, request: Request) -> Response:
        rows = access.scoped(StatusChange.objects.select_related("sync"), user_of(request))
        return self.paged(request, StatusChangeFilters.of(request.query_params, rows), order=("-id",))
