"""How long things are kept, and purges, as the API gives and takes them."""

from __future__ import annotations

from rest_framework import serializers

from monitoring.api.base import Word
from monitoring.choices import PurgeState, Retained
from monitoring.services.retention.rules import MOST_DAYS
from syncs.rest.shapes import Shape, StrictInteger


class RetentionRuleShape(Shape):
    kind = Word(Retained)
    name = serializers.CharField()
    days = serializers.IntegerField(allow_null=True, help_text="Null: for ever.")
    default_days = serializers.IntegerField(source="about.days", allow_null=True, help_text="Null: for ever.")
    least_days = serializers.IntegerField(source="least", help_text="Fewer are refused.")
    counts_from = serializers.CharField(source="about.counts_from")
    text = serializers.CharField(source="about.text", help_text="What is deleted.")
    keeps = serializers.CharField(source="about.keeps", help_text="What stays though it is old.")
    row_count = serializers.IntegerField(source="count.rows", help_text="Old or not.")
    is_estimate = serializers.BooleanField(source="count.is_about", help_text="The count is the database's own estimate.")
    has_more = serializers.BooleanField(source="count.is_more", help_text="There are more; they were not counted to the end.")
    bytes = serializers.IntegerField(allow_null=True, help_text="Null: nobody knows.")
    oldest_at = serializers.DateTimeField(source="oldest", allow_null=True)
    last_purge_id = serializers.IntegerField(source="last.pk", allow_null=True, help_text="The newest that deleted.")
    last_dry_run_id = serializers.IntegerField(source="look.pk", allow_null=True)
    going_purge_id = serializers.IntegerField(source="going.purge.pk", allow_null=True, help_text="At work now.")
    next_purge_at = serializers.DateTimeField(source="next_at", allow_null=True, help_text="Null: none is due by the day.")


class EditedRetentionRuleShape(Shape):
    days = StrictInteger(min_value=1, max_value=MOST_DAYS, allow_null=True, help_text="Null: for ever.")


class DryRunShape(Shape):
    days = StrictInteger(
        min_value=1, max_value=MOST_DAYS, required=False, help_text="Another time than the rule's, to see what it would delete."
    )


class PurgeShape(Shape):
    id = serializers.IntegerField(source="purge.pk")
    kind = Word(Retained, source="purge.kind")
    name = serializers.CharField()
    state = Word(PurgeState)
    message = serializers.CharField(source="purge.message", help_text="Why it waits, stopped or failed; else empty.")
    is_dry_run = serializers.BooleanField(source="purge.is_dry_run", help_text="It only counts.")
    is_over = serializers.BooleanField(source="purge.is_over")
    before = serializers.DateTimeField(source="purge.before", help_text="What is older than this.")
    deleted_count = serializers.IntegerField(source="purge.deleted_count", help_text="Of a dry run: that would be.")
    kept_count = serializers.IntegerField(source="purge.kept_count", help_text="Old enough, but something still needs it.")
    bytes_freed = serializers.IntegerField(source="purge.bytes_freed", help_text="An estimate; 0: nobody knows.")
    requested_by = serializers.CharField(source="by", help_text="Who asked for it, in words.")
    started_at = serializers.DateTimeField(source="purge.started_at")
    finished_at = serializers.DateTimeField(source="purge.finished_at", allow_null=True)
