"""Alert rules: written, tested against the past, muted, switched on and off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import django_filters as df
from django.db.models import Q, QuerySet
from django.utils import timezone
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.api.alert_rule_shapes import (
    AlertRuleShape,
    EditedAlertRuleShape,
    NewAlertRuleShape,
    RuleConditionShape,
    RulePastShape,
    RuleTemplateShape,
)
from monitoring.api.base import DOOR, MuteShape
from monitoring.choices import Condition, Severity
from monitoring.choices import Scope as RuleScope
from monitoring.models import AlertRule
from monitoring.services import rule_draft, rule_edit, rule_list, rule_past, rule_words
from monitoring.services.rule_draft import Draft
from syncs.choices import Scope
from syncs.connectors import Issue
from syncs.rest import etags, paging
from syncs.rest.filters import FlagFilter, IdFilter, StrictFilterSet, WordsFilter
from syncs.rest.operations import operation
from syncs.rest.problems import RefusedError
from syncs.rest.resources import Resource, user_of

if TYPE_CHECKING:
    from django.contrib.auth.models import User

_SEE, _ADD = "monitoring.view_alertrule", "monitoring.add_alertrule"
_CHANGE, _DELETE = "monitoring.change_alertrule", "monitoring.delete_alertrule"
_EXAMPLE = {
    "template": "rows_fail",
    "name": "Rows of finance fail",
    "limit": 5,
    "scope": "tag",
    "tag_id": 2,
    "channel_ids": [1],
}


class AlertRuleFilters(StrictFilterSet):
    condition = WordsFilter(choices=[(one.value, one.value) for one in Condition], label="Any of these.")
    severity = WordsFilter(choices=[(one.value, one.value) for one in Severity], label="Any of these.")
    scope = WordsFilter(choices=[(one.value, one.value) for one in RuleScope], label="Any of these.")
    sync = IdFilter(field_name="sync_id", label="About this sync alone.")
    connection = IdFilter(field_name="connection_id", label="About this connection.")
    tag = IdFilter(field_name="tag_id", label="About this tag.")
    channel = IdFilter(field_name="channels", label="That tell this channel.")
    is_active = FlagFilter(field_name="is_active", label="Switched on, or off.")
    is_muted = FlagFilter(method="muted", label="Muted now, or not.")
    q = df.CharFilter(field_name="name", lookup_expr="icontains", max_length=100, label="Part of the name.")

    def muted(self, rows: QuerySet[AlertRule], name: str, value: bool) -> QuerySet[AlertRule]:
        is_muted = Q(muted_until__gt=timezone.now())
        return rows.filter(is_muted) if value else rows.exclude(is_muted)


def etag_of(rule: AlertRule) -> str:
    channels = sorted(rule.channels.values_list("pk", flat=True))
    return etags.of({**{name: getattr(rule, name) for name in rule_edit.COLUMNS}, "channels": channels})


class AlertRules(Resource):
    tag = "Alert rules"

    @operation(
        "Alert rules",
        scope=Scope.READ,
        permission=_SEE,
        shape=AlertRuleShape,
        is_page=True,
        filters=AlertRuleFilters,
        orders={"name": ("name",), "-name": ("-name",), "-id": ("-id",)},
    )
    def list(self, request: Request) -> Response:
        user, asked = user_of(request), paging.wanted(request)
        rows = AlertRuleFilters.of(request.query_params, _rules(user), user=user)
        found = paging.page(rows, self.order, asked)
        lines = rule_list.lines_of(found.rows, user, timezone.now())
        return self.page_of(request, paging.Page(lines, found.next), asked.limit)

    @operation(
        "Write an alert rule",
        scope=Scope.WRITE,
        permission=_ADD,
        takes=NewAlertRuleShape,
        shape=AlertRuleShape,
        status=201,
        has_etag=True,
        can_refuse=True,
        description="One that could never fire, or would have fired too often, is refused unless `confirm` is true.",
        example=_EXAMPLE,
    )
    def create(self, request: Request) -> Response:
        draft = self._draft(request)
        self._demand_sure(request, draft)
        rule = rule_edit.save(draft.rule, draft.channels, by=user_of(request), door=DOOR)
        return self._one(request, rule.pk, location=f"/api/v1/alert-rules/{rule.pk}")

    @operation("One alert rule", scope=Scope.READ, permission=_SEE, shape=AlertRuleShape, has_etag=True)
    def retrieve(self, request: Request, id: str) -> Response:
        return self._one(request, int(id))

    @operation(
        "Change an alert rule",
        scope=Scope.WRITE,
        permission=_CHANGE,
        takes=EditedAlertRuleShape,
        shape=AlertRuleShape,
        has_etag=True,
        needs_match=True,
        can_refuse=True,
        description="Its condition is fixed. Another scope lets the former target go.",
        example={"limit": 10, "severity": "page"},
    )
    def partial_update(self, request: Request, id: str) -> Response:
        user = user_of(request)
        seen = self._found(request, id)
        etags.demand(request, etag_of(seen))
        self._demand_sure(request, rule_draft.write(seen, self.given, by=user))  # slow: without the lock
        with self.edited(request, _rules(user), id, etag_of) as rule:
            draft = rule_draft.write(rule, self.given, by=user)
            rule_edit.save(draft.rule, draft.channels, by=user, door=DOOR)
        return self._one(request, int(id))

    @operation(
        "Delete an alert rule", scope=Scope.WRITE, permission=_DELETE, status=204, needs_match=True, can_refuse=True,
        description="Incidents that only this rule found are over with the next judgement of their syncs.",
    )  # fmt: skip
    def destroy(self, request: Request, id: str) -> Response:
        with self.edited(request, _rules(user_of(request)), id, etag_of) as rule:
            rule_edit.delete(rule, by=user_of(request), door=DOOR)
        return self.nothing()

    @action(detail=True, methods=["post"])
    @operation(
        "Mute an alert rule",
        scope=Scope.WRITE,
        permission=_CHANGE,
        takes=MuteShape,
        shape=AlertRuleShape,
        can_refuse=True,
        description="What it finds meanwhile and lasts is told then.",
        example={"span": "1d", "reason": "The warehouse moves."},
    )
    def mute(self, request: Request, id: str) -> Response:
        until, reason = MuteShape.end(self.given), self.given["reason"]
        rule = self._found(request, id)
        rule_edit.mute(rule, until=until, reason=reason, by=user_of(request), at=timezone.now(), door=DOOR)
        return self._one(request, rule.pk)

    @action(detail=True, methods=["post"])
    @operation("Lift the mute of an alert rule", scope=Scope.WRITE, permission=_CHANGE, shape=AlertRuleShape, can_refuse=True)
    def unmute(self, request: Request, id: str) -> Response:
        rule_edit.unmute(self._found(request, id), by=user_of(request), at=timezone.now(), door=DOOR)
        return self._one(request, int(id))

    @action(detail=True, methods=["post"])
    @operation("Switch an alert rule on", scope=Scope.WRITE, permission=_CHANGE, shape=AlertRuleShape, can_refuse=True)
    def enable(self, request: Request, id: str) -> Response:
        return self._switch(request, id, is_active=True)

    @action(detail=True, methods=["post"])
    @operation("Switch an alert rule off", scope=Scope.WRITE, permission=_CHANGE, shape=AlertRuleShape, can_refuse=True)
    def disable(self, request: Request, id: str) -> Response:
        return self._switch(request, id, is_active=False)

    # --- the past, and what there is to choose from

    @action(detail=True, methods=["get"])
    @operation("What an alert rule would have done in the last 7 days", scope=Scope.READ, permission=_SEE, shape=RulePastShape)
    def past(self, request: Request, id: str) -> Response:
        return self.one(request, rule_past.test(self._found(request, id), user=user_of(request), now=timezone.now()))

    @action(detail=False, methods=["post"], url_path="test")
    @operation(
        "Test an alert rule against the past before it is written",
        scope=Scope.WRITE,
        permission=(_ADD, _CHANGE),
        takes=NewAlertRuleShape,
        shape=RulePastShape,
        can_refuse=True,
        description="Nothing is saved.",
        example=_EXAMPLE,
    )
    def test(self, request: Request) -> Response:
        return self.one(request, rule_past.test(self._draft(request).rule, user=user_of(request), now=timezone.now()))

    @action(detail=False, methods=["get"])
    @operation("Templates of alert rules", scope=Scope.READ, permission=_SEE, shape=RuleTemplateShape, is_list=True)
    def templates(self, request: Request) -> Response:
        return self.listed(request, rule_list.templates())

    @action(detail=False, methods=["get"])
    @operation(
        "Conditions of alert rules",
        scope=Scope.READ,
        permission=_SEE,
        shape=RuleConditionShape,
        is_list=True,
    )
    def conditions(self, request: Request) -> Response:
        return self.listed(request, rule_words.conditions())

    # ---

    def _draft(self, request: Request) -> Draft:
        blank = rule_draft.blank(self.given.get("template", ""), self.given.get("condition", ""))
        assert blank is not None  # the shape asks for one of them
        return rule_draft.write(blank, self.given, by=user_of(request))

    def _demand_sure(self, request: Request, draft: Draft) -> None:
        if self.given.get("confirm"):
            return
        past = rule_past.test(draft.rule, user=user_of(request), now=timezone.now())
        if past.is_doubtful:
            raise RefusedError(past.sentence, [Issue("confirm", "Send true to save it all the same.")])

    def _switch(self, request: Request, id: str, *, is_active: bool) -> Response:
        rule_edit.switch(self._found(request, id), is_active=is_active, by=user_of(request), door=DOOR)
        return self._one(request, int(id))

    def _found(self, request: Request, id: str) -> AlertRule:
        rule: AlertRule = self.find(_rules(user_of(request)), id, "No alert rule of that number")
        return rule

    def _one(self, request: Request, id: int, *, location: str = "") -> Response:
        rule = self._found(request, str(id))
        etag = etag_of(rule)  # before what is shown: never newer than that
        line = rule_list.lines_of([rule], user_of(request), timezone.now())[0]
        return self.one(request, line, etag=etag, location=location)


def _rules(user: User) -> QuerySet[AlertRule]:
    return rule_edit.visible(user).prefetch_related("channels")
