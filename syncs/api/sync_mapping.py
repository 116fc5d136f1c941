"""The field mapping of a sync as one thing, and what can be said of it before it is saved."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from syncs.api.sync_edits import API, OfSync, edit, named, stamp
from syncs.api.sync_filters import seen
from syncs.api.sync_shapes import MappingLineShape, line_of
from syncs.choices import Scope
from syncs.models import Sync
from syncs.rest.numbers import json_numbers
from syncs.rest.operations import operation
from syncs.rest.resources import user_of
from syncs.rest.shapes import Shape, StrictText
from syncs.services import mapper, mappings
from syncs.services.mapping_review import Finding, Level
from syncs.services.mappings import MOST_LINES

EXAMPLE = {
    "mappings": [
        {"destination_field": "external_id", "column": "id", "type": "integer", "is_key": True},
        {"destination_field": "name", "kind": "template", "template": "{{ first }} {{ last | upcase }}"},
    ]
}


class MappingShape(Shape):
    mappings = MappingLineShape(many=True, help_text="In the order in which they stand.")


class NewMappingShape(Shape):
    mappings = MappingLineShape(many=True, max_length=MOST_LINES, help_text="All lines, in their order.")  # type: ignore[call-arg]
    note = StrictText(max_length=255, allow_blank=True, default="", help_text="Kept with the new version.")


class MappingDraftShape(Shape):
    mappings = MappingLineShape(  # type: ignore[call-arg]
        many=True, max_length=MOST_LINES, required=False, help_text="Without them: the mapping as it is saved."
    )


class MappingColumnShape(Shape):
    name = serializers.CharField()
    type = serializers.CharField(help_text="As the warehouse says it.")
    values = serializers.ListField(
        child=serializers.JSONField(allow_null=True), help_text="Up to three different ones, masked as on the console's pages."
    )
    used_by = serializers.ListField(child=serializers.CharField(), help_text="Destination fields.")


class FreeFieldShape(Shape):
    """A destination field that no line fills."""

    name = serializers.CharField()
    type = serializers.CharField()
    is_needed = serializers.BooleanField(help_text="Required or a key, and it may be written.")
    suggested_column = serializers.CharField(allow_null=True)


class MappingFindingShape(Shape):
    level = serializers.ChoiceField(list(Level), help_text="`error`: it cannot be saved; `warning`: rows will be refused.")
    field = serializers.CharField(help_text="`mappings[2].column`, or `mappings` for the whole.")
    issue = serializers.CharField()


class MappingReviewShape(Shape):
    columns = MappingColumnShape(many=True)
    free_fields = FreeFieldShape(many=True)
    has_fields = serializers.BooleanField(help_text="Whether the destination's fields are known.")
    findings = MappingFindingShape(many=True)
    problem = serializers.CharField(help_text="Why the query could not be read; else empty.")


class SyncMapping(OfSync):
    @action(detail=True, methods=["get"])
    @operation(
        "The mapping of a sync",
        name="syncs_mapping_get",
        scope=Scope.READ,
        permission="syncs.view_sync",
        shape=MappingShape,
        has_etag=True,
    )
    def mapping(self, request: Request, id: str) -> Response:
        return self._mapping(request, self.find(seen(request), id))

    @mapping.mapping.put
    @operation(
        "Replace the mapping of a sync",
        name="syncs_mapping_replace",
        scope=Scope.WRITE,
        permission="syncs.change_sync",
        takes=NewMappingShape,
        shape=MappingShape,
        has_etag=True,
        needs_match=True,
        can_refuse=True,
        description="The ETag stands for the query and the settings too: what a mapping was written against.",
        example=EXAMPLE,
    )
    def put_mapping(self, request: Request, id: str) -> Response:
        sync: Sync = self.find(seen(request), id)
        lines, note = [line_of(line) for line in self.given["mappings"]], self.given["note"]

        def save(opened: str) -> None:
            mappings.save(sync, lines, opened=opened, by=user_of(request), door=API, note=note)

        with named():
            edit(request, lambda: mappings.digest(sync), save)
        return self._mapping(request, sync)

    @action(detail=True, methods=["post"], url_path="mapping/review")
    @operation(
        "Try a mapping without saving it",
        name="syncs_mapping_review",
        scope=Scope.WRITE,
        permission="syncs.change_sync",
        takes=MappingDraftShape,
        shape=MappingReviewShape,
        description="Columns with samples, destination fields without a line with suggestions, and what is or may be wrong.",
        example=EXAMPLE,
    )
    def review_mapping(self, request: Request, id: str) -> Response:
        sync: Sync = self.find(seen(request), id)
        given = self.given.get("mappings")
        lines = mappings.lines(sync) if given is None else [line_of(line) for line in given]
        return self.one(request, _shown(mapper.view(sync, lines)))

    def _mapping(self, request: Request, sync: Sync) -> Response:
        etag = stamp(mappings.digest(sync))
        return self.one(request, {"mappings": mappings.as_snapshot(mappings.lines(sync))}, etag=etag)


def _shown(view: mapper.View) -> dict[str, Any]:
    free = [*view.needed, *view.others]
    return {
        "columns": [
            {"name": one.name, "type": one.type, "values": json_numbers(list(one.values)), "used_by": one.used_by}
            for one in view.columns
        ],
        "free_fields": [
            {
                "name": one.field.name,
                "type": one.field.type,
                "is_needed": one.is_needed,
                "suggested_column": one.column.name if one.column else None,
            }
            for one in free
        ],
        "has_fields": view.known.fields is not None,
        "findings": [{"level": one.level, "field": _place(one), "issue": one.message} for one in view.findings],
        "problem": view.problem,
    }


def _place(one: Finding) -> str:
    whole = "mappings" if one.line is None else f"mappings[{one.line}]"
    return f"{whole}.{one.attribute}" if one.attribute and one.line is not None else whole
