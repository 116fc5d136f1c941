"""What the API gives of dead letters. Values of people are masked as on the pages."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from dlq.choices import Door, EntryStatus, EventKind, ReprocessMode, RowState
from dlq.services.changes import Tone as VerdictTone
from dlq.services.comparison import Tone
from dlq.services.passport import DELIVERED
from syncs.errors import ErrorType
from syncs.rest.shapes import Shape

ROW_STATES = ["unknown", *(state.value for state in RowState if state.value)]


class SyncNameShape(Shape):
    """A sync, by name."""

    id = serializers.IntegerField(read_only=True)
    name = serializers.CharField(read_only=True)


class PersonNameShape(Shape):
    """Somebody, by name."""

    id = serializers.IntegerField(read_only=True)
    username = serializers.CharField(read_only=True)


class RowStateField(serializers.ChoiceField):
    """``unknown`` where nobody has looked."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(ROW_STATES, **{"read_only": True, **kwargs})

    def to_representation(self, value: Any) -> str:
        return str(value or "unknown")


class DeadLetterLineShape(Shape):
    """One line of the list."""

    id = serializers.IntegerField(read_only=True)
    status = serializers.ChoiceField(list(EntryStatus), read_only=True)
    sync = SyncNameShape(read_only=True)
    row_key = serializers.CharField(read_only=True)
    error_group_id = serializers.IntegerField(source="group_id", read_only=True)
    error_type = serializers.ChoiceField(list(ErrorType), read_only=True)
    error_code = serializers.CharField(read_only=True, help_text="The destination's own code; empty: it gave none.")
    field = serializers.CharField(read_only=True, help_text="The destination field that the error names, if any.")
    field_value = serializers.CharField(
        read_only=True, allow_null=True, help_text="What that field held; null: not known, or too long for a list."
    )
    message = serializers.CharField(read_only=True, help_text="At most 1,000 characters.")
    http_status = serializers.IntegerField(read_only=True, allow_null=True, help_text="null: no response.")
    is_permanent = serializers.BooleanField(
        read_only=True, help_text="false: a passing failure, which the next run of the sync tries again by itself."
    )
    attempt_count = serializers.IntegerField(read_only=True, help_text="Calls that carried the row, over all runs.")
    failure_count = serializers.IntegerField(read_only=True, help_text="Runs that ended with it refused.")
    first_failed_at = serializers.DateTimeField(read_only=True)
    last_failed_at = serializers.DateTimeField(read_only=True)
    run_id = serializers.IntegerField(read_only=True, help_text="The run that refused it last.")
    owner = PersonNameShape(read_only=True, allow_null=True)
    row_state = RowStateField(help_text="What the last look into the warehouse found.")
    row_checked_at = serializers.DateTimeField(read_only=True, allow_null=True)
    closed_at = serializers.DateTimeField(read_only=True, allow_null=True)
    updated_at = serializers.DateTimeField(read_only=True)


class ComparedFieldShape(Shape):
    """Values as people write them; null: not there, or, of now, not asked for."""

    field = serializers.CharField(read_only=True, help_text="The destination field; empty: a column that no mapping sends.")
    source = serializers.CharField(  # type: ignore[assignment]
        read_only=True, help_text="The column, template or constant that feeds it."
    )
    read = serializers.CharField(read_only=True, allow_null=True, help_text="The warehouse row then.")
    sent = serializers.CharField(read_only=True, allow_null=True, help_text="The payload then.")
    now = serializers.CharField(read_only=True, allow_null=True, help_text="The warehouse row now.")
    mapped = serializers.CharField(read_only=True, allow_null=True, help_text="What today's mapping would send.")
    difference = serializers.CharField(read_only=True, help_text="In a word or a few.")
    tone = serializers.ChoiceField(list(Tone), read_only=True)
    is_blamed = serializers.BooleanField(read_only=True, help_text="The error names this field.")
    is_refused = serializers.BooleanField(read_only=True, help_text="Today's mapping refuses the row for this field.")


class ComparisonShape(Shape):
    """Then and now, field by field: the blamed one first, then what differs."""

    compared = ComparedFieldShape(many=True, read_only=True, source="fields")
    left_out_count = serializers.IntegerField(read_only=True, help_text="Fields beyond the 400 that are given.")
    broken = serializers.CharField(read_only=True, help_text="Why the texts could not be laid out; empty: they were.")


class RowNowShape(Shape):
    """The warehouse at this moment."""

    checked_at = serializers.DateTimeField(read_only=True)
    state = RowStateField()
    row = serializers.CharField(read_only=True, help_text="The row as JSON text; empty: it is gone.")
    payload = serializers.CharField(read_only=True, help_text="What would be sent now, as JSON text; empty: nothing.")
    refused = serializers.CharField(read_only=True, help_text="Why today's mapping makes no payload of it.")
    refused_field = serializers.CharField(read_only=True)
    problem = serializers.CharField(read_only=True, help_text="Why the warehouse could not be asked; then all else is empty.")
    warnings = serializers.ListField(child=serializers.CharField(), read_only=True)


class VerdictShape(Shape):
    """What is to be expected of sending it again."""

    tone = serializers.ChoiceField(list(VerdictTone), read_only=True)
    headline = serializers.CharField(read_only=True)
    advice = serializers.CharField(read_only=True)


class FieldChangeShape(Shape):
    """``before`` and ``after`` are JSON; null: the field is not there."""

    field = serializers.CharField(read_only=True)
    kind = serializers.ChoiceField(["added", "removed", "changed"], read_only=True)
    before = serializers.CharField(read_only=True, allow_null=True)
    after = serializers.CharField(read_only=True, allow_null=True)


class CorrectionShape(Shape):
    """A payload that somebody corrected and that waits to be sent."""

    id = serializers.IntegerField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)
    created_by = PersonNameShape(read_only=True, allow_null=True)
    reason = serializers.CharField(read_only=True)
    is_current = serializers.BooleanField(
        read_only=True, help_text="false: the row has failed again since, so it is not sent; correct it anew."
    )
    changes = FieldChangeShape(many=True, read_only=True)


class DeadLetterShape(DeadLetterLineShape):
    """Everything that the page of a dead letter shows."""

    field_value = None  # type: ignore[assignment]
    message = serializers.CharField(read_only=True)
    error_group = serializers.CharField(source="group.headline", read_only=True, help_text="The error in a few words.")
    fingerprint = serializers.CharField(read_only=True)
    operation = serializers.CharField(read_only=True, help_text="`upsert` or `delete`: what was tried with the row.")
    source_row = serializers.CharField(read_only=True, help_text="The warehouse row then, as JSON text.")
    payload = serializers.CharField(read_only=True, help_text="What was sent, as JSON text; empty: nothing was.")
    response_excerpt = serializers.CharField(read_only=True, help_text="How the destination answered.")
    request_id = serializers.CharField(read_only=True)
    error_rule_id = serializers.IntegerField(read_only=True, allow_null=True, help_text="The error rule that decided the type.")
    error_rule_advice = serializers.CharField(read_only=True, help_text="The words of that rule; empty: it has none.")
    first_run_id = serializers.IntegerField(read_only=True)
    step_number = serializers.IntegerField(read_only=True, allow_null=True)
    version = serializers.IntegerField(
        source="version.number", default=None, read_only=True, allow_null=True, help_text="Of the sync, that refused it."
    )
    note = serializers.CharField(read_only=True)
    reprocess_run_id = serializers.IntegerField(read_only=True, allow_null=True)
    reprocess_mode = serializers.CharField(read_only=True, help_text="What that run sends; empty: nothing is under way.")
    closed_by = PersonNameShape(read_only=True, allow_null=True)
    close_reason = serializers.CharField(read_only=True)
    resolved_run_id = serializers.IntegerField(read_only=True, allow_null=True)
    verdict = VerdictShape(read_only=True)
    steps = serializers.ListField(child=serializers.CharField(), read_only=True, help_text="What to do next, in this order.")
    changed_parts = serializers.ListField(
        child=serializers.ChoiceField(["query", "mapping", "destination"]),
        read_only=True,
        help_text="What of the sync is another today than when it refused the row.",
    )
    is_held = serializers.BooleanField(
        read_only=True, help_text="The schema of the destination has drifted: preview the sync before anything is sent again."
    )
    is_hiding = serializers.BooleanField(read_only=True, help_text="Values are masked in this answer.")
    comparison = ComparisonShape(read_only=True)
    row_now = RowNowShape(read_only=True, allow_null=True, help_text="null: not asked for.")
    correction = CorrectionShape(read_only=True, allow_null=True)


class EntryQueryShape(Shape):
    row_now = serializers.BooleanField(
        default=False, help_text="Also read the row from the warehouse (at most some seconds) and compare."
    )


class DeadLetterEventShape(Shape):
    """One thing that happened to a dead letter; never changed."""

    id = serializers.IntegerField(read_only=True)
    kind = serializers.ChoiceField(list(EventKind), read_only=True)
    at = serializers.DateTimeField(read_only=True)
    actor = PersonNameShape(read_only=True, allow_null=True)
    door = serializers.ChoiceField(list(Door), read_only=True)
    run_id = serializers.IntegerField(read_only=True, allow_null=True)
    reason = serializers.CharField(read_only=True)
    detail = serializers.DictField(read_only=True, help_text="By kind: the message and step of a failure, a note, an owner.")


class RowMomentShape(Shape):
    """One thing that happened to the row, in any sync of its source."""

    at = serializers.DateTimeField(read_only=True)
    kind = serializers.ChoiceField([*EventKind, DELIVERED], read_only=True)
    sync_id = serializers.IntegerField(read_only=True)
    sync_name = serializers.CharField(read_only=True)
    dead_letter_id = serializers.IntegerField(source="entry_id", read_only=True, allow_null=True)
    event = DeadLetterEventShape(read_only=True, allow_null=True, help_text="null: a delivery, which no dead letter tells.")
    run_id = serializers.IntegerField(read_only=True, allow_null=True)
    step_number = serializers.IntegerField(read_only=True, allow_null=True)


class RowStandingShape(Shape):
    """What one sync holds of the row now."""

    sync_id = serializers.IntegerField(read_only=True)
    sync_name = serializers.CharField(read_only=True)
    accepted_at = serializers.DateTimeField(read_only=True, allow_null=True, help_text="null: never.")
    is_held = serializers.BooleanField(read_only=True, help_text="Content of it is held back: refused, or discarded.")
    is_hold_permanent = serializers.BooleanField(read_only=True)
    run_id = serializers.IntegerField(read_only=True)


class RowUnderWayShape(Shape):
    sync_name = serializers.CharField(read_only=True)
    run_id = serializers.IntegerField(read_only=True)
    step_number = serializers.IntegerField(source="number", read_only=True)
    is_confirming = serializers.BooleanField(
        read_only=True, help_text="The destination took it in and has yet to say what became of it."
    )


class RowPassportShape(Shape):
    """What happened to the row in all syncs of its source that you may see, newest first."""

    dead_letter_count = serializers.IntegerField(source="entry_count", read_only=True)
    moments = RowMomentShape(many=True, read_only=True)
    standings = RowStandingShape(many=True, read_only=True)
    under_way = RowUnderWayShape(many=True, read_only=True)
    next = serializers.CharField(read_only=True, allow_null=True, help_text="The `cursor` of what is older; null: nothing is.")


class CursorQueryShape(Shape):
    cursor = serializers.CharField(required=False, help_text="`next` of the answer before.")


class CallShape(Shape):
    """One call to the destination."""

    number = serializers.IntegerField(read_only=True)
    started_at = serializers.DateTimeField(read_only=True, allow_null=True)
    milliseconds = serializers.FloatField(read_only=True, allow_null=True)
    row_count = serializers.IntegerField(read_only=True)
    http_status = serializers.IntegerField(read_only=True, allow_null=True)
    request_id = serializers.CharField(read_only=True)
    idempotency_key = serializers.CharField(read_only=True)
    signal = serializers.CharField(read_only=True, help_text="What the answer meant for the batch; empty: nothing of its own.")
    request = serializers.CharField(read_only=True)
    excerpt = serializers.CharField(read_only=True)
    message = serializers.CharField(read_only=True)
    wait_seconds = serializers.FloatField(read_only=True, allow_null=True)


class CarryingStepShape(Shape):
    """A step that carried the row, with its calls. They carried other rows as well, unless ``row_count`` is 1."""

    run_id = serializers.IntegerField(read_only=True)
    number = serializers.IntegerField(read_only=True)
    row_count = serializers.IntegerField(read_only=True)
    calls = CallShape(many=True, read_only=True, help_text="Empty: they are no longer kept.")


class RevealedShape(Shape):
    """The true values of one dead letter."""

    id = serializers.IntegerField(read_only=True)
    row_key = serializers.CharField(read_only=True)
    source_row = serializers.CharField(read_only=True)
    payload = serializers.CharField(read_only=True)
    message = serializers.CharField(read_only=True)
    response_excerpt = serializers.CharField(read_only=True)
    request_id = serializers.CharField(read_only=True)
    correction = serializers.CharField(read_only=True, help_text="The corrected payload that waits; empty: none does.")


class EntryActedShape(Shape):
    """What an act did to one dead letter."""

    id = serializers.IntegerField(read_only=True)
    status = serializers.ChoiceField(list(EntryStatus), read_only=True)
    owner = PersonNameShape(read_only=True, allow_null=True)
    note = serializers.CharField(read_only=True)
    run_id = serializers.IntegerField(read_only=True, allow_null=True, help_text="The run that was asked for; poll it.")
    row_state = RowStateField()
    message = serializers.CharField(read_only=True, help_text="What was done, for people.")


RESEND_MODES = [ReprocessMode.STORED, ReprocessMode.PAYLOAD]


class DeadLetterCountShape(Shape):
    count = serializers.IntegerField(read_only=True)
    is_exact = serializers.BooleanField(read_only=True, help_text="false: there are more than `count`.")
    estimate = serializers.IntegerField(read_only=True, allow_null=True, help_text="The database's guess, where it has one.")
    hints = serializers.ListField(child=serializers.CharField(), read_only=True, help_text="What a search has left out.")


class SuggestedErrorRuleShape(Shape):
    """Fields of an error rule."""

    connection_id = serializers.IntegerField(read_only=True)
    name = serializers.CharField(read_only=True)
    statuses = serializers.CharField(read_only=True)
    codes = serializers.ListField(child=serializers.CharField(), read_only=True)
    text = serializers.CharField(read_only=True, help_text="An expression that finds the message.")
    error_type = serializers.ChoiceField(list(ErrorType), read_only=True)
