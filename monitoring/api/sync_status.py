"""One sync: its status with the reason, and the thresholds that make it degraded or failing."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils import timezone
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.api.base import DOOR, sync_of
from monitoring.api.status_shapes import (
    EditedThresholdsShape,
    StatusChangeShape,
    SyncStatusNowShape,
    ThresholdsShape,
    TriedThresholdsShape,
)
from monitoring.judging.lookback import Lookback
from monitoring.models import StatusChange, SyncPolicy
from monitoring.services import incident_sight, status_history, thresholds
from monitoring.services.threshold_words import THRESHOLDS
from syncs.choices import Scope
from syncs.models import Sync
from syncs.rest import etags
from syncs.rest.operations import operation
from syncs.rest.resources import Resource, user_of

_SEE, _CHANGE = "monitoring.view_syncpolicy", "monitoring.change_syncpolicy"
_EXAMPLE = {"values": {"failures_to_fail": 3, "error_rate_warn_percent": 2.5, "dlq_depth_warn": None}}


class SyncStatuses(Resource):
    tag = "Status"

    @action(detail=False, methods=["get"])
    @operation(
        "Status of a sync with its reason",
        scope=Scope.READ,
        permission="syncs.view_sync",
        shape=SyncStatusNowShape,
        name="syncs_status",
    )
    def status(self, request: Request, sync_id: str) -> Response:
        sync, now = sync_of(request, sync_id), timezone.now()
        judged_at, findings = status_history.judged(sync)
        may_see = self.may(request, "monitoring.view_incident", Scope.READ)
        shares = status_history.shares(status_history.strip(sync, now))
        found = {
            "sync": sync,
            "judged_at": judged_at,
            "findings": findings,
            "incidents": incident_sight.of_sync(sync.pk)[:20] if may_see else [],
            "shares": [{"status": status, "percent": percent} for status, _label, _time, percent in shares],
            "history": f"/api/v1/syncs/{sync.pk}/status-changes",
        }
        return self.one(request, found)

    @action(detail=False, methods=["get"], url_path="status-changes")
    @operation(
        "Status changes of a sync, newest first",
        scope=Scope.READ,
        permission="monitoring.view_statuschange",
        shape=StatusChangeShape,
        is_page=True,
        name="syncs_status_changes",
    )
    def status_changes(self, request: Request, sync_id: str) -> Response:
        sync = sync_of(request, sync_id)
        return self.paged(request, StatusChange.objects.filter(sync=sync).select_related("sync"), order=("-id",))

    @action(detail=False, methods=["get"])
    @operation(
        "Thresholds of a sync",
        scope=Scope.READ,
        permission=_SEE,
        shape=ThresholdsShape,
        has_etag=True,
        name="syncs_thresholds_get",
    )
    def thresholds(self, request: Request, sync_id: str) -> Response:
        return self._shown(request, sync_of(request, sync_id))

    @thresholds.mapping.patch
    @operation(
        "Change thresholds of a sync",
        scope=Scope.WRITE,
        permission=_CHANGE,
        takes=EditedThresholdsShape,
        shape=ThresholdsShape,
        has_etag=True,
        needs_match=True,
        can_refuse=True,
        description="Null goes back to the default. The sync is judged by them at once.",
        example=_EXAMPLE,
        name="syncs_thresholds_update",
    )
    def change_thresholds(self, request: Request, sync_id: str) -> Response:
        sync = sync_of(request, sync_id)
        with transaction.atomic():
            thresholds.lock(sync)
            etags.demand(request, etag_of(sync))
            values = thresholds.over(sync, self.given.get("values", {}), timezone.now())
            thresholds.save(sync, values, by=user_of(request), door=DOOR)
        return self._shown(request, sync_of(request, sync_id))

    @action(detail=False, methods=["post"], url_path="thresholds/reset")
    @operation(
        "Take back all thresholds of a sync",
        scope=Scope.WRITE,
        permission=_CHANGE,
        shape=ThresholdsShape,
        has_etag=True,
        can_refuse=True,
        name="syncs_thresholds_reset",
    )
    def reset_thresholds(self, request: Request, sync_id: str) -> Response:
        thresholds.save(sync_of(request, sync_id), dict.fromkeys(THRESHOLDS), by=user_of(request), door=DOOR)
        return self._shown(request, sync_of(request, sync_id))

    @action(detail=False, methods=["post"], url_path="thresholds/try")
    @operation(
        "Hold thresholds against the last 7 days",
        scope=Scope.WRITE,
        permission=_CHANGE,
        takes=EditedThresholdsShape,
        shape=TriedThresholdsShape,
        can_refuse=True,
        description="Nothing is saved. What is left out is what is saved.",
        example=_EXAMPLE,
        name="syncs_thresholds_try",
    )
    def try_thresholds(self, request: Request, sync_id: str) -> Response:
        sync, now = sync_of(request, sync_id), timezone.now()
        values = thresholds.over(sync, self.given["values"], now)
        page = thresholds.page(sync, now, typed=thresholds.typed(values))
        return self.one(request, {"past": _week(page.past), "tried": _week(page.tried)})

    def _shown(self, request: Request, sync: Sync) -> Response:
        etag = etag_of(sync)  # before what is shown: never newer than that
        page = thresholds.page(sync, timezone.now())
        found = {
            "sync_id": sync.pk,
            "values": _numbers(page.policy),
            "about": [line for _title, lines in page.groups for line in lines],
            "past": _week(page.past),
            "updated_at": page.policy.updated_at if page.policy else None,
            "updated_by": page.policy.updated_by.get_username() if page.policy and page.policy.updated_by else None,
        }
        return self.one(request, found, etag=etag)


def etag_of(sync: Sync) -> str:
    return etags.of(_numbers(SyncPolicy.objects.filter(pk=sync.pk).first()))


def _numbers(policy: SyncPolicy | None) -> dict[str, Any]:
    return {name: thresholds.plain(getattr(policy, name, None)) for name in THRESHOLDS}


def _week(made: Lookback | None) -> dict[str, Any] | None:
    if made is None:
        return None
    week = thresholds.Week.of(made)
    shares = [{"status": status, "percent": percent} for status, _label, _time, percent in week.shares]
    return {"since": made.since, "shares": shares, "turn_count": week.turn_count}
