"""``{% load rd_rule_advice %}``: the advice of error rules on the pages of a dead letter and of a group."""

from __future__ import annotations

from collections.abc import Sequence

from django import template

from dlq.models import DLQEntry, ErrorGroup
from dlq.services import rule_advice
from syncs.models import ErrorRule

register = template.Library()


@register.simple_tag
def rules_of_entry(entry: DLQEntry) -> Sequence[ErrorRule]:
    """The rule that decided, if one did and is still there."""
    rule = rule_advice.of_entry(entry)
    return [rule] if rule else []


@register.simple_tag
def rules_of_group(group: ErrorGroup) -> Sequence[ErrorRule]:
    """The rules that decided its newest open dead letters."""
    return rule_advice.of_group(group)
