"""Dead letters: the list, one of them, and what happened to it."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Prefetch, prefetch_related_objects
from django.utils import timezone
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from dlq.api.correcting import Correcting
from dlq.api.entry_filters import EntryFilters, position
from dlq.api.entry_resource import VIEW
from dlq.api.entry_shapes import (
    CarryingStepShape,
    CursorQueryShape,
    DeadLetterCountShape,
    DeadLetterEventShape,
    DeadLetterLineShape,
    DeadLetterShape,
    EntryQueryShape,
    RowPassportShape,
    SuggestedErrorRuleShape,
)
from dlq.api.entry_views import calls_of, shown
from dlq.models import DLQEntry
from dlq.services import attempts, entry_detail, live, paging, rule_drafts, sight, tally
from dlq.services.lines import lines
from dlq.services.sight import Sight
from syncs.choices import Scope
from syncs.rest import paging as cut
from syncs.rest.operations import operation
from syncs.rest.problems import RefusedError
from syncs.rest.resources import user_of
from syncs.services import versions


class DeadLetters(Correcting):
    tag = "Dead letters"

    @operation(
        "Dead letters, newest failure first",
        scope=Scope.READ,
        permission=VIEW,
        shape=DeadLetterLineShape,
        is_page=True,
        filters=EntryFilters,
        can_refuse=True,
        description="Every filter of the console's list. Spans like `failed=24h` and searches are fixed by the first page, so "
        "that the pages after it go on with the same dead letters. 409: too many to look through for this filter in time.",
    )
    def list(self, request: Request) -> Response:
        asked = cut.wanted(request)
        found = EntryFilters.settled(request.query_params, asked, user=user_of(request))
        page = paging.page(found, after=position(asked), size=asked.limit, facets=tally.counts(found))
        if page.problem:
            raise RefusedError(page.problem)
        following = asked.cursor({"at": str(page.older), **EntryFilters.kept(found)}) if page.older else None
        return self.page_of(request, cut.Page(_lines(page.entries), following), asked.limit)

    @action(detail=False, methods=["get"], url_path="count")
    @operation(
        "How many dead letters there are",
        scope=Scope.READ,
        permission=VIEW,
        shape=DeadLetterCountShape,
        filters=EntryFilters,
        can_refuse=True,
        description="Of the same filters as the list. Exact up to 2,000 and for filters by status, sync, connection, error "
        "type and response code alone.",
    )
    def count(self, request: Request) -> Response:
        found = EntryFilters.chosen(request.query_params, user=user_of(request), beside=("fields",)).at(timezone.now())
        page = paging.page(found, size=1, facets=tally.counts(found))
        if page.problem:
            raise RefusedError(page.problem)
        return self.one(
            request, {"count": page.count, "is_exact": not page.is_capped, "estimate": page.estimate, "hints": found.hints}
        )

    @operation(
        "One dead letter",
        scope=Scope.READ,
        permission=VIEW,
        shape=DeadLetterShape,
        query=EntryQueryShape,
        has_etag=True,
        description="With the comparison of then and now, field by field. Values of people are masked.",
    )
    def retrieve(self, request: Request, id: str) -> Response:
        entry = self.entry(request, id)
        now = versions.snapshot(entry.sync)
        found = live.look(entry, now["mappings"]) if self.asked["row_now"] else None
        etag = self.etag_of(entry)
        return self.one(request, shown(entry_detail.detail(entry, now=now, live=found)), etag=etag)

    @action(detail=True, methods=["get"], url_path="events")
    @operation(
        "What happened to a dead letter, newest first",
        scope=Scope.READ,
        permission=VIEW,
        shape=DeadLetterEventShape,
        is_page=True,
    )
    def events(self, request: Request, id: str) -> Response:
        entry = self.entry(request, id)
        asked = cut.wanted(request)
        page = cut.page(entry.events.select_related("actor"), ("-id",), asked)
        seen = Sight(entry, using=sight.masker())
        rows = [seen.event(event) for event in page.rows]
        seen.close()
        return self.page_of(request, cut.Page(rows, page.next), asked.limit)

    @action(detail=True, methods=["get"], url_path="calls")
    @operation(
        "The calls that carried a dead letter",
        scope=Scope.READ,
        permission=VIEW,
        shape=CarryingStepShape,
        is_list=True,
        description="Steps of all its runs, newest first, at most 20, each with its calls and how the destination answered.",
    )
    def calls(self, request: Request, id: str) -> Response:
        entry = self.entry(request, id)
        seen = Sight(entry, using=sight.masker())
        found = seen.carried(attempts.carried(entry, entry.events.order_by("-pk")[:100]))
        seen.close()
        return self.listed(request, map(calls_of, found))

    @action(detail=True, methods=["get"], url_path="passport")
    @operation(
        "What happened to the row of a dead letter, in all syncs of its source",
        scope=Scope.READ,
        permission=VIEW,
        shape=RowPassportShape,
        query=CursorQueryShape,
    )
    def passport(self, request: Request, id: str) -> Response:
        entry = self.entry(request, id)
        asked = cut.wanted(request)
        _entry, found = entry_detail.row_passport(entry, user=user_of(request), before=position(asked))
        following = asked.cursor({"at": str(found.older)}) if found.older else None
        about = {name: getattr(found, name) for name in ("entry_count", "moments", "standings", "under_way")}
        return self.one(request, {**about, "next": following})

    @action(detail=True, methods=["get"], url_path="suggested-error-rule")
    @operation(
        "An error rule that a dead letter suggests",
        scope=Scope.READ,
        permission="syncs.add_errorrule",
        shape=SuggestedErrorRuleShape,
        description="What its answer and its like have in common, to be made a rule of the connection. Nothing is saved.",
    )
    def suggested_error_rule(self, request: Request, id: str) -> Response:
        found: dict[str, Any] = rule_drafts.suggested(self.entry(request, id))
        codes = [code for code in found["codes"].split("\n") if code]
        return self.one(request, {**found, "connection_id": int(found["connection"]), "codes": codes})


def _lines(entries: list[DLQEntry]) -> list[DLQEntry]:
    """Masked as in the console's list; with their owners."""
    prefetch_related_objects(entries, Prefetch("owner", get_user_model().objects.only("pk", "username")))
    for line in lines(entries, {}):
        vars(line.entry).update(message=line.message, field_value=line.value)
    return entries
