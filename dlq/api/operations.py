"""Bulk operations: planned, begun with what the plan gave, then watched and steered."""

from __future__ import annotations

from typing import Any

import django_filters as df
from django.conf import settings
from django.db.models import QuerySet
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from dlq.api import operation_shapes, plan_shapes, selections
from dlq.api.operation_shapes import (
    NewOperationShape,
    OperationLineShape,
    OperationShape,
    OutcomeShape,
    OutcomesOfShape,
    ReasonShape,
)
from dlq.api.plan_shapes import NewPlanShape, PlanShape
from dlq.choices import Door, ItemOutcome, OperationKind, OperationStatus, ReprocessMode
from dlq.models import BulkOperation
from dlq.services import confirmation, operation_access, operation_list, operations, plans, snapshots
from dlq.services.confirmation import Choice
from dlq.services.moves import ActRefusedError
from dlq.services.operation_list import Asked
from dlq.services.snapshots import BulkKind, Snapshot
from syncs.choices import Scope, labelled
from syncs.connectors import Issue
from syncs.rest import paging
from syncs.rest.filters import StrictFilterSet, WordsFilter
from syncs.rest.operations import operation
from syncs.rest.problems import InvalidError, Problem, RefusedError
from syncs.rest.resources import Resource, user_of
from syncs.rest.rights import demand, has_scope
from syncs.services import access

ANY_ACT = ("dlq.reprocess_dlqentry", "dlq.discard_dlqentry", "dlq.annotate_dlqentry")
SEE = "dlq.view_bulkoperation"
UNSURE = (
    "Nothing is known to have changed in what would be sent, so it is likely to be refused with the same error. Confirm the "
    "root cause first, then send `acknowledged: true`."
)
_REPROCESS_ONLY = ("mode", "waves", "rows_per_minute", "halt_percent", "acknowledged")


class OperationFilters(StrictFilterSet):
    status = WordsFilter(choices=labelled(OperationStatus), help_text="Any of these.")
    kind = WordsFilter(choices=labelled(OperationKind), help_text="Any of these.")
    who = df.ChoiceFilter(choices=[("me", "me")], help_text="Only those that you began.")

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """By the conditions of the console's list."""
        given = self.form.cleaned_data
        asked = Asked(tuple(given["status"]), tuple(given["kind"]), given["who"] == "me")
        return operation_list.narrowed(queryset, asked, user=self.user)


class Operations(Resource):
    tag = "Bulk operations"

    @operation(
        "Bulk operations, the newest first",
        scope=Scope.READ,
        permission=SEE,
        shape=OperationLineShape,
        is_page=True,
        filters=OperationFilters,
    )
    def list(self, request: Request) -> Response:
        user = user_of(request)
        asked = paging.wanted(request)
        found = paging.page(OperationFilters.of(request.query_params, operation_list.shown(user), user=user), ("-id",), asked)
        return self.page_of(request, paging.Page([operation_shapes.line(one) for one in found.rows], found.next), asked.limit)

    @operation(
        "One bulk operation: where it stands",
        scope=Scope.READ,
        permission=SEE,
        shape=OperationShape,
        description="Ask again every few seconds until `is_over`.",
    )
    def retrieve(self, request: Request, id: str) -> Response:
        return self._answer(request, self._seen(request, id))

    @action(detail=False, methods=["post"])
    @operation(
        "Plan an act on many dead letters",
        scope=Scope.DLQ_ACT,
        permission=ANY_ACT,
        takes=NewPlanShape,
        shape=PlanShape,
        description="Freezes what is chosen and says what the act would take, what has changed since, and what it demands. "
        "Nothing is done until `confirm` is sent to `POST /api/v1/operations`.",
        example={"kind": "reprocess", "filter": {"sync": [3], "error_type": ["validation"], "failed": "24h"}},
    )
    def plan(self, request: Request) -> Response:
        kind = BulkKind(self.given["kind"])
        _demand(request, kind)
        snapshot = selections.take(kind, self.given, user=user_of(request))
        made = plans.make(snapshot, may=lambda word: _may(request, word), is_looking=self.given["look"])
        return self.one(request, plan_shapes.shown(made))

    @operation(
        "Begin what was planned",
        scope=Scope.DLQ_ACT,
        permission=ANY_ACT,
        takes=NewOperationShape,
        shape=OperationShape,
        status=202,
        description="Sent again with the same `confirm`, it gives the operation that it made the first time.",
        example={"confirm": "eyJ...", "expected_count": 412, "reason": "REV-218: the city list is mended"},
    )
    def create(self, request: Request) -> Response:
        user = user_of(request)
        snapshot = _confirmed(self.given["confirm"], request)
        _demand(request, snapshot.kind)
        choice = _choice(self.given, snapshot, request)
        try:
            made = confirmation.place(snapshot, choice, by=user, may=lambda word: _may(request, word), door=Door.API)
        except ActRefusedError as refusal:
            raise _said(refusal, snapshot) from None
        return self._answer(request, made, location=True)

    @action(detail=True, methods=["get"])
    @operation(
        "What became of each dead letter",
        scope=Scope.READ,
        permission=SEE,
        shape=OutcomeShape,
        is_page=True,
        query=OutcomesOfShape,
        description="Those of syncs that you see. Outcomes change while it works; of one outcome they come in that order.",
    )
    def outcomes(self, request: Request, id: str) -> Response:
        found = self._seen(request, id)
        asked = paging.wanted(request)
        outcome = ItemOutcome(self.asked["outcome"]) if "outcome" in self.asked else None
        after = asked.after["after"] if asked.after else None
        seen = access.visible_sync_ids(user_of(request))
        page = operations.items(found, outcome, after, size=asked.limit, sync_ids=seen)
        further = None if page.next_after is None else asked.cursor({"after": page.next_after})
        return self.page_of(request, paging.Page(page.items, further), asked.limit)

    @action(detail=True, methods=["post"])
    @operation(
        "Pause a bulk operation", scope=Scope.DLQ_ACT, permission=ANY_ACT, shape=OperationShape,
        description="It stops before its next step; a wave that was sent goes on to its end.",
    )  # fmt: skip
    def pause(self, request: Request, id: str) -> Response:
        found = self._steered(request, id)
        if not operations.pause(found, by=user_of(request), door=Door.API):
            raise RefusedError("It is not at work, so there is nothing to pause.")
        return self._answer(request, found)

    @action(detail=True, methods=["post"])
    @operation(
        "Resume a bulk operation that was paused or halted", scope=Scope.DLQ_ACT, permission=ANY_ACT, shape=OperationShape
    )
    def resume(self, request: Request, id: str) -> Response:
        found = self._steered(request, id)
        if not operations.resume(found, by=user_of(request), door=Door.API):
            raise RefusedError("It is neither paused nor halted.")
        return self._answer(request, found)

    @action(detail=True, methods=["post"])
    @operation(
        "Cancel a bulk operation", scope=Scope.DLQ_ACT, permission=ANY_ACT, shape=OperationShape,
        description="What was done stands; a worker marks the rest as not reached.",
    )  # fmt: skip
    def cancel(self, request: Request, id: str) -> Response:
        found = self._steered(request, id)
        if not operations.cancel(found, by=user_of(request), door=Door.API):
            raise RefusedError("It is over, or ending already.")
        return self._answer(request, found)

    @action(detail=True, methods=["post"])
    @operation(
        "Undo a discard", scope=Scope.DLQ_ACT, permission="dlq.discard_dlqentry", takes=ReasonShape, shape=OperationShape,
        status=202, description="Gives the operation that reopens what the discard closed.",
    )  # fmt: skip
    def undo(self, request: Request, id: str) -> Response:
        found = self._steered(request, id)
        made = operations.undo(found, by=user_of(request), reason=self.given.get("reason", ""), door=Door.API)
        return self._answer(request, made, location=True)

    def _seen(self, request: Request, id: str) -> BulkOperation:
        rows = operation_access.visible(user_of(request)).select_related("created_by")
        found: BulkOperation = self.find(rows, id, "No bulk operation of that number")
        return found

    def _steered(self, request: Request, id: str) -> BulkOperation:
        found = self._seen(request, id)
        _demand(request, BulkKind(found.kind))
        if not operation_access.may_steer(found, user_of(request)):
            raise Problem(403, "forbidden", "It reaches into syncs of other teams: who began it steers it, or who sees all.")
        return found

    def _answer(self, request: Request, found: BulkOperation, *, location: bool = False) -> Response:
        user = user_of(request)
        now = BulkOperation.objects.select_related("created_by").get(pk=found.pk)
        is_open = now.created_by_id == user.pk or operation_access.sees_every_sync(user)
        made = operation_shapes.whole(now, is_filter_shown=is_open, sync_ids=access.visible_sync_ids(user))
        return self.one(request, made, location=f"/api/v1/operations/{now.pk}" if location else "")


def _demand(request: Request, kind: BulkKind) -> None:
    demand(request, f"dlq.{confirmation.needed(kind)}_dlqentry")


def _may(request: Request, word: str) -> bool:
    """Stored and corrected payloads are sent by who may see them: beside the right, that takes a scope of its own."""
    is_free = word == "reprocess" or has_scope(request, Scope.DLQ_RAW)
    return is_free and user_of(request).has_perm(f"dlq.{word}_dlqentry")


def _confirmed(token: str, request: Request) -> Snapshot:
    try:
        snapshot = snapshots.load(token, None, user=user_of(request))
    except ActRefusedError as refusal:
        raise InvalidError([Issue("confirm", str(refusal))]) from None
    if snapshot.kind == BulkKind.EXPORT:
        raise InvalidError([Issue("confirm", "This is of an export. Send it to POST /api/v1/exports.")])
    return snapshot


def _choice(given: dict[str, Any], snapshot: Snapshot, request: Request) -> Choice:
    is_reprocess, is_assign = snapshot.kind == BulkKind.REPROCESS, snapshot.kind == BulkKind.ASSIGN
    strange = [name for name in _REPROCESS_ONLY if name in given and not is_reprocess]
    strange += ["owner_id"] if "owner_id" in given and not is_assign else []
    if strange:
        raise InvalidError([Issue(name, f"It means nothing for {snapshot.kind}. Leave it out.") for name in strange])
    if is_assign and "owner_id" not in given:
        raise InvalidError([Issue("owner_id", "Say who gets the dead letters, or null for nobody.")])
    mode = ReprocessMode(given.get("mode", ReprocessMode.CURRENT))
    word = confirmation.needed_for(mode)
    if is_reprocess and word != "reprocess":
        demand(request, f"dlq.{word}_dlqentry", Scope.DLQ_RAW)
    return Choice(
        reason=given.get("reason", ""),
        typed=str(given["expected_count"]) if "expected_count" in given else "",
        is_acknowledged=given.get("acknowledged", False),
        mode=mode,
        waves=tuple(given.get("waves", settings.RETL["WAVE_SIZES"])),
        rows_per_minute=given.get("rows_per_minute"),
        halt_percent=given.get("halt_percent"),
        owner=given.get("owner_id"),
    )


def _said(refusal: ActRefusedError, snapshot: Snapshot) -> Exception:
    """A refusal of the confirmation page, under the names that the API has for its inputs."""
    count = f"{snapshot.shown.count:,}"
    said = {
        "typed": Issue("expected_count", f"The plan counts {count} dead letters. Send that number to confirm it."),
        "acknowledged": Issue("acknowledged", UNSURE),
        "owner": Issue("owner_id", str(refusal)),
    }.get(refusal.field)
    return InvalidError([said]) if said else refusal
