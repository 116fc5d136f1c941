"""Error rules and dead letters that are there: what a rule would make of them, and applying the rules."""

from __future__ import annotations

from typing import Any

import django_filters as df
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from dlq.api.error_rule_shapes import (
    ApplicationDetailShape,
    ApplicationShape,
    ErrorRuleTrialShape,
    NewApplicationShape,
    RuleOutlookShape,
    RulePlaceShape,
    RulePreviewShape,
)
from dlq.choices import Door
from dlq.models import Reclassification
from dlq.services import reclassify, rule_preview, rule_walks
from syncs.api.error_rule_shapes import NewErrorRuleShape, draft
from syncs.choices import Scope
from syncs.models import ErrorRule
from syncs.rest.filters import FlagFilter, IdFilter, StrictFilterSet
from syncs.rest.operations import operation
from syncs.rest.problems import InvalidError, Problem, RefusedError
from syncs.rest.resources import Resource, user_of
from syncs.services import error_rule_input
from syncs.services.error_rules import Draft, Place, place_of

VIEW, APPLY = "dlq.view_reclassification", "dlq.add_reclassification"
_BESIDE = ("syncs.view_errorrule", "dlq.view_dlqentry")


class _OfRules(Resource):
    """What is read here are dead letters and rules, so both must be the caller's to see."""

    tag = "Error rules"

    def check_permissions(self, request: Request) -> None:
        super().check_permissions(request)
        missing = [name for name in _BESIDE if not request.user.has_perm(name)]
        if self.operation is not None and missing:
            raise Problem(403, "forbidden", f"Your roles lack the right {missing[0]}.")

    def _previewed(self, request: Request, wanted: Draft) -> Response:
        found = rule_preview.preview(wanted, user=user_of(request))
        if found.issues:
            raise InvalidError(found.issues)
        return self.one(request, found)


class RulePreviews(_OfRules):
    """Of a rule that is not saved."""

    @operation(
        "What a new error rule would decide",
        scope=Scope.READ,
        permission="syncs.change_errorrule",
        takes=NewErrorRuleShape,
        shape=RulePreviewShape,
        description="At the end of its place, over the newest 10,000 dead letters of the syncs that you may see. Changes "
        "nothing.",
        example={"kind": "http", "name": "No such owner", "text": "owner .* not found", "error_type": "reference_not_found"},
        name="error_rules_preview_new",
    )
    def create(self, request: Request) -> Response:
        return self._previewed(request, draft(_place(self.given), self.given))


class RulePreview(_OfRules):
    """Of a saved rule."""

    @operation(
        "What an error rule decides",
        scope=Scope.READ,
        permission="syncs.view_errorrule",
        shape=RulePreviewShape,
        description="Also where it is switched off: as if it were on. Changes nothing.",
        name="error_rules_preview",
    )
    def list(self, request: Request, rule_id: str) -> Response:
        return self._previewed(request, Draft.of(self._rule(rule_id)))

    @operation(
        "What an error rule would decide, changed",
        scope=Scope.READ,
        permission="syncs.change_errorrule",
        takes=ErrorRuleTrialShape,
        shape=RulePreviewShape,
        description="What is not given is as it is saved. Changes nothing.",
        example={"statuses": [400, 422]},
        name="error_rules_preview_changed",
    )
    def create(self, request: Request, rule_id: str) -> Response:
        rule = self._rule(rule_id)
        return self._previewed(request, draft(place_of(rule), self.given, rule))

    def _rule(self, rule_id: str) -> ErrorRule:
        found: ErrorRule = self.find(ErrorRule.objects.select_related("connection"), rule_id)
        return found


class ApplicationFilters(StrictFilterSet):
    connection = IdFilter("connection_id", help_text="The rules of this connection.")
    kind = df.CharFilter(max_length=40, help_text="The rules of this kind.")
    is_over = FlagFilter(help_text="Whether it has ended.")


class Applications(_OfRules):
    @operation(
        "Error rules that were applied to open dead letters, newest first",
        scope=Scope.READ,
        permission=VIEW,
        shape=ApplicationShape,
        is_page=True,
        filters=ApplicationFilters,
        description="Those that you asked for; all of them for who sees every sync.",
    )
    def list(self, request: Request) -> Response:
        rows = rule_walks.visible(user_of(request))
        return self.paged(request, ApplicationFilters.of(request.query_params, rows), order=("-id",))

    @operation(
        "Apply error rules to open dead letters",
        scope=Scope.ADMIN,
        permission=APPLY,
        takes=NewApplicationShape,
        shape=ApplicationDetailShape,
        status=202,
        description="To those of the syncs that you may see, as the rules are now. A failure that becomes transient is tried "
        "again by the next run. Few are done at once; ask again until `is_over`.",
        example={"kind": "http", "reason": "A new rule for unknown owners."},
    )
    def create(self, request: Request) -> Response:
        job = reclassify.request(_place(self.given), by=user_of(request), door=Door.API, reason=self.given.get("reason", ""))
        reclassify.start(job)
        return self.one(request, self._walk(request, job.pk), location=f"/api/v1/error-rules/applications/{job.pk}")

    @operation("One application of error rules", scope=Scope.READ, permission=VIEW, shape=ApplicationDetailShape)
    def retrieve(self, request: Request, id: str) -> Response:
        return self.one(request, self._walk(request, id))

    @action(detail=True, methods=["post"])
    @operation(
        "Stop applying error rules",
        scope=Scope.ADMIN,
        permission=APPLY,
        shape=ApplicationDetailShape,
        description="What it changed stands.",
    )
    def stop(self, request: Request, id: str) -> Response:
        if not reclassify.cancel(self._walk(request, id), by=user_of(request), door=Door.API):
            raise RefusedError("It was over already.")
        return self.one(request, self._walk(request, id))

    @action(detail=False)
    @operation(
        "What applying error rules would change",
        scope=Scope.READ,
        permission=VIEW,
        query=RulePlaceShape,
        shape=RuleOutlookShape,
        description="Of the open dead letters of the syncs that you may see. Changes nothing.",
        name="error_rules_outlook",
    )
    def outlook(self, request: Request) -> Response:
        return self.one(request, rule_walks.outlook(_place(self.asked), user=user_of(request)))

    def _walk(self, request: Request, pk: int | str) -> Reclassification:
        found: Reclassification = self.find(rule_walks.visible(user_of(request)), pk)
        return found


def _place(given: dict[str, Any]) -> Place:
    return error_rule_input.chosen(given.get("connection"), given.get("kind", ""))
