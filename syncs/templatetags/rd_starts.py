"""``{% load rd_starts %}``: the panel of a sync's page that says what starts it, and what it starts."""

from __future__ import annotations

from typing import Any

from django import template
from django.template.context import Context

from syncs.console import words
from syncs.models import Sync
from syncs.services import starts

register = template.Library()


@register.inclusion_tag("admin/syncs/sync/starts_panel.html", takes_context=True)
def rd_starts(context: Context, sync: Sync) -> dict[str, Any]:
    """Two queries; nothing beside the schedule for who may see neither triggers nor chains."""
    user = context["user"]
    return {
        "sync": sync,
        "schedule": words.schedule(sync),
        "starts": starts.of(sync, user),
        "may_see_more": user.has_perm("syncs.view_synctrigger") or user.has_perm("syncs.view_syncchain"),
    }
