"""System checks: tokens and networks that would let in nobody, or everybody, are named when Redrive starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from monitoring.services import doorkeeping


@register()
def check_machine_doors(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    knobs = settings.RETL
    found = doorkeeping.issues(
        knobs["METRICS_TOKENS"], knobs["METRICS_NETWORKS"], names=("RETL_METRICS_TOKENS", "RETL_METRICS_NETWORKS")
    )
    found += doorkeeping.issues(knobs["FEED_TOKENS"], (), names=("RETL_FEED_TOKENS", ""))
    hint = 'Make a token with: python -c "import secrets; print(secrets.token_urlsafe(32))"'
    return [Error(issue.message, hint=hint, id="monitoring.E001") for issue in found]


@register()
def check_silence(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """A worker ticks every five seconds, and a deployment takes a moment."""
    return [
        Error(f"RETL_{name} is {settings.RETL[name]}: less than 30 seconds would cry wolf.", id="monitoring.E002")
        for name in ("WORKER_SILENCE_SECONDS", "QUEUE_WAIT_SECONDS")
        if settings.RETL[name] < 30
    ]
