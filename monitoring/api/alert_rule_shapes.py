"""Alert rules as the API gives and takes them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from monitoring.api.base import Word
from monitoring.choices import Condition, Scope, Severity, Window
from monitoring.services import rule_templates
from syncs.rest.shapes import Id, Shape, StrictBoolean, StrictNumber, StrictText


class AlertRuleShape(Shape):
    id = serializers.IntegerField(source="rule.pk")
    name = serializers.CharField(source="rule.name")
    said = serializers.CharField(help_text="Condition and limit, in words.")
    template = serializers.CharField(source="rule.template", help_text="What it was made from; may be empty.")
    condition = Word(Condition, source="rule.condition")
    severity = Word(Severity, source="rule.severity")
    limit = serializers.FloatField(allow_null=True, help_text="Null: each sync's own threshold, or there is none to set.")
    window = Word(Window, allow_null=True, help_text="Null: the condition looks at none.")
    scope = Word(Scope, source="rule.scope")
    scope_words = serializers.CharField(source="about", help_text="Which syncs it is about, in words.")
    sync_id = serializers.IntegerField(source="rule.sync_id", allow_null=True)
    connection_id = serializers.IntegerField(source="rule.connection_id", allow_null=True)
    tag_id = serializers.IntegerField(source="rule.tag_id", allow_null=True)
    channel_ids = serializers.ListField(child=serializers.IntegerField(), help_text="Whom it tells, beside subscriptions.")
    is_active = serializers.BooleanField(source="rule.is_active")
    tells_recovery = serializers.BooleanField(source="rule.tells_recovery")
    is_muted = serializers.BooleanField()
    muted_until = serializers.DateTimeField(source="rule.muted_until", allow_null=True)
    mute_reason = serializers.CharField(source="rule.mute_reason")
    muted_by = serializers.CharField(source="rule.muted_by.username", allow_null=True)
    owner_id = serializers.IntegerField(source="rule.owner_id", allow_null=True)
    owner = serializers.CharField(source="rule.owner.username", allow_null=True)
    runbook_url = serializers.CharField(source="rule.runbook_url")
    open_incident_count = serializers.IntegerField(source="open_count", help_text="Of those that you may see.")
    week_incident_count = serializers.IntegerField(source="week_count", help_text="Opened within 7 days.")
    created_at = serializers.DateTimeField(source="rule.created_at")
    updated_at = serializers.DateTimeField(source="rule.updated_at")


class EditedAlertRuleShape(Shape):
    name = StrictText(max_length=120)
    severity = Word(Severity)
    limit = StrictNumber(
        min_value=0,
        allow_null=True,
        required=False,
        help_text="See `/alert-rules/conditions`; null: that of each sync.",
    )
    window = Word(Window, required=False, allow_null=True, help_text="Only where the condition looks at one.")
    scope = Word(Scope, required=False)
    sync_id = Id(required=False, allow_null=True, help_text="With the scope sync.")
    connection_id = Id(required=False, allow_null=True, help_text="With the scope connection.")
    tag_id = Id(required=False, allow_null=True, help_text="With the scope tag.")
    channel_ids = serializers.ListField(child=Id(), required=False, max_length=100, help_text="All of them; none: `[]`.")
    is_active = StrictBoolean(required=False)
    tells_recovery = StrictBoolean(required=False)
    owner_id = Id(required=False, allow_null=True)
    runbook_url = StrictText(required=False, allow_blank=True, max_length=500, help_text="https:// or http://; may be empty.")
    confirm = StrictBoolean(
        required=False, help_text="Save it although it could never fire, or would have fired too often in the last 7 days."
    )


class NewAlertRuleShape(EditedAlertRuleShape):
    """``template`` fills in what is left out; without one, condition, name and severity are needed."""

    template = serializers.ChoiceField(
        choices=list(rule_templates.BY_KEY),
        required=False,
        help_text="Fills in what is left out; `/alert-rules/templates`.",
    )
    condition = Word(Condition, required=False, help_text="Left out: that of the template.")
    name = StrictText(max_length=120, required=False, help_text="Left out: that of the template.")
    severity = Word(Severity, required=False, help_text="Left out: that of the template, or warning.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        template = rule_templates.BY_KEY.get(attrs.get("template", ""))
        missing = {} if template else {name: ["Give it, or a template."] for name in ("condition", "name") if name not in attrs}
        if template and attrs.get("condition", template.condition) != template.condition:
            missing = {"condition": [f"The template is about {template.condition.value}. Leave one of the two out."]}
        if missing:
            raise serializers.ValidationError(missing)
        return attrs


class RuleFiringShape(Shape):
    sync_id = serializers.IntegerField()
    sync = serializers.CharField(source="sync_name")
    began_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True, help_text="Null: it would fire still.")
    text = serializers.CharField()


class RulePastShape(Shape):
    """What a rule would have done in the last 7 days."""

    sentence = serializers.CharField()
    since = serializers.DateTimeField()
    is_testable = serializers.BooleanField(help_text="False: what the condition looks at is not kept with a time.")
    is_doubtful = serializers.BooleanField(help_text="It could never fire, or fires too often: saving it needs `confirm`.")
    scope_count = serializers.IntegerField(help_text="Syncs in its scope.")
    looked_count = serializers.IntegerField(help_text="Syncs that were looked at in time.")
    firing_count = serializers.IntegerField(source="count")
    hidden_count = serializers.IntegerField(help_text="Firings of syncs that you may not see.")
    incident_count = serializers.IntegerField(help_text="Incidents of this condition, where it cannot be tested.")
    share = serializers.FloatField(help_text="Of the time, from 0 to 1, in which it would have been firing.")
    firings = RuleFiringShape(source="newest", many=True, help_text="The newest 100.")


class RuleTemplateShape(Shape):
    key = serializers.CharField()
    name = serializers.CharField()
    said = serializers.CharField()
    condition = Word(Condition)
    severity = Word(Severity)
    limit = serializers.FloatField(allow_null=True)


class RuleConditionLimitShape(Shape):
    label_text = serializers.CharField(source="label", help_text="What the number is.")
    unit = serializers.CharField()
    most = serializers.IntegerField()
    is_whole = serializers.BooleanField()


class RuleConditionShape(Shape):
    condition = Word(Condition)
    name = serializers.CharField()
    text = serializers.CharField()
    limit = RuleConditionLimitShape(allow_null=True, help_text="Null: there is nothing to set.")
    default_text = serializers.CharField(help_text="What no limit means; empty where there is none to set.")
    window_text = serializers.CharField(help_text="What its window means; empty: it looks at none.")
    is_about_syncs = serializers.BooleanField(help_text="False: about Redrive itself; the scope is all.")
    has_past = serializers.BooleanField(help_text="Whether it can be tested against the past.")
