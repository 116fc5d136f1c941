"""``{% load rd_status %}``: the panel of a sync's page that says what speaks against it, and how it was."""

from __future__ import annotations

from typing import Any

from django import template
from django.template.context import Context
from django.utils import timezone

from monitoring.services import status_history

register = template.Library()
CHANGES = 4


@register.inclusion_tag("admin/monitoring/status/panel.html", takes_context=True)
def rd_status_panel(context: Context, sync: Any) -> dict[str, Any]:
    """Nothing for an archived sync, or for who may not see the history. Two queries."""
    user = context["user"]
    if sync.is_archived or not user.has_perm("monitoring.view_statuschange"):
        return {"is_shown": False}
    judged_at, findings = status_history.judged(sync)
    return {
        "is_shown": True,
        "sync": sync,
        "perms": context["perms"],
        "judged_at": judged_at,
        "findings": findings,
        "lines": status_history.latest(sync, timezone.now(), CHANGES),
        "may_see_thresholds": user.has_perm("monitoring.view_syncpolicy"),
    }
