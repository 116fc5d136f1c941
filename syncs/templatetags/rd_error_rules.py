"""``{% load rd_error_rules %}``: what pages of connections show of their error rules."""

from __future__ import annotations

from django import template

from syncs.models import Connection
from syncs.services import error_rule_list

register = template.Library()


@register.simple_tag
def error_rule_count(connection: Connection) -> int:
    """Rules that are on and hold for the answers of this connection."""
    return error_rule_list.count_for(connection)
