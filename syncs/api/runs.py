"""Runs: list, look, ask for one, cancel, ask again."""

from __future__ import annotations

from typing import Any, ClassVar

from django.urls import reverse
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from syncs.api.run_shapes import EXAMPLE_PAGE, NewRunShape, RunLineShape, RunShape
from syncs.choices import RunStatus, Scope, Trigger
from syncs.models import Run, Sync
from syncs.rest.filters import IdsFilter, WordsFilter
from syncs.rest.operations import operation
from syncs.rest.periods import PeriodFilterSet
from syncs.rest.problems import RefusedError
from syncs.rest.resources import Resource, user_of
from syncs.services import access, overview, run_list, run_requests
from syncs.services.run_requests import Wanted
from syncs.services.run_sight import RunSight

API = "api"
ORDERS = {"-id": ("-id",), "id": ("id",)}  # newest first, oldest first
_POLL = (2, 30)  # seconds: at least, at most


class SyncRunFilters(PeriodFilterSet):
    column: ClassVar[str] = "queued_at"

    status = WordsFilter(choices=[(one.value, one.value) for one in RunStatus])
    trigger = WordsFilter(choices=[(one.value, one.value) for one in Trigger], help_text="What started it.")


class RunFilters(SyncRunFilters):
    sync = IdsFilter(field_name="sync_id", help_text="Of these syncs.")


class RunResource(Resource):
    """What every endpoint that answers with one run shares."""

    tag = "Runs"

    def answered(self, request: Request, run: Run, *, status: int | None = None) -> Response:
        """While it lives, ``Retry-After`` says when to look again."""
        answer = self.one(request, _Shown(run), status=status, location=address(run) if status == 202 else "")
        if run.is_active:
            answer["Retry-After"] = str(poll_seconds(run))
        return answer

    def accepted(self, request: Request, pk: int) -> Response:
        return self.answered(request, self.find(run_list.whole(request.user), pk), status=202)


class Runs(RunResource):
    @operation(
        "Runs, newest first",
        scope=Scope.READ,
        permission="syncs.view_run",
        shape=RunLineShape,
        is_page=True,
        filters=RunFilters,
        orders=ORDERS,
        answer_example=EXAMPLE_PAGE,
        description="`since`, `from` and `to` look at the time when a run was queued.",
    )
    def list(self, request: Request) -> Response:
        return self.paged(request, RunFilters.of(request.query_params, run_list.lines(request.user)))

    @operation(
        "One run: counts, progress, failure and what to do",
        scope=Scope.READ,
        permission="syncs.view_run",
        shape=RunShape,
        description="Poll it until `is_active` is false; `Retry-After` says when to look again.",
    )
    def retrieve(self, request: Request, id: str) -> Response:
        return self.answered(request, self.find(run_list.whole(request.user), id))

    @action(detail=True, methods=["post"])
    @operation(
        "Cancel a run",
        scope=Scope.RUN,
        permission="syncs.run_sync",
        shape=RunShape,
        status=202,
        can_refuse=True,
        description="A queued run ends at once. A running one is asked to stop: batches in flight end first, rows that were "
        "not sent stay pending.",
    )
    def cancel(self, request: Request, id: str) -> Response:
        run = self.find(run_list.whole(request.user), id)
        if not run_requests.cancel(run, by=user_of(request), door=API):
            raise RefusedError(f"Run {run.pk} has nothing to cancel: it has ended, or someone has asked already.")
        return self.accepted(request, run.pk)

    @action(detail=True, methods=["post"])
    @operation(
        "Run again, with the options of this run and the sync as it is now",
        scope=Scope.RUN,
        permission="syncs.run_sync",
        shape=RunShape,
        status=202,
        can_refuse=True,
        description="A reprocess is repeated from its dead letters.",
    )
    def again(self, request: Request, id: str) -> Response:
        run = self.find(run_list.whole(request.user), id)
        return self.accepted(request, run_requests.again(run, by=user_of(request), door=API).pk)


class SyncRuns(RunResource):
    @operation(
        "Runs of a sync, newest first",
        scope=Scope.READ,
        permission="syncs.view_run",
        shape=RunLineShape,
        is_page=True,
        filters=SyncRunFilters,
        orders=ORDERS,
    )
    def list(self, request: Request, sync_id: str) -> Response:
        sync = self._sync(request, sync_id)
        return self.paged(request, SyncRunFilters.of(request.query_params, run_list.lines(request.user).filter(sync=sync)))

    @operation(
        "Run a sync",
        scope=Scope.RUN,
        permission="syncs.run_sync",
        takes=NewRunShape,
        shape=RunShape,
        status=202,
        can_refuse=True,
        example={"full": False, "detail": "dag orders, 2026-11-23"},
        description="Where a run waits already that would do the same, that one is given back. Poll the run at `Location`.",
    )
    def create(self, request: Request, sync_id: str) -> Response:
        given = self.given
        wanted = Wanted(is_full=given["full"], limit=given.get("limit"), keys=given.get("keys", ()))
        sync = self._sync(request, sync_id)
        run = run_requests.ask(sync, wanted, by=user_of(request), door=API, detail=given.get("detail", ""))
        return self.accepted(request, run.pk)

    def _sync(self, request: Request, pk: str) -> Sync:
        found: Sync = self.find(access.scoped(Sync.objects.all(), request.user, by="pk"), pk, "No sync of that number")
        return found


class _Shown:
    """A run with what is worked out for one of them, as ``RunShape`` reads it."""

    def __init__(self, run: Run) -> None:
        self._run, sight = run, RunSight()
        progress = overview.progress(run)
        self.options = {
            "full": bool(run.options.get("full")),
            "limit": run.options.get("limit"),
            "keys": run.options.get("keys"),
        }
        self.progress = {
            "settled": progress.settled,
            "estimate": progress.estimate,
            "basis": progress.basis,
            "rows_per_second": progress.rate,
            "eta_seconds": progress.eta.total_seconds() if progress.eta else None,
        }
        self.failure, self.error_summary = sight.failure(run), sight.errors(run)
        self.can_run_again = run_requests.can_be_repeated(run)
        self.links = _links(run)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run, name)


def address(run: Run) -> str:
    return f"/api/v1/runs/{run.pk}"


def poll_seconds(run: Run) -> int:
    """A tenth of what has passed: a short run is seen to end soon, a long one is not asked for all the time."""
    took = run.duration()
    return min(max(int(took.total_seconds() / 10), _POLL[0]), _POLL[1]) if took else _POLL[0]


def _links(run: Run) -> dict[str, str]:
    own = address(run)
    return {
        "sync": f"/api/v1/syncs/{run.sync_id}",
        "steps": f"{own}/steps",
        "log": f"{own}/log",
        "dead_letters": f"/api/v1/dead-letters?status=any&run={run.pk}",
        "evidence": f"{own}/evidence",
        "console": reverse("admin:syncs_run_change", args=(run.pk,)),
    }
