"""Many syncs at once: which ones, what is done, and how each went."""

from __future__ import annotations

from typing import Any

from django.http import QueryDict
from rest_framework import serializers
from rest_framework.request import Request

from syncs.api.sync_filters import SyncFilters, seen
from syncs.choices import SyncStatus
from syncs.connectors import Issue
from syncs.models import Sync
from syncs.rest.problems import InvalidError
from syncs.rest.shapes import Id, Shape, StrictBoolean, StrictText
from syncs.services.sync_acts import MOST, Done, SyncAct

RIGHTS = {SyncAct.RUN: "syncs.run_sync", SyncAct.PAUSE: "syncs.pause_sync", SyncAct.RESUME: "syncs.pause_sync"}


class SyncSelectionShape(Shape):
    """The filters of the list of syncs; at least one. Archived syncs are not among them."""

    status = serializers.ListField(child=serializers.ChoiceField(list(SyncStatus)), required=False, min_length=1)
    source = serializers.ListField(child=Id(), required=False, min_length=1)  # type: ignore[assignment]
    destination = serializers.ListField(child=Id(), required=False, min_length=1)
    owner = serializers.ListField(
        child=serializers.RegexField(r"^(?:none|[1-9][0-9]{0,17})$"),
        required=False,
        min_length=1,
        help_text="Numbers, or `none`.",
    )
    tag = serializers.ListField(child=serializers.RegexField(r"^[-a-zA-Z0-9_]{1,40}$"), required=False, min_length=1)
    team = serializers.ListField(child=Id(), required=False, min_length=1)
    q = StrictText(max_length=200, required=False)


class SyncsActShape(Shape):
    """Either `ids` or `filter`."""

    act = serializers.ChoiceField(
        list(SyncAct), help_text="`run` takes the right `syncs.run_sync`, the others `syncs.pause_sync`."
    )
    ids = serializers.ListField(child=Id(), required=False, min_length=1, max_length=MOST)
    filter = SyncSelectionShape(required=False)
    reason = StrictText(max_length=255, allow_blank=True, default="", help_text="Of a pause.")
    full = StrictBoolean(default=False, help_text="Of a run: rows that are known as unchanged are sent too.")

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        if ("ids" in given) == ("filter" in given):
            raise serializers.ValidationError({"ids": "Name the syncs by ids or by a filter, one of the two."})
        if not given.get("filter", True):
            raise serializers.ValidationError({"filter": "Name at least one filter; to act on all, name their ids."})
        if given["full"] and given["act"] != SyncAct.RUN:
            raise serializers.ValidationError({"full": "Only a run can be full."})
        if given["reason"] and given["act"] != SyncAct.PAUSE:
            raise serializers.ValidationError({"reason": "Only a pause takes a reason."})
        return given


class SyncOutcomeShape(Shape):
    sync_id = serializers.IntegerField()
    sync_name = serializers.CharField()
    outcome = serializers.ChoiceField(list(Done), help_text="`unchanged`: it was so already.")
    message = serializers.CharField(help_text="Why it was refused; else empty.")
    run_id = serializers.IntegerField(allow_null=True, help_text="Of the run that is queued.")


class SyncOutcomesShape(Shape):
    outcomes = SyncOutcomeShape(many=True)


def chosen(request: Request, given: dict[str, Any]) -> list[Sync]:
    """In the order of their names. Raises ``InvalidError`` for a sync that the caller does not see, and for too many."""
    if "ids" in given:
        wanted = dict.fromkeys(given["ids"])
        found = list(seen(request).filter(pk__in=wanted).order_by("name"))
        lost = wanted.keys() - {sync.pk for sync in found}
        if lost:
            place = given["ids"].index(min(lost))
            raise InvalidError([Issue(f"ids[{place}]", f"There is no sync {min(lost)} that you may see.")])
        return found
    query = QueryDict(mutable=True)
    for name, values in given["filter"].items():
        query.setlist(name, [str(value) for value in (values if isinstance(values, list) else [values])])
    matching = list(SyncFilters.of(query, seen(request), user=request.user).order_by("name")[: MOST + 1])
    if len(matching) > MOST:
        raise InvalidError(
            [Issue("filter", f"More than {MOST} syncs match. Narrow it, or name them by ids in several requests.")]
        )
    return matching
