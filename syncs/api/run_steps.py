"""Steps of a run with their calls, and the run as a log."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from syncs.api.runs import poll_seconds
from syncs.choices import Scope, StepKind, StepStatus
from syncs.models import Run, Step
from syncs.rest import paging
from syncs.rest.filters import FlagFilter, StrictFilterSet, WordsFilter
from syncs.rest.operations import operation
from syncs.rest.resources import Resource
from syncs.rest.shapes import Shape
from syncs.services import run_list, run_log
from syncs.services.run_log import LogEvent, LogLevel
from syncs.services.run_sight import RunSight, last_status


class StepFilters(StrictFilterSet):
    kind = WordsFilter(choices=[(one.value, one.value) for one in StepKind])
    status = WordsFilter(choices=[(one.value, one.value) for one in StepStatus])
    has_refused = FlagFilter(method="refused", help_text="Only steps that dead-lettered rows, or only those that did not.")

    def refused(self, steps: QuerySet[Step], name: str, value: bool) -> QuerySet[Step]:
        return steps.filter(dead_lettered_count__gt=0) if value else steps.filter(dead_lettered_count=0)


class RunAttemptShape(Shape):
    """One call to the destination."""

    number = serializers.IntegerField(help_text="Of the step's calls; calls that went out together may bear the same.")
    started_at = serializers.DateTimeField()
    milliseconds = serializers.FloatField()
    row_count = serializers.IntegerField()
    http_status = serializers.IntegerField(allow_null=True, help_text="null: no answer, or no HTTP.")
    request_id = serializers.CharField(help_text="As the destination named it: for a ticket there.")
    idempotency_key = serializers.CharField()
    signal = serializers.CharField(help_text="What the engine made of it, for example `ok`, `rate_limited` or `outage`.")
    request = serializers.CharField(help_text="Method and address.")
    excerpt = serializers.CharField(help_text="The beginning of the answer, values of people masked.")
    message = serializers.CharField()
    wait_seconds = serializers.FloatField(allow_null=True, help_text="Waited so long before the next call.")


class RunStepLineShape(Shape):
    number = serializers.IntegerField(help_text="Within the run.")
    kind = serializers.ChoiceField([one.value for one in StepKind])
    status = serializers.ChoiceField([one.value for one in StepStatus])
    started_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    row_count = serializers.IntegerField()
    accepted_count = serializers.IntegerField()
    dead_lettered_count = serializers.IntegerField()
    attempt_count = serializers.IntegerField(help_text="Calls that are kept: the first and the latest.")
    http_status = serializers.IntegerField(allow_null=True, help_text="Of the last call that was answered.")
    message = serializers.CharField()


class RunStepShape(RunStepLineShape):
    attempts = RunAttemptShape(many=True)


class Steps(Resource):
    tag = "Runs"
    lookup_field = "number"

    @operation(
        "Steps of a run, in their order",
        scope=Scope.READ,
        permission="syncs.view_run",
        shape=RunStepLineShape,
        is_page=True,
        filters=StepFilters,
        description="`query` reads the warehouse, each `upload` is one batch, `wait` is a rate limit. Old steps are deleted as "
        "the rules of retention say; what the run came to stays.",
    )
    def list(self, request: Request, run_id: str) -> Response:
        run: Run = self.find(run_list.whole(request.user), run_id, "No run of that number")
        rows = StepFilters.of(request.query_params, Step.objects.filter(run=run).defer("sends"))
        asked = paging.wanted(request)
        found, sight = paging.page(rows, ("number",), asked), RunSight()
        shown = [_shown(step, sight) for step in found.rows]
        return self.page_of(request, paging.Page(shown, found.next), asked.limit)

    @operation(
        "One step, with its calls",
        scope=Scope.READ,
        permission="syncs.view_run",
        shape=RunStepShape,
        description="`number` is its number within the run, as in the list and in a dead letter's `step`.",
    )
    def retrieve(self, request: Request, run_id: str, number: str) -> Response:
        run: Run = self.find(run_list.whole(request.user), run_id, "No run of that number")
        step: Step = self.find(Step.objects.filter(run=run).defer("sends"), number, "No step of that number", by="number")
        sight = RunSight()
        return self.one(request, {**_shown(step, sight), "attempts": [sight.attempt(one) for one in step.attempts]})


def _shown(step: Step, sight: RunSight) -> dict[str, Any]:
    names = ("number", "kind", "status", "started_at", "finished_at", "row_count", "accepted_count", "dead_lettered_count")
    return {
        **{name: getattr(step, name) for name in names},
        "attempt_count": len(step.attempts),
        "http_status": last_status(step.attempts),
        "message": sight.text(step.message),
    }


class RunLogLineShape(Shape):
    id = serializers.CharField(
        help_text="Stays the same: `queued`, `started`, `12` (step 12 began), `12.2` (its call 2), `12.end`."
    )
    at = serializers.DateTimeField()
    level = serializers.ChoiceField([one.value for one in LogLevel])
    event = serializers.ChoiceField([one.value for one in LogEvent])
    step = serializers.IntegerField(allow_null=True)
    attempt = serializers.IntegerField(allow_null=True)
    message = serializers.CharField()
    http_status = serializers.IntegerField(allow_null=True)
    request_id = serializers.CharField()
    milliseconds = serializers.FloatField(allow_null=True)
    row_count = serializers.IntegerField(allow_null=True)


class Log(Resource):
    tag = "Runs"

    @operation(
        "The log of a run, to be followed",
        scope=Scope.READ,
        permission="syncs.view_run",
        shape=RunLogLineShape,
        is_page=True,
        description="While the run lives, `next` is always given: ask again with it, after `Retry-After` seconds, for what "
        "came since (maybe nothing). It is null once the run has ended and its last line, `ended`, was given. No line is left "
        "out and none comes twice. Lines of one page are in the order of time.",
    )
    def list(self, request: Request, run_id: str) -> Response:
        run: Run = self.find(run_list.whole(request.user), run_id, "No run of that number")
        asked = paging.wanted(request)
        place = run_log.Place() if asked.after is None else run_log.Place.of(asked.after)
        part = run_log.read(run, place, asked.limit)
        following = None if part.next is None else asked.cursor(part.next.values())
        answer = self.page_of(request, paging.Page(part.lines, following), asked.limit)
        if run.is_active and len(part.lines) < asked.limit:
            answer["Retry-After"] = str(poll_seconds(run))
        return answer
