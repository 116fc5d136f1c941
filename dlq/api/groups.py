"""Error groups: many dead letters of one cause."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import FileResponse
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from dlq.api.entry_acting import AssignShape, MaybeWhyShape, NoteShape, WhyShape, bundle
from dlq.api.group_filters import GroupFilters
from dlq.api.group_shapes import (
    ErrorGroupActedShape,
    ErrorGroupEventShape,
    ErrorGroupLineShape,
    ErrorGroupShape,
    GroupingSuggestionShape,
    GroupQueryShape,
    SuggestionQueryShape,
)
from dlq.choices import Door, RuleKind
from dlq.models import ErrorGroup
from dlq.services import group_acts, group_chart, group_detail, group_list, rule_advice, rules
from dlq.services.budget import TooSlowError, budget
from dlq.services.evidence import Scope as EvidenceScope
from dlq.services.group_acts import URL_MAX, GroupAct
from dlq.services.moves import ActRefusedError
from syncs.choices import Scope
from syncs.connectors import Issue
from syncs.errors import ErrorType
from syncs.rest import etags
from syncs.rest.operations import operation
from syncs.rest.problems import InvalidError, NotFoundError, RefusedError
from syncs.rest.resources import Resource, user_of
from syncs.rest.rights import demand
from syncs.rest.shapes import Shape, StrictText

VIEW, ANNOTATE = "dlq.view_errorgroup", "dlq.annotate_dlqentry"


class RunbookShape(Shape):
    runbook_url = StrictText(max_length=URL_MAX, allow_blank=True, help_text="http or https; empty takes it away.")


class ErrorGroups(Resource):
    tag = "Error groups"

    @operation(
        "Error groups",
        scope=Scope.READ,
        permission=VIEW,
        shape=ErrorGroupLineShape,
        is_page=True,
        filters=GroupFilters,
        orders={"newest": ("-last_seen_at", "-id"), "most": ("-open_count", "-id")},
        can_refuse=True,
        description="`order`: newest failure first, or most open dead letters first. 409: not found in time.",
    )
    def list(self, request: Request) -> Response:
        asked = GroupFilters.chosen(request.query_params, user=user_of(request))
        try:
            with budget(group_list.BUDGET_SECONDS):
                return self.paged(request, group_list.chosen(asked, user_of(request)))
        except TooSlowError:
            raise RefusedError(group_list.TOO_SLOW) from None

    @operation(
        "One error group",
        scope=Scope.READ,
        permission=VIEW,
        shape=ErrorGroupShape,
        query=GroupQueryShape,
        has_etag=True,
        description="With a chart of its failures, what the refused values have in common, and some dead letters; masked.",
    )
    def retrieve(self, request: Request, id: str) -> Response:
        group = self._group(request, id)
        span = group_chart.SPANS[self.asked["span"]]
        series = group_chart.series([group.pk], span)[group.pk]
        found, info = group_detail.of_entries(group), ErrorType(group.error_type).info
        vars(group).update(
            meaning=info.meaning,
            remedy=info.remedy,
            first_version=_version(group.first_run),
            last_version=_version(group.last_run),
            chart=[{"starts_at": at, "count": n} for at, n in zip(series.starts, series.counts, strict=True)],
            values=found.stats,
            newest=found.newest,
            advice=rule_advice.of_group(group),
            grouping_rules=[rule.pk for rule in rules.of_group(group)],
        )
        return self.one(request, group, etag=_etag(group))

    @action(detail=True, methods=["get"], url_path="events")
    @operation(
        "What happened to an error group, newest first",
        scope=Scope.READ,
        permission=VIEW,
        shape=ErrorGroupEventShape,
        is_page=True,
    )
    def events(self, request: Request, id: str) -> Response:
        return self.paged(request, self._group(request, id).events.select_related("actor"), order=("-id",))

    @action(detail=True, methods=["get"], url_path="suggested-rules")
    @operation(
        "Grouping rules that an error group suggests",
        scope=Scope.READ,
        permission="dlq.change_fingerprintrule",
        shape=GroupingSuggestionShape,
        query=SuggestionQueryShape,
        is_list=True,
        description="To split it at a place of its message, or to merge `other` into it. Preview one, then make it.",
    )
    def suggested_rules(self, request: Request, id: str) -> Response:
        group = self._group(request, id)
        if self.asked["kind"] == RuleKind.SPLIT:
            return self.listed(request, map(_suggested, rules.suggest_splits(group)))
        others = group_list.visible(user_of(request)).filter(sync_id=group.sync_id).exclude(pk=group.pk)
        other = others.filter(pk=self.asked.get("other", 0)).first()
        if other is None:
            raise InvalidError([Issue("other", "There is no such other group in this sync.")])
        return self.listed(request, map(_suggested, rules.suggest_merges(group, other)))

    # --- acts

    @action(detail=True, methods=["post"], url_path="acknowledge")
    @operation(
        "Acknowledge an error group",
        scope=Scope.DLQ_ACT,
        permission=ANNOTATE,
        takes=MaybeWhyShape,
        shape=ErrorGroupActedShape,
        has_etag=True,
    )
    def acknowledge(self, request: Request, id: str) -> Response:
        return self._acted(request, id, group_acts.acknowledge, reason=self.given["reason"])

    @action(detail=True, methods=["post"], url_path="resolve")
    @operation(
        "Mark an error group as resolved",
        scope=Scope.DLQ_ACT,
        permission=ANNOTATE,
        takes=WhyShape,
        shape=ErrorGroupActedShape,
        has_etag=True,
        description="Its dead letters stay as they are; the next failure makes it regressed.",
        example={"reason": "The mapping is corrected."},
    )
    def resolve(self, request: Request, id: str) -> Response:
        return self._acted(request, id, group_acts.resolve, reason=self.given["reason"])

    @action(detail=True, methods=["post"], url_path="reopen")
    @operation(
        "Reopen an error group",
        scope=Scope.DLQ_ACT,
        permission=ANNOTATE,
        takes=MaybeWhyShape,
        shape=ErrorGroupActedShape,
        has_etag=True,
    )
    def reopen(self, request: Request, id: str) -> Response:
        return self._acted(request, id, group_acts.reopen, reason=self.given["reason"])

    @action(detail=True, methods=["post"], url_path="assign")
    @operation(
        "Give an error group to somebody",
        scope=Scope.DLQ_ACT,
        permission=ANNOTATE,
        takes=AssignShape,
        shape=ErrorGroupActedShape,
        has_etag=True,
        description="Its dead letters keep their owners.",
    )
    def assign(self, request: Request, id: str) -> Response:
        pk = self.given["owner_id"]
        try:
            owner = group_acts.owner_of("" if pk is None else str(pk))
            return self._acted(request, id, group_acts.assign, owner=owner)
        except ActRefusedError as refusal:
            if refusal.field == "owner":
                raise InvalidError([Issue("owner_id", refusal.message)], refusal.message) from None
            raise

    @action(detail=True, methods=["put"], url_path="note")
    @operation(
        "Write the note of an error group",
        scope=Scope.DLQ_ACT,
        permission=ANNOTATE,
        takes=NoteShape,
        shape=ErrorGroupActedShape,
        has_etag=True,
        needs_match=True,
        can_refuse=True,
        description="If-Match: the ETag of the error group. The history keeps each version.",
    )
    def note(self, request: Request, id: str) -> Response:
        return self._edited(request, id, group_acts.note, text=self.given["note"])

    @action(detail=True, methods=["put"], url_path="runbook")
    @operation(
        "Link an error group to a runbook",
        scope=Scope.DLQ_ACT,
        permission=ANNOTATE,
        takes=RunbookShape,
        shape=ErrorGroupActedShape,
        has_etag=True,
        needs_match=True,
        can_refuse=True,
        description="If-Match: the ETag of the error group. The history keeps each version.",
        example={"runbook_url": "https://wiki.example.test/crm-limits"},
    )
    def runbook(self, request: Request, id: str) -> Response:
        return self._edited(request, id, group_acts.set_runbook, url=self.given["runbook_url"])

    @action(detail=True, methods=["post"], url_path="evidence")
    @operation(
        "Evidence of an error group, for the vendor",
        scope=Scope.DLQ_ACT,
        permission="dlq.export_dlqentry",
        takes=MaybeWhyShape,
        file="application/zip",
        description="A ZIP with a summary, and JSON Lines of its first 1,000 dead letters, their steps and calls; masked.",
    )
    def evidence(self, request: Request, id: str) -> FileResponse:
        group = self._group(request, id)
        return bundle(request, EvidenceScope(group=group), self.given["reason"])

    # --- shared

    def _group(self, request: Request, pk: str) -> ErrorGroup:
        demand(request, VIEW)  # for acts as well, as in the console
        found = group_detail.find(int(pk), user_of(request))
        if found is None:
            raise NotFoundError("No error group of that number")
        return found

    def _edited(self, request: Request, pk: str, act: Callable[..., GroupAct], **values: Any) -> Response:
        demand(request, VIEW)
        with self.edited(request, group_list.visible(user_of(request)), pk, _etag):
            return self._acted(request, pk, act, **values)

    def _acted(self, request: Request, pk: str, act: Callable[..., GroupAct], **values: Any) -> Response:
        done = act(self._group(request, pk), by=user_of(request), door=Door.API, **values)
        vars(done.group).update(message=done.sentence)
        return self.one(request, done.group, etag=_etag(done.group))


def _etag(group: ErrorGroup) -> str:
    return etags.of([group.state, group.owner_id, group.note, group.runbook_url])


def _version(run: Any) -> int | None:
    return run.version.number if run is not None and run.version is not None else None


def _suggested(one: rules.Suggestion) -> dict[str, Any]:
    names = ("group_id", "kind", "pattern", "error_type", "error_code", "field", "title")
    return {"label": one.label, "draft": {name: getattr(one.draft, name) for name in names}}
