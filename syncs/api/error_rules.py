"""Error rules: what the answers of a destination mean. What they make of dead letters that are there is told by another app."""

from __future__ import annotations

from typing import Any

import django_filters as df
from django.db.models import Case, IntegerField, Q, QuerySet, Value, When
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from syncs.api.error_rule_shapes import (
    FIELDS,
    ErrorRuleMoveShape,
    ErrorRuleShape,
    ErrorRuleWriteShape,
    NewErrorRuleShape,
    draft,
)
from syncs.choices import Scope
from syncs.errors import ErrorType
from syncs.models import Connection, ErrorRule
from syncs.rest import etags
from syncs.rest.filters import FlagFilter, IdFilter, StrictFilterSet, WordsFilter
from syncs.rest.operations import operation
from syncs.rest.resources import Resource, user_of
from syncs.services import error_rule_input, error_rules
from syncs.services.error_rules import Place, place_of

API = "api"
VIEW, CHANGE = "syncs.view_errorrule", "syncs.change_errorrule"


class ErrorRuleFilters(StrictFilterSet):
    connection = IdFilter("connection_id", help_text="Of this connection alone.")
    kind = df.CharFilter(max_length=40, help_text="For all connections of this kind.")
    holds_for = IdFilter(method="deciding", help_text="Those that decide for this connection: its own, then its kind's.")
    error_type = WordsFilter(
        choices=[(one.value, one.info.label) for one in ErrorType], help_text="What an answer is that fits."
    )
    is_enabled = FlagFilter(help_text="Whether it is on.")

    def deciding(self, rows: QuerySet[ErrorRule], name: str, value: int) -> QuerySet[ErrorRule]:
        kind = Connection.objects.filter(pk=value).values("kind")
        return rows.filter(Q(connection_id=value) | Q(connection__isnull=True, kind__in=kind))


def etag_of(rule: ErrorRule) -> str:
    return etags.of({name: getattr(rule, name) for name in FIELDS})


class ErrorRules(Resource):
    tag = "Error rules"

    def rows(self) -> QuerySet[ErrorRule]:
        of_kind = Case(When(connection__isnull=True, then=Value(1)), default=Value(0), output_field=IntegerField())
        return ErrorRule.objects.annotate(of_kind=of_kind).select_related("connection", "updated_by")

    @operation(
        "Error rules",
        scope=Scope.READ,
        permission=VIEW,
        shape=ErrorRuleShape,
        is_page=True,
        filters=ErrorRuleFilters,
        orders={"position": ("of_kind", "position", "id"), "id": ("id",), "-id": ("-id",)},
        description="In the order in which they are tried: a connection's own before its kind's. For an answer, the first that "
        "fits decides.",
    )
    def list(self, request: Request) -> Response:
        rows = self.rows().defer("connection__secrets", "connection__config")
        return self.paged(request, ErrorRuleFilters.of(request.query_params, rows))

    @operation("One error rule", scope=Scope.READ, permission=VIEW, shape=ErrorRuleShape, has_etag=True)
    def retrieve(self, request: Request, id: str) -> Response:
        return self._shown(request, self.find(self.rows(), id))

    @operation(
        "Write an error rule",
        scope=Scope.ADMIN,
        permission="syncs.add_errorrule",
        takes=NewErrorRuleShape,
        shape=ErrorRuleShape,
        status=201,
        has_etag=True,
        description="At the end of its place. It holds for answers to runs that start from now on; `POST "
        "/error-rules/applications` applies the rules to open dead letters.",
        example={
            "kind": "hubspot",
            "name": "Unknown owner",
            "codes": ["INVALID_OWNER_ID"],
            "error_type": "reference_not_found",
        },
    )
    def create(self, request: Request) -> Response:
        rule = error_rules.save(draft(_place(self.given), self.given), by=user_of(request), door=API)
        return self._shown(request, rule, location=f"/api/v1/error-rules/{rule.pk}")

    @operation(
        "Change an error rule",
        scope=Scope.ADMIN,
        permission=CHANGE,
        takes=ErrorRuleWriteShape,
        shape=ErrorRuleShape,
        has_etag=True,
        needs_match=True,
        can_refuse=True,
        description="On and off, too: `is_enabled`. Open dead letters stay as they are until the rules are applied to them.",
        example={"is_enabled": False},
    )
    def partial_update(self, request: Request, id: str) -> Response:
        with self.edited(request, ErrorRule.objects.all(), id, etag_of) as rule:
            saved = error_rules.save(draft(place_of(rule), self.given, rule), by=user_of(request), door=API)
        return self._shown(request, saved)

    @operation(
        "Delete an error rule",
        scope=Scope.ADMIN,
        permission="syncs.delete_errorrule",
        status=204,
        needs_match=True,
        description="Dead letters that it decided keep the type it gave, until the rules are applied anew.",
    )
    def destroy(self, request: Request, id: str) -> Response:
        with self.edited(request, ErrorRule.objects.all(), id, etag_of) as rule:
            error_rules.delete(rule, by=user_of(request), door=API)
        return self.nothing()

    @action(detail=True, methods=["post"])
    @operation(
        "Try an error rule earlier or later",
        scope=Scope.ADMIN,
        permission=CHANGE,
        takes=ErrorRuleMoveShape,
        shape=ErrorRuleShape,
        description="Among the rules of its place, as far as there are any.",
        example={"by_places": -1},
    )
    def move(self, request: Request, id: str) -> Response:
        rule = self.find(self.rows(), id)
        error_rules.move(rule, by_places=self.given["by_places"], by=user_of(request), door=API)
        return self._shown(request, self.find(self.rows(), id))

    def _shown(self, request: Request, rule: ErrorRule, *, location: str = "") -> Response:
        return self.one(request, rule, etag=etag_of(rule), location=location)


def _place(given: dict[str, Any]) -> Place:
    return error_rule_input.chosen(given.get("connection"), given.get("kind", ""))
