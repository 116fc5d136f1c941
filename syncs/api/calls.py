"""The address of a trigger: called without a key, by a job that signs."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from syncs.choices import Scope
from syncs.rest.operations import operation
from syncs.rest.repeats import REPLAYED
from syncs.rest.resources import Resource
from syncs.rest.shapes import Shape, StrictBoolean, StrictText
from syncs.rest.signed import Signed, SignedCall, SignedSchema
from syncs.services import triggering
from syncs.services.run_requests import KEYS_MOST
from syncs.signatures import ID

_ABOUT = (
    "No API key: the call is signed by Standard Webhooks with the secret of the trigger, and nothing else about its caller "
    "counts. An id is good once: the same call sent again starts nothing more and is answered as the first time, with "
    "`Idempotency-Replayed: true`. The body has at most 65,536 bytes; without one, a usual run is queued. A run that waits "
    "already and would do the same is given back instead of a second one. A sync that is paused or archived, and a trigger "
    "that is switched off, are 409; the id can then be used again."
)


class TriggerCallShape(Shape):
    full = StrictBoolean(required=False, default=False, help_text="Send every row, also what is unchanged.")
    keys = serializers.ListField(
        child=StrictText(max_length=255, trim_whitespace=False),
        required=False,
        min_length=1,
        max_length=KEYS_MOST,
        help_text="Only the rows of these row keys.",
    )
    detail = StrictText(
        required=False,
        allow_blank=True,
        max_length=triggering.LONGEST_DETAIL,
        help_text="Why, for people: the run shows it after the name of the trigger.",
    )


class TriggerCalledShape(Shape):
    run_id = serializers.IntegerField(allow_null=True, help_text="null: retention has removed the run of a call sent again.")


class Calls(Resource):
    tag = "Triggers"
    authentication_classes = (SignedCall,)
    permission_classes = (Signed,)  # type: ignore[assignment]
    requests_per_minute = triggering.CALLS_PER_MINUTE
    schema = SignedSchema()

    @operation(
        "Start a run by a signed call",
        scope=Scope.RUN,
        takes=TriggerCallShape,
        shape=TriggerCalledShape,
        status=202,
        can_refuse=True,
        description=_ABOUT,
        example={"detail": "dbt build 4711"},
        answer_example={"run_id": 17},
    )
    def create(self, request: Request, **_: Any) -> Response:
        trigger: Any = request.auth
        started = triggering.start(
            trigger,
            call_id=request.headers[ID],
            is_full=self.given.get("full", False),
            keys=self.given.get("keys", ()),
            detail=self.given.get("detail", ""),
        )
        location = f"/api/v1/runs/{started.run_id}" if started.run_id else ""
        answer = self.one(request, {"run_id": started.run_id}, location=location)
        if started.is_repeat:
            answer[REPLAYED] = "true"
        return answer
