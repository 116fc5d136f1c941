"""``{% load rd_people %}``: the bell in the header, and the button that watches a sync."""

from __future__ import annotations

from typing import Any

from django import template
from django.template.context import Context

from monitoring.services import notices, subscriptions
from monitoring.services.audience import CHOOSES

register = template.Library()


@register.inclusion_tag("admin/monitoring/subscription/bell.html", takes_context=True)
def rd_bell(context: Context) -> dict[str, Any]:
    """Nothing for who is told nothing."""
    user = context["user"]
    if not user.is_authenticated or not user.has_perm(CHOOSES):
        return {"is_shown": False}
    count = notices.unread_count(user)
    said = f"{notices.MOST_SAID}+" if count > notices.MOST_SAID else str(count)
    return {"is_shown": True, "count": count, "said": said}


@register.inclusion_tag("admin/monitoring/subscription/watch.html", takes_context=True)
def rd_watch(context: Context, sync: Any) -> dict[str, Any]:
    user = context["user"]
    if sync.is_archived or not user.has_perm(CHOOSES):
        return {"is_shown": False}
    is_watching, count = subscriptions.watchers(sync.pk, user)
    return {
        "is_shown": True,
        "sync": sync,
        "is_watching": is_watching,
        "count": count,
        "csrf_token": context.get("csrf_token"),
    }
