"""Figures: dead letters, runs and rows over time, and what needs attention."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.api.stats_shapes import (
    DeadLetterStatsShape,
    OverviewShape,
    RunStatsShape,
    StatsQueryShape,
    dead_letter_stats,
    overview,
    run_stats,
)
from monitoring.services import stats
from syncs.choices import Scope
from syncs.rest.operations import operation
from syncs.rest.resources import Resource, user_of

_FILTERS = ("tag", "owner", "connection")


class Stats(Resource):
    tag = "Figures"

    @action(detail=False, methods=["get"], url_path="dead-letters")
    @operation(
        "Dead letters: how many, of what, and over time",
        scope=Scope.READ,
        permission="dlq.view_dlqentry",
        query=StatsQueryShape,
        shape=DeadLetterStatsShape,
        description="From counters that are exact at every moment and from what is kept of each hour; nothing is counted anew.",
    )
    def dead_letters(self, request: Request) -> Response:
        return self.one(request, dead_letter_stats(stats.of_dead_letters(self._asked(request)), self.asked["top"]))

    @action(detail=False, methods=["get"])
    @operation(
        "Runs and rows over time",
        scope=Scope.READ,
        permission="syncs.view_run",
        query=StatsQueryShape,
        shape=RunStatsShape,
        description="Runs count when they end. `usual_row_count` is of the same hours of the seven days before, and the like.",
    )
    def runs(self, request: Request) -> Response:
        return self.one(request, run_stats(stats.of_runs(self._asked(request)), self.asked["top"]))

    @action(detail=False, methods=["get"])
    @operation(
        "What needs attention now",
        scope=Scope.READ,
        permission=("syncs.view_sync", "syncs.view_run", "dlq.view_dlqentry", "monitoring.view_incident"),
        query=StatsQueryShape,
        shape=OverviewShape,
        description="The console's first page in figures.",
    )
    def overview(self, request: Request) -> Response:
        asked = self._asked(request)
        made, runs = stats.of_everything(user_of(request), asked)
        return self.one(request, overview(asked, made, runs, self.asked["top"]))

    def _asked(self, request: Request) -> stats.Asked:
        given: dict[str, Any] = self.asked
        return stats.select(
            user_of(request),
            period=given["period"],
            filters={name: [str(value) for value in given[name]] for name in _FILTERS if name in given},
            sync_ids=given.get("sync", ()),
            now=timezone.now(),
        )
