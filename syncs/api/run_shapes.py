"""What a run looks like from outside."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from syncs.choices import ConnectionRole, RunStatus, Trigger
from syncs.errors import ErrorType
from syncs.models import Run
from syncs.rest.shapes import Shape, StrictBoolean, StrictInteger, StrictText
from syncs.services import overview
from syncs.services.run_requests import KEYS_MOST, LIMIT_MOST

_COUNTS = (
    "read", "vanished", "accepted", "created", "updated", "deleted", "unchanged", "skipped", "dead_lettered", "pending",
)  # fmt: skip


class NewRunShape(Shape):
    full = StrictBoolean(default=False, help_text="Send every row again, changed or not.")
    keys = serializers.ListField(
        child=StrictText(max_length=255, trim_whitespace=False),
        min_length=1,
        max_length=KEYS_MOST,
        required=False,
        help_text="Only these row keys; of a key of several columns the JSON list of their texts. A key that the warehouse "
        "does not have is not read.",
    )
    limit = StrictInteger(
        min_value=1,
        max_value=LIMIT_MOST,
        required=False,
        help_text="Only the first so many rows; of keys, where they are given.",
    )
    detail = StrictText(
        max_length=255, required=False, allow_blank=True, help_text="Why, or for what: kept with the run, for whoever looks."
    )


class RunPersonShape(Shape):
    id = serializers.IntegerField()
    username = serializers.CharField()


class RunSyncShape(Shape):
    id = serializers.IntegerField()
    name = serializers.CharField()


class RunCountsShape(Shape):
    """read + vanished = accepted + unchanged + skipped + dead_lettered + pending."""

    read = serializers.IntegerField(source="read_count")
    vanished = serializers.IntegerField(
        source="vanished_count", help_text="Of a mirror: rows that left the warehouse, beside those read."
    )
    accepted = serializers.IntegerField(source="accepted_count")
    created = serializers.IntegerField(source="created_count", help_text="Of those accepted, where the destination says.")
    updated = serializers.IntegerField(source="updated_count")
    deleted = serializers.IntegerField(source="deleted_count")
    unchanged = serializers.IntegerField(source="unchanged_count")
    skipped = serializers.IntegerField(
        source="skipped_count", help_text="The same content is held back: it waits as a dead letter, or was discarded."
    )
    dead_lettered = serializers.IntegerField(source="dead_lettered_count")
    pending = serializers.SerializerMethodField(help_text="Read, and not settled (yet).")

    def get_pending(self, run: Run) -> int:
        return overview.pending(run)


class RunLineShape(Shape):
    id = serializers.IntegerField()
    sync = RunSyncShape()
    status = serializers.ChoiceField([one.value for one in RunStatus])
    is_active = serializers.BooleanField(help_text="Queued or running: it has not ended.")
    reason = serializers.CharField(help_text="Why it waits, was skipped, cancelled or cut short.")
    trigger = serializers.ChoiceField([one.value for one in Trigger])
    trigger_detail = serializers.CharField()
    requested_by = RunPersonShape(allow_null=True, help_text="null: nobody did, or the account is gone.")
    version = serializers.IntegerField(source="version_number", allow_null=True, help_text="Version of the sync that it uses.")
    queued_at = serializers.DateTimeField()
    scheduled_for = serializers.DateTimeField(allow_null=True, help_text="The slot of the schedule.")
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    duration_seconds = serializers.SerializerMethodField(help_text="Since it started; null: it has not.")
    counts = RunCountsShape(source="*")
    request_count = serializers.IntegerField(help_text="Calls to the destination.")
    retry_count = serializers.IntegerField(help_text="Of these, calls that were made again.")
    bytes_sent = serializers.IntegerField()
    failure_type = serializers.CharField(help_text="Error type of a run that failed; empty for the others.")
    failure_code = serializers.CharField(help_text="For example `breaker` or `delete_guard`.")

    def get_duration_seconds(self, run: Run) -> float | None:
        took = run.duration()
        return None if took is None else took.total_seconds()


class RunProgressShape(Shape):
    settled = serializers.IntegerField(help_text="Rows of which the outcome is known.")
    estimate = serializers.IntegerField(help_text="Rows it will probably read; 0: nobody knows.")
    basis = serializers.CharField(help_text="Where the estimate comes from.")
    rows_per_second = serializers.FloatField()
    eta_seconds = serializers.FloatField(allow_null=True)


class RunFailureShape(Shape):
    error_type = serializers.CharField()
    title = serializers.CharField(help_text="The error type in words.")
    code = serializers.CharField()
    message = serializers.CharField(help_text="What happened, and the way out.")
    remedy = serializers.CharField(help_text="What usually helps.")
    of_connection = serializers.ChoiceField(
        ["", *(role.value for role in ConnectionRole)],
        help_text="Whose way failed, so that every sync of that connection has it; empty: the run's own fault.",
    )


class RunErrorShape(Shape):
    error_type = serializers.ChoiceField([one.value for one in ErrorType])
    title = serializers.CharField(help_text="The error type in words.")
    error_code = serializers.CharField()
    field = serializers.CharField()
    message = serializers.CharField(help_text="A sample, without the values in it.")
    remedy = serializers.CharField()
    count = serializers.IntegerField()


class RunOptionsShape(Shape):
    full = serializers.BooleanField()
    limit = serializers.IntegerField(allow_null=True)
    keys = serializers.ListField(child=serializers.CharField(), allow_null=True, help_text="null: every row.")


class RunLinksShape(Shape):
    sync = serializers.CharField()
    steps = serializers.CharField()
    log = serializers.CharField()
    dead_letters = serializers.CharField(help_text="Those that it refused, open or not.")
    evidence = serializers.CharField(help_text="POST makes the bundle.")
    console = serializers.CharField(help_text="The run's page, for people.")


class RunShape(RunLineShape):
    options = RunOptionsShape()
    not_before = serializers.DateTimeField(allow_null=True, help_text="It waits until then.")
    missed_count = serializers.IntegerField(help_text="Slots of the schedule that were folded into it.")
    crash_count = serializers.IntegerField(source="total_crash_count", help_text="Workers that died with it; others went on.")
    cancel_requested_at = serializers.DateTimeField(allow_null=True)
    cancel_requested_by = RunPersonShape(allow_null=True)
    progress = RunProgressShape()
    failure = RunFailureShape(allow_null=True)
    error_summary = RunErrorShape(many=True, help_text="What it dead-lettered, by cause, most first; at most 50.")
    can_run_again = serializers.BooleanField()
    links = RunLinksShape()


_EXAMPLE_LINE: dict[str, Any] = {
    "id": 17,
    "sync": {"id": 3, "name": "Contacts to CRM"},
    "status": "partial",
    "is_active": False,
    "reason": "",
    "trigger": "api",
    "trigger_detail": "dag orders, 2026-11-23",
    "requested_by": {"id": 4, "username": "airflow"},
    "version": 12,
    "queued_at": "2026-11-23T09:30:00Z",
    "scheduled_for": None,
    "started_at": "2026-11-23T09:30:01Z",
    "finished_at": "2026-11-23T09:30:19Z",
    "duration_seconds": 18.0,
    "counts": dict.fromkeys(_COUNTS, 0) | {"read": 1000, "accepted": 40, "unchanged": 957, "dead_lettered": 3},
    "request_count": 1,
    "retry_count": 0,
    "bytes_sent": 12400,
    "failure_type": "",
    "failure_code": "",
}
EXAMPLE_PAGE = {"data": [_EXAMPLE_LINE], "meta": {"page": {"limit": 50, "next": None}}}
