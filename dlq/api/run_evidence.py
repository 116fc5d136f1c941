"""Evidence of a run, or of one of its steps."""

from __future__ import annotations

from typing import Any

from django.http import FileResponse
from rest_framework.request import Request

from dlq.api.entry_acting import bundle
from dlq.services import evidence
from dlq.services.moves import REASON_MAX
from syncs.choices import Scope
from syncs.models import Run
from syncs.rest.operations import operation
from syncs.rest.resources import Resource, user_of
from syncs.rest.shapes import Shape, StrictInteger, StrictText
from syncs.services import run_list


class RunEvidenceShape(Shape):
    reason = StrictText(
        max_length=REASON_MAX, required=False, default="", allow_blank=True, help_text="Kept in the dead letters' histories."
    )
    step = StrictInteger(min_value=1, max_value=2_147_483_647, required=False, help_text="Only of the step of this number.")


class RunEvidence(Resource):
    tag = "Runs"

    @operation(
        "Evidence of a run or a step, for the vendor",
        scope=Scope.DLQ_ACT,
        permission="dlq.export_dlqentry",
        takes=RunEvidenceShape,
        file="application/zip",
        can_refuse=True,
        example={"reason": "VENDOR-17", "step": 4},
        description="A ZIP with a summary to read, and JSON Lines of at most 1,000 steps (those with refused rows first), "
        "their calls and dead letters, with the SHA-256 of each file; masked, always.",
    )
    def create(self, request: Request, run_id: str) -> FileResponse:
        run: Run = self.find(run_list.whole(request.user), run_id, "No run of that number")
        given: dict[str, Any] = self.given
        of = {"run": str(run.pk)} | ({"step": str(given["step"])} if "step" in given else {})
        return bundle(request, evidence.parse(of, user=user_of(request)), given["reason"])
