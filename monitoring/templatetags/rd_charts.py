"""``{% load rd_charts %}``: charts of monitoring on pages of other apps."""

from __future__ import annotations

from typing import Any

from django import template

from monitoring.admin import sync_charts
from syncs.models import Sync

register = template.Library()


@register.inclusion_tag("monitoring/sync_charts.html", takes_context=True)
def rd_sync_charts(context: dict[str, Any], sync: Sync) -> dict[str, Any]:
    """Rows, durations and dead letters of a sync over the time that the address asks for."""
    return sync_charts.context(context["request"], sync, context.get("open_count"))
