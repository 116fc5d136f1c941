"""What error rules make of dead letters, as programs read it."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from dlq.models import Reclassification
from dlq.services import rule_walks
from syncs.api.error_rule_shapes import TYPES, ErrorRuleWriteShape
from syncs.destinations.ruled import ASSIGNABLE
from syncs.rest.shapes import Id, Shape, StrictText


class RuledKindShape(Shape):
    type = serializers.ChoiceField(TYPES)
    is_permanent = serializers.BooleanField()


class RuleChangeShape(Shape):
    before = RuledKindShape()
    after = RuledKindShape()
    count = serializers.IntegerField()
    open_count = serializers.IntegerField(help_text="Of these, open ones that applying the rules would change now.")
    is_change = serializers.BooleanField(help_text="False: they are so already.")


class RuleGroupShape(Shape):
    id = Id()
    title = serializers.CharField()
    count = serializers.IntegerField()


class RuleCountShape(Shape):
    name = serializers.CharField(help_text="Of the rule; empty: none, the destination's own word stands.")
    count = serializers.IntegerField()


class RuleSampleShape(Shape):
    id = Id(source="pk", help_text="Of the dead letter.")
    row_key = serializers.CharField()
    sync = serializers.CharField()
    message = serializers.CharField(help_text="Values of people are masked.")
    before = RuledKindShape()
    after = RuledKindShape()


class RulePreviewShape(Shape):
    looked_count = serializers.IntegerField(help_text="The newest dead letters that were held against the rule.")
    is_sample = serializers.BooleanField(help_text="There are more.")
    is_cut_short = serializers.BooleanField(help_text="Matching took too long, so fewer were looked at.")
    sync_count = serializers.IntegerField(help_text="Of the syncs that you may see.")
    matched_count = serializers.IntegerField(help_text="The conditions hold.")
    decided_count = serializers.IntegerField(help_text="And no earlier rule decides, so this one does.")
    protected_count = serializers.IntegerField(help_text="The conditions hold, but no rule may touch them.")
    changed_count = serializers.IntegerField()
    open_count = serializers.IntegerField(help_text="Open ones that applying the rules would change now.")
    changes = RuleChangeShape(many=True)
    groups = serializers.SerializerMethodField(help_text="Error groups that they stand in, the largest first.")
    earlier = serializers.SerializerMethodField(help_text="Rules that come first and decide.")
    taken = serializers.SerializerMethodField(help_text="Rules that would decide less.")
    samples = RuleSampleShape(many=True)
    problem = serializers.CharField(help_text="Why nothing could be looked at; empty: it could.")

    @extend_schema_field(RuleGroupShape(many=True))
    def get_groups(self, preview: Any) -> list[dict[str, Any]]:
        return [{"id": group.pk, "title": group.title, "count": count} for group, count in preview.groups]

    @extend_schema_field(RuleCountShape(many=True))
    def get_earlier(self, preview: Any) -> list[dict[str, Any]]:
        return [{"name": name, "count": count} for name, count in preview.earlier]

    @extend_schema_field(RuleCountShape(many=True))
    def get_taken(self, preview: Any) -> list[dict[str, Any]]:
        return [{"name": name, "count": count} for name, count in preview.taken]


class ErrorRuleTrialShape(ErrorRuleWriteShape):
    """Any part of a rule: the rest is as it is saved."""

    name = StrictText(required=False, max_length=120)
    error_type = serializers.ChoiceField(list(ASSIGNABLE), required=False)


class RulePlaceShape(Shape):
    connection = Id(required=False, help_text="A destination; or `kind`.")
    kind = StrictText(required=False, max_length=40, help_text="Of destination, for all its connections; or `connection`.")


class NewApplicationShape(RulePlaceShape):
    reason = StrictText(required=False, allow_blank=True, max_length=255, help_text="Kept in the history.")


class RuleLineShape(Shape):
    rule = serializers.CharField(help_text="Which rule decides; empty: none, the destination's own word comes back.")
    before = RuledKindShape()
    after = RuledKindShape()
    count = serializers.IntegerField()


class RuleOutlookShape(Shape):
    looked_count = serializers.IntegerField(help_text="Open dead letters, those that were refused last.")
    changed_count = serializers.IntegerField()
    is_sample = serializers.BooleanField(help_text="There are more.")
    syncs = serializers.ListField(child=serializers.CharField(), source="sync_names", help_text="Those that you may see.")
    lines = RuleLineShape(many=True)
    problem = serializers.CharField()


class ApplicationShape(Shape):
    id = Id()
    connection = serializers.IntegerField(source="connection_id", allow_null=True)
    kind = serializers.CharField()
    requested_by = serializers.SerializerMethodField(help_text="A user name.")
    requested_at = serializers.DateTimeField()
    reason = serializers.CharField()
    is_over = serializers.BooleanField()
    is_cancelled = serializers.BooleanField()
    looked_count = serializers.IntegerField()
    changed_count = serializers.IntegerField()
    finished_at = serializers.DateTimeField(allow_null=True)

    def get_requested_by(self, walk: Reclassification) -> str | None:
        return walk.requested_by.get_username() if walk.requested_by else None


class ApplicationDetailShape(ApplicationShape):
    lines = serializers.SerializerMethodField(help_text="What it has changed so far, most first; at most 50.")

    @extend_schema_field(RuleLineShape(many=True))
    def get_lines(self, walk: Reclassification) -> list[dict[str, Any]]:
        return [dict(one) for one in RuleLineShape(rule_walks.lines(walk), many=True).data]
