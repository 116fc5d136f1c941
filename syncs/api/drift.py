"""The drift of a sync: what its destination changed, what that breaks, and the word of a person that it may stay so."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from syncs.api.schema_shapes import MisfitShape, SchemaChangeShape, SchemaVersionShape, WatchShape
from syncs.choices import Scope
from syncs.models import AuditEvent, Sync
from syncs.rest.operations import operation
from syncs.rest.resources import Resource, user_of
from syncs.rest.shapes import Shape, StrictText
from syncs.services import access, drift, drift_report
from syncs.services.drift_report import Line


class AcknowledgementShape(Shape):
    at = serializers.DateTimeField()
    by = serializers.SerializerMethodField(help_text="A user name.")
    reason = serializers.SerializerMethodField()

    def get_by(self, event: AuditEvent) -> str | None:
        return event.actor.get_username() if event.actor else None

    def get_reason(self, event: AuditEvent) -> str:
        return str(event.detail.get("reason", ""))


class DriftLineShape(Shape):
    change = SchemaChangeShape()
    is_touching = serializers.BooleanField(help_text="It concerns this sync.")
    lines = serializers.SerializerMethodField(help_text="Destination fields of the mapping lines that write the field.")
    misfits = MisfitShape(many=True, help_text="What of the mapping it breaks.")
    since = serializers.DateTimeField(help_text="When the field was last seen unchanged.")
    dead_letter_count = serializers.IntegerField(help_text="Live ones whose error names the field, refused since then.")

    def get_lines(self, line: Line) -> list[str]:
        return [mapping.destination_field for mapping in line.lines]


class DriftShape(Shape):
    is_drifted = serializers.BooleanField()
    is_held = serializers.BooleanField(help_text="Reprocess waits for a preview without problems.")
    is_fitting = serializers.BooleanField(help_text="No change breaks the mapping for certain.")
    reason = serializers.CharField()
    since = serializers.DateTimeField(allow_null=True, help_text="Of the drift; without one, of the newest change.")
    version = SchemaVersionShape(source="snapshot", allow_null=True, help_text="null: the fields of its object are not known.")
    lines = DriftLineShape(many=True, help_text="The changes since then, those that concern the sync first.")
    more_count = serializers.IntegerField(help_text="Changes that are not listed.")
    broken = MisfitShape(many=True, help_text="Of the mapping, for certain, by no change that is listed.")
    possible = MisfitShape(many=True, help_text="The same, depending on the values.")
    acknowledged = AcknowledgementShape(allow_null=True, help_text="That the mapping may stay as it is, said since the break.")
    watch = WatchShape(allow_null=True)


class DriftReasonShape(Shape):
    reason = StrictText(max_length=drift.REASON_MAX, help_text="Why the mapping may stay as it is; kept in the history.")


class Drift(Resource):
    """Below one sync."""

    tag = "Syncs"

    @operation(
        "What its destination changed, and what that breaks",
        scope=Scope.READ,
        permission="syncs.view_sync",
        shape=DriftShape,
        name="syncs_drift_get",
    )
    def list(self, request: Request, sync_id: str) -> Response:
        return self._report(request, self._sync(request, sync_id))

    @action(detail=False, methods=["post"])
    @operation(
        "Say that the mapping may stay as it is",
        scope=Scope.WRITE,
        permission="syncs.change_sync",
        takes=DriftReasonShape,
        shape=DriftShape,
        description="The drift is settled at once where a preview after the break showed no problem; else with the next such "
        "preview.",
        example={"reason": "Tier is filled by the destination itself."},
        name="syncs_drift_acknowledge",
    )
    def acknowledge(self, request: Request, sync_id: str) -> Response:
        sync = self._sync(request, sync_id)
        drift.acknowledge(sync, by=user_of(request), reason=self.given["reason"], door="api")
        return self._report(request, self._sync(request, sync_id))

    def _sync(self, request: Request, sync_id: str) -> Sync:
        rows = access.scoped(Sync.objects.select_related("source", "destination"), user_of(request), by="pk")
        found: Sync = self.find(rows, sync_id)
        return found

    def _report(self, request: Request, sync: Sync) -> Response:
        found = drift_report.report(sync)
        values: dict[str, Any] = {name: getattr(found, name) for name in found.__slots__}
        return self.one(request, {**values, "is_drifted": sync.drift_since is not None, "reason": sync.drift_reason})
