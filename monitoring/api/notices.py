"""Notices of the caller: what the bell of the console shows."""

from __future__ import annotations

from django.db.models import QuerySet
from django.utils import timezone
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.api.subscription_shapes import NoticeShape, ReadNoticesShape, UnreadShape
from monitoring.models import Notice
from monitoring.services import notices
from syncs.choices import Scope
from syncs.rest.filters import FlagFilter, StrictFilterSet
from syncs.rest.operations import operation
from syncs.rest.resources import Resource, user_of

_MAY = "monitoring.view_subscription"


class NoticeFilters(StrictFilterSet):
    is_read = FlagFilter(method="read", label="Read, or not yet.")

    def read(self, rows: QuerySet[Notice], name: str, value: bool) -> QuerySet[Notice]:
        return rows.filter(read_at__isnull=not value)


class Notices(Resource):
    tag = "My alerts"

    @operation(
        "Your notices, newest first",
        scope=Scope.READ,
        permission=_MAY,
        shape=NoticeShape,
        is_page=True,
        filters=NoticeFilters,
    )
    def list(self, request: Request) -> Response:
        rows = NoticeFilters.of(request.query_params, notices.of(user_of(request)))
        return self.paged(request, rows, order=("-id",))

    @action(detail=False, methods=["get"])
    @operation("How many of your notices are unread", scope=Scope.READ, permission=_MAY, shape=UnreadShape)
    def unread(self, request: Request) -> Response:
        return self._counted(request)

    @action(detail=True, methods=["post"], url_path="read")
    @operation("Mark one notice as read", scope=Scope.WRITE, permission=_MAY, shape=NoticeShape)
    def read_one(self, request: Request, id: str) -> Response:
        user = user_of(request)
        notice = self.find(notices.of(user), id, "No notice of that number")
        notices.read(user, at=timezone.now(), pk=notice.pk)
        return self.one(request, self.find(notices.of(user), id))

    @action(detail=False, methods=["post"])
    @operation(
        "Mark notices as read", scope=Scope.WRITE, permission=_MAY, takes=ReadNoticesShape, shape=UnreadShape,
        description="All up to the newest one that was shown.", example={"up_to": 120},
    )  # fmt: skip
    def read(self, request: Request) -> Response:
        notices.read(user_of(request), at=timezone.now(), up_to=self.given["up_to"])
        return self._counted(request)

    def _counted(self, request: Request) -> Response:
        return self.one(request, {"unread_count": notices.unread_count(user_of(request))})
