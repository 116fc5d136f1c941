"""``{% load rd_silence %}``: a banner where people wait for something to happen, and no worker lives that could do it."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils import timezone

from monitoring.services import silence
from syncs.console import formats

register = template.Library()


@register.inclusion_tag("monitoring/silent.html")
def rd_silent() -> dict[str, Any]:
    """Nothing while a worker ticks. One query."""
    felt = silence.pulse(timezone.now())
    if felt.tick is None:
        return {"is_shown": True, "since": ""}
    return {"is_shown": felt.is_silent, "since": formats.span(felt.tick.age(felt.now))}
