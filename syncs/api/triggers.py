"""Triggers of a sync: set up, switched, rotated, deleted. The secret is given once, by whatever makes it."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from syncs.choices import Scope
from syncs.models import Sync, SyncTrigger, TriggerCall
from syncs.rest import etags
from syncs.rest.operations import operation
from syncs.rest.resources import Resource, user_of
from syncs.rest.shapes import Shape, StrictBoolean, StrictInteger, StrictText
from syncs.services import access, triggering

API = "api"


class NewTriggerShape(Shape):
    name = StrictText(max_length=triggering.LONGEST_NAME, help_text="For people: the job that will call.")


class TriggerEditShape(Shape):
    name = StrictText(required=False, max_length=triggering.LONGEST_NAME)
    is_enabled = StrictBoolean(required=False)


class RotateTriggerShape(Shape):
    overlap_hours = StrictInteger(
        required=False,
        min_value=0,
        max_value=triggering.OVERLAP_MOST,
        default=triggering.OVERLAP_HOURS,
        help_text="How long the secret before is good as well; 0: it ends at once.",
    )


class TriggerShape(Shape):
    id = serializers.IntegerField(read_only=True)
    sync_id = serializers.IntegerField(read_only=True)
    name = serializers.CharField(read_only=True)
    address = serializers.SerializerMethodField(help_text="Where it is called.")
    is_enabled = serializers.BooleanField(read_only=True)
    previous_until = serializers.DateTimeField(
        read_only=True, allow_null=True, help_text="Until then the secret before is good as well."
    )
    created_by = serializers.CharField(read_only=True, allow_null=True, source="created_by.username", default=None)
    created_at = serializers.DateTimeField(read_only=True)
    last_called_at = serializers.DateTimeField(read_only=True, allow_null=True, help_text="Of a call that was signed.")
    last_outcome = serializers.CharField(read_only=True, help_text="What came of that call; empty: there was none.")

    def get_address(self, trigger: SyncTrigger) -> str:
        return triggering.address(trigger)


class TriggerSecretShape(TriggerShape):
    secret = serializers.CharField(read_only=True, help_text="The signing secret, `whsec_...`: given now and never again.")


class TriggerCallLineShape(Shape):
    id = serializers.IntegerField(read_only=True)
    call_id = serializers.CharField(read_only=True, help_text="Its `webhook-id`.")
    run_id = serializers.IntegerField(read_only=True, allow_null=True)
    at = serializers.DateTimeField(read_only=True)


def etag_of(trigger: SyncTrigger) -> str:
    return etags.of({name: getattr(trigger, name) for name in triggering.EDITABLE})


class Triggers(Resource):
    tag = "Triggers"

    @operation("Triggers of a sync", scope=Scope.READ, permission="syncs.view_synctrigger", shape=TriggerShape, is_page=True)
    def list(self, request: Request, sync_id: str) -> Response:
        return self.paged(request, self._rows(request, sync_id), order=("id",))

    @operation(
        "Add a trigger",
        scope=Scope.WRITE,
        permission="syncs.add_synctrigger",
        takes=NewTriggerShape,
        shape=TriggerSecretShape,
        status=201,
        can_refuse=True,
        example={"name": "dbt build"},
    )
    def create(self, request: Request, sync_id: str) -> Response:
        sync = self._sync(request, sync_id)
        trigger, secret = triggering.add(sync, name=self.given["name"], by=user_of(request), door=API)
        return self._once(request, trigger, secret)

    @operation("One trigger", scope=Scope.READ, permission="syncs.view_synctrigger", shape=TriggerShape, has_etag=True)
    def retrieve(self, request: Request, sync_id: str, id: str) -> Response:
        trigger = self.find(self._rows(request, sync_id), id)
        return self.one(request, trigger, etag=etag_of(trigger))

    @operation(
        "Rename a trigger, switch it on or off",
        scope=Scope.WRITE,
        permission="syncs.change_synctrigger",
        takes=TriggerEditShape,
        shape=TriggerShape,
        has_etag=True,
        needs_match=True,
        can_refuse=True,
        example={"is_enabled": False},
    )
    def partial_update(self, request: Request, sync_id: str, id: str) -> Response:
        with self.edited(request, self._rows(request, sync_id), id, etag_of) as trigger:
            trigger = triggering.change(trigger, by=user_of(request), door=API, **self.given)
        return self.one(request, trigger, etag=etag_of(trigger))

    @operation(
        "Delete a trigger", scope=Scope.WRITE, permission="syncs.delete_synctrigger", status=204, needs_match=True,
        can_refuse=True,
    )  # fmt: skip
    def destroy(self, request: Request, sync_id: str, id: str) -> Response:
        with self.edited(request, self._rows(request, sync_id), id, etag_of) as trigger:
            triggering.delete(trigger, by=user_of(request), door=API)
        return self.nothing()

    @action(detail=True, methods=["post"])
    @operation(
        "Rotate the secret of a trigger",
        scope=Scope.WRITE,
        permission="syncs.change_synctrigger",
        takes=RotateTriggerShape,
        shape=TriggerSecretShape,
        status=201,
        can_refuse=True,
        example={"overlap_hours": 24},
    )
    def rotate(self, request: Request, sync_id: str, id: str) -> Response:
        trigger = self.find(self._rows(request, sync_id), id)
        trigger, secret = triggering.rotate(trigger, hours=self.given["overlap_hours"], by=user_of(request), door=API)
        return self._once(request, trigger, secret)

    @action(detail=True, methods=["get"])
    @operation(
        "Calls of a trigger that were taken in, newest first",
        scope=Scope.READ,
        permission="syncs.view_synctrigger",
        shape=TriggerCallLineShape,
        is_page=True,
    )
    def calls(self, request: Request, sync_id: str, id: str) -> Response:
        trigger = self.find(self._rows(request, sync_id), id)
        return self.paged(request, TriggerCall.objects.filter(trigger=trigger), order=("-id",))

    def _once(self, request: Request, trigger: SyncTrigger, secret: str) -> Response:
        trigger.secret = secret  # type: ignore[attr-defined]
        return self.one(
            request, trigger, etag=etag_of(trigger), location=f"/api/v1/syncs/{trigger.sync_id}/triggers/{trigger.pk}"
        )

    def _sync(self, request: Request, sync_id: str) -> Any:
        return self.find(access.scoped(Sync.objects.all(), user_of(request), by="pk"), sync_id, "No sync of that number")

    def _rows(self, request: Request, sync_id: str) -> QuerySet[SyncTrigger]:
        return SyncTrigger.objects.filter(sync=self._sync(request, sync_id)).select_related("created_by")
