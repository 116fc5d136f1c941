"""What the API gives of error groups and the rules that make them."""

from __future__ import annotations

from rest_framework import serializers

from dlq.api.entry_shapes import PersonNameShape, SyncNameShape
from dlq.choices import Door, EntryStatus, GroupEventKind, GroupState, RuleKind
from dlq.services.group_chart import DEFAULT_SPAN, SPANS
from syncs.errors import ErrorType
from syncs.rest.shapes import Id, Shape, StrictBoolean, StrictText


class ErrorGroupLineShape(Shape):
    """One line of the list."""

    id = serializers.IntegerField(read_only=True)
    sync = SyncNameShape(read_only=True)
    headline = serializers.CharField(read_only=True, help_text="What is wrong, in a few words.")
    title = serializers.CharField(read_only=True, help_text="The message without what differs from row to row.")
    state = serializers.ChoiceField(list(GroupState), read_only=True)
    state_changed_at = serializers.DateTimeField(read_only=True, allow_null=True)
    error_type = serializers.ChoiceField(list(ErrorType), read_only=True)
    error_code = serializers.CharField(read_only=True)
    field = serializers.CharField(read_only=True)
    fingerprint = serializers.CharField(read_only=True)
    open_count = serializers.IntegerField(read_only=True, help_text="Dead letters that are open, queued or in flight.")
    total_count = serializers.IntegerField(read_only=True, help_text="Dead letters ever.")
    first_seen_at = serializers.DateTimeField(read_only=True)
    last_seen_at = serializers.DateTimeField(read_only=True)
    first_run_id = serializers.IntegerField(read_only=True, allow_null=True)
    last_run_id = serializers.IntegerField(read_only=True, allow_null=True)
    owner = PersonNameShape(read_only=True, allow_null=True)
    note = serializers.CharField(read_only=True)
    runbook_url = serializers.CharField(read_only=True)
    grouping_rule_id = serializers.IntegerField(
        source="rule_id", read_only=True, allow_null=True, help_text="The split it is of."
    )


class ValueShareShape(Shape):
    label = serializers.CharField(read_only=True)  # type: ignore[assignment]
    count = serializers.IntegerField(read_only=True)
    percent = serializers.IntegerField(read_only=True)


class RefusedValuesShape(Shape):
    """What the refused values of the field have in common, from a sample of the newest live dead letters; masked."""

    field = serializers.CharField(source="name", read_only=True)
    origin = serializers.CharField(read_only=True, help_text="`payload`, or `warehouse row` where the payload lacks it.")
    entry_count = serializers.IntegerField(read_only=True, help_text="Dead letters looked at.")
    is_whole = serializers.BooleanField(read_only=True, help_text="They are all live ones of the group.")
    value_count = serializers.IntegerField(read_only=True)
    empty_count = serializers.IntegerField(read_only=True)
    unreadable_count = serializers.IntegerField(read_only=True)
    distinct_count = serializers.IntegerField(read_only=True)
    values = ValueShareShape(many=True, read_only=True, help_text="Most frequent first.")
    kinds = ValueShareShape(many=True, read_only=True)
    lengths = serializers.ListField(
        child=serializers.FloatField(), read_only=True, allow_null=True, help_text="Shortest, median, longest text; null: none."
    )
    hints = serializers.ListField(child=serializers.CharField(), read_only=True)
    is_masked = serializers.BooleanField(read_only=True)


class SampledDeadLetterShape(Shape):
    id = serializers.IntegerField(source="pk", read_only=True)
    row_key = serializers.CharField(read_only=True)
    status = serializers.ChoiceField(list(EntryStatus), read_only=True)
    message = serializers.CharField(read_only=True)
    http_status = serializers.IntegerField(read_only=True, allow_null=True)
    failed_at = serializers.DateTimeField(read_only=True)


class GroupAdviceShape(Shape):
    error_rule_id = serializers.IntegerField(source="pk", read_only=True)
    name = serializers.CharField(read_only=True)
    advice = serializers.CharField(read_only=True)


class FailuresStepShape(Shape):
    starts_at = serializers.DateTimeField(read_only=True)
    count = serializers.IntegerField(read_only=True)


class ErrorGroupShape(ErrorGroupLineShape):
    """Everything that the page of an error group shows."""

    meaning = serializers.CharField(read_only=True, help_text="Of the error type.")
    remedy = serializers.CharField(read_only=True)
    first_version = serializers.IntegerField(read_only=True, allow_null=True, help_text="Of the sync, that met it first.")
    last_version = serializers.IntegerField(read_only=True, allow_null=True)
    chart = FailuresStepShape(many=True, read_only=True, help_text="Failures by hour or day (UTC), up to now.")
    values = RefusedValuesShape(read_only=True, allow_null=True, help_text="null: the error names no field.")
    newest = SampledDeadLetterShape(many=True, read_only=True)
    advice = GroupAdviceShape(many=True, read_only=True, help_text="Of the error rules that decided.")
    grouping_rules = serializers.ListField(
        child=serializers.IntegerField(), read_only=True, help_text="Ids of the rules that move dead letters here or made it."
    )


class GroupQueryShape(Shape):
    span = serializers.ChoiceField(list(SPANS), default=DEFAULT_SPAN, help_text="Of the chart.")


class ErrorGroupEventShape(Shape):
    id = serializers.IntegerField(read_only=True)
    kind = serializers.ChoiceField(list(GroupEventKind), read_only=True)
    at = serializers.DateTimeField(read_only=True)
    actor = PersonNameShape(read_only=True, allow_null=True)
    door = serializers.ChoiceField(list(Door), read_only=True)
    reason = serializers.CharField(read_only=True)
    detail = serializers.DictField(read_only=True, help_text="By kind: the state before, a note, an owner, groups and counts.")


class ErrorGroupActedShape(ErrorGroupLineShape):
    message = serializers.CharField(read_only=True, help_text="What was done, for people.")


# --- rules


class GroupingRuleShape(Shape):
    """How errors are grouped otherwise than by themselves."""

    id = serializers.IntegerField(read_only=True)
    sync = SyncNameShape(read_only=True)
    kind = serializers.ChoiceField(list(RuleKind), read_only=True)
    title = serializers.CharField(read_only=True)
    pattern = serializers.CharField(read_only=True)
    error_type = serializers.CharField(read_only=True, help_text="Empty: any.")
    error_code = serializers.CharField(read_only=True, help_text="Empty: any.")
    field = serializers.CharField(read_only=True, help_text="Empty: any.")
    target_group_id = serializers.IntegerField(source="target_id", read_only=True, allow_null=True, help_text="Of a merge.")
    position = serializers.IntegerField(read_only=True)
    is_active = serializers.BooleanField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)
    created_by = PersonNameShape(read_only=True, allow_null=True)


class GroupingRuleSavedShape(GroupingRuleShape):
    is_regrouped = serializers.BooleanField(
        read_only=True, help_text="false: a worker goes on with it; the groups' histories will say how many moved."
    )


class GroupingDraftShape(Shape):
    """A rule that is not saved."""

    group_id = Id(help_text="The group to split, or the one to merge others into.")
    kind = serializers.ChoiceField(list(RuleKind))
    pattern = StrictText(
        max_length=500, required=False, default="", allow_blank=True,
        help_text="Of the whole message: literal text, `*` for anything and, to split, `{value}` once.",
    )  # fmt: skip
    error_type = serializers.ChoiceField(["", *ErrorType], required=False, default="", help_text="Empty: any.")
    error_code = StrictText(max_length=120, required=False, default="", allow_blank=True, help_text="Empty: any.")
    field = StrictText(max_length=255, required=False, default="", allow_blank=True, help_text="Empty: any.")


class NewGroupingRuleShape(GroupingDraftShape):
    title = StrictText(max_length=255, help_text="A name for the rule.")


class GroupingSourceShape(Shape):
    group_id = serializers.IntegerField(read_only=True)
    headline = serializers.CharField(read_only=True)
    count = serializers.IntegerField(read_only=True)


class GroupingLineShape(Shape):
    """A group that would come out."""

    title = serializers.CharField(read_only=True)
    value = serializers.CharField(read_only=True, help_text="What `{value}` stands for; empty in a merge.")
    group_id = serializers.IntegerField(read_only=True, allow_null=True, help_text="null: it would be new.")
    count = serializers.IntegerField(read_only=True)
    sources = GroupingSourceShape(many=True, read_only=True)


class GroupingPreviewShape(Shape):
    """What the rule would do to the newest open dead letters. Nothing is changed."""

    looked_count = serializers.IntegerField(read_only=True)
    matched_count = serializers.IntegerField(read_only=True)
    moved_count = serializers.IntegerField(read_only=True)
    group_count = serializers.IntegerField(read_only=True)
    source_count = serializers.IntegerField(read_only=True)
    lines = GroupingLineShape(many=True, read_only=True)
    problem = serializers.CharField(read_only=True, help_text="Why it could not be saved; empty: it could.")


class GroupingSuggestionShape(Shape):
    label = serializers.CharField(read_only=True, help_text="What the draft takes.")  # type: ignore[assignment]
    draft = NewGroupingRuleShape(read_only=True)


class SuggestionQueryShape(Shape):
    kind = serializers.ChoiceField(list(RuleKind), default=RuleKind.SPLIT)
    other = Id(required=False, help_text="The group to bring in, for a merge.")


class SwitchShape(Shape):
    is_active = StrictBoolean()
