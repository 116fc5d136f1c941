"""Grouping rules: made with a preview, switched off and on."""

from __future__ import annotations

from typing import Any

from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from dlq.api.group_shapes import (
    GroupingDraftShape,
    GroupingPreviewShape,
    GroupingRuleSavedShape,
    GroupingRuleShape,
    NewGroupingRuleShape,
    SwitchShape,
)
from dlq.choices import Door, RuleKind
from dlq.models import FingerprintRule
from dlq.services import group_list, rules
from dlq.services.rules import Draft, Line
from syncs.choices import Scope
from syncs.connectors import Issue
from syncs.rest.operations import operation
from syncs.rest.problems import InvalidError
from syncs.rest.resources import Resource, user_of
from syncs.rest.rights import demand
from syncs.services import access

VIEW, CHANGE = "dlq.view_fingerprintrule", "dlq.change_fingerprintrule"
_EXAMPLE = {"group_id": 3, "kind": "split", "pattern": "Property {value} is not valid", "error_type": "validation"}


class GroupingRules(Resource):
    tag = "Error groups"

    @operation("Grouping rules, newest first", scope=Scope.READ, permission=VIEW, shape=GroupingRuleShape, is_page=True)
    def list(self, request: Request) -> Response:
        return self.paged(request, self._rules(request), order=("-id",))

    @operation("One grouping rule", scope=Scope.READ, permission=VIEW, shape=GroupingRuleShape)
    def retrieve(self, request: Request, id: str) -> Response:
        return self.one(request, self.find(self._rules(request), id))

    @operation(
        "Make a grouping rule",
        scope=Scope.WRITE,
        permission=CHANGE,
        takes=NewGroupingRuleShape,
        shape=GroupingRuleSavedShape,
        status=201,
        example={**_EXAMPLE, "title": "By property"},
        description="Live dead letters of the sync are regrouped, at once where they are few. Switch it off to undo it.",
    )
    def create(self, request: Request) -> Response:
        rule, is_done = rules.create(self._draft(request), by=user_of(request), door=Door.API)
        return self._saved(request, rule, is_done, location=f"/api/v1/grouping-rules/{rule.pk}")

    @action(detail=False, methods=["post"], url_path="preview")
    @operation(
        "What a grouping rule would do",
        scope=Scope.READ,
        permission=CHANGE,
        takes=GroupingDraftShape,
        shape=GroupingPreviewShape,
        example=_EXAMPLE,
        description="Held against the newest open dead letters of the sync and the groups concerned. Changes nothing.",
    )
    def preview(self, request: Request) -> Response:
        found = rules.preview(self._draft(request))
        names = ("looked_count", "matched_count", "moved_count", "group_count", "source_count", "problem")
        about: dict[str, Any] = {name: getattr(found, name) for name in names}
        return self.one(request, {**about, "lines": [_line(line) for line in found.lines]})

    @action(detail=True, methods=["post"], url_path="switch")
    @operation(
        "Switch a grouping rule off, or on again",
        scope=Scope.WRITE,
        permission=CHANGE,
        takes=SwitchShape,
        shape=GroupingRuleSavedShape,
        example={"is_active": False},
    )
    def switch(self, request: Request, id: str) -> Response:
        rule = self.find(self._rules(request), id)
        is_done = rules.switch(rule, is_active=self.given["is_active"], by=user_of(request), door=Door.API)
        rule.refresh_from_db(fields=["is_active"])
        return self._saved(request, rule, is_done)

    def _rules(self, request: Request) -> Any:
        demand(request, VIEW)
        found = FingerprintRule.objects.select_related("sync", "target", "created_by")
        return access.scoped(found, user_of(request))

    def _saved(self, request: Request, rule: FingerprintRule, is_done: bool, *, location: str = "") -> Response:
        vars(rule).update(is_regrouped=is_done)
        return self.one(request, rule, location=location)

    def _draft(self, request: Request) -> Draft:
        demand(request, "dlq.view_errorgroup")
        given = dict(self.given)
        group = group_list.visible(user_of(request)).filter(pk=given.pop("group_id")).first()
        if group is None:
            raise InvalidError([Issue("group_id", "There is no error group of this number that you may see.")])
        kind = RuleKind(given.pop("kind"))
        target = group.pk if kind == RuleKind.MERGE else None
        return Draft(kind=kind, sync_id=group.sync_id, group_id=group.pk, target_id=target, **given)


def _line(line: Line) -> dict[str, Any]:
    sources = [{"group_id": group.pk, "headline": group.headline, "count": count} for group, count in line.sources]
    about = {name: getattr(line, name) for name in ("title", "value", "count")}
    return {**about, "group_id": line.group.pk if line.group else None, "sources": sources}
