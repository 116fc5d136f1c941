"""What error rules look like to programs."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from syncs.destinations.expressions import MAX_LENGTH
from syncs.destinations.ruled import ASSIGNABLE
from syncs.errors import ErrorType
from syncs.models import ErrorRule
from syncs.rest.shapes import Id, Shape, StrictBoolean, StrictInteger, StrictText
from syncs.services import error_rules
from syncs.services.error_rules import Draft, Place

TYPES, _ASSIGNABLE = list(ErrorType), list(ASSIGNABLE)
FIELDS = ("name", "statuses", "codes", "text", "error_type", "is_permanent", "advice", "is_enabled")


class ErrorRuleShape(Shape):
    id = Id()
    connection = serializers.IntegerField(
        source="connection_id", allow_null=True, help_text="Whose answers; null: of every connection of `kind`."
    )
    kind = serializers.CharField(help_text="Of destination; empty: see `connection`.")
    position = serializers.IntegerField(help_text="Among the rules of its place; the lowest is tried first.")
    is_enabled = serializers.BooleanField()
    name = serializers.CharField()
    statuses = serializers.ListField(child=serializers.IntegerField(), help_text="HTTP status codes; empty: any.")
    codes = serializers.ListField(child=serializers.CharField(), help_text="Error codes of the destination; empty: any.")
    text = serializers.CharField(help_text="A regular expression over the message, without regard to case; empty: any.")
    error_type = serializers.ChoiceField(TYPES, help_text="What an answer is that fits.")
    is_permanent = serializers.BooleanField(allow_null=True, help_text="null: as the error type says.")
    advice = serializers.CharField(help_text="What a support agent should do; shown on the dead letter.")
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    updated_by = serializers.SerializerMethodField(help_text="A user name.")

    def get_updated_by(self, rule: ErrorRule) -> str | None:
        return rule.updated_by.get_username() if rule.updated_by else None


class ErrorRuleWriteShape(Shape):
    name = StrictText(max_length=error_rules.NAME_MAX)
    statuses = serializers.ListField(
        child=StrictInteger(min_value=100, max_value=599), required=False, max_length=error_rules.MAX_STATUSES
    )
    codes = serializers.ListField(
        child=StrictText(max_length=error_rules.CODE_MAX), required=False, max_length=error_rules.MAX_CODES
    )
    text = StrictText(required=False, allow_blank=True, max_length=MAX_LENGTH)
    error_type = serializers.ChoiceField(_ASSIGNABLE)
    is_permanent = StrictBoolean(required=False, allow_null=True)
    advice = StrictText(required=False, allow_blank=True, max_length=error_rules.ADVICE_MAX)
    is_enabled = StrictBoolean(required=False)


class NewErrorRuleShape(ErrorRuleWriteShape):
    connection = Id(required=False, help_text="A destination; or `kind`.")
    kind = StrictText(required=False, max_length=40, help_text="Of destination, for all its connections; or `connection`.")


class ErrorRuleMoveShape(Shape):
    by_places = StrictInteger(min_value=-error_rules.MAX_RULES, max_value=error_rules.MAX_RULES, help_text="-1: one earlier.")


def draft(where: Place, given: dict[str, Any], rule: ErrorRule | None = None) -> Draft:
    """What is given, over the rule as it is."""
    stands: dict[str, Any] = {} if rule is None else {name: getattr(rule, name) for name in FIELDS}
    values = stands | {name: given[name] for name in FIELDS if name in given}
    for name in ("statuses", "codes"):
        values[name] = tuple(values.get(name, ()))
    return Draft(where, **values, pk=rule.pk if rule else None)
