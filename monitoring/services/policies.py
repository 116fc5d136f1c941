"""The thresholds of a sync: its own where somebody set them, and else those of the product."""

from __future__ import annotations

from dataclasses import fields

from django.conf import settings

from monitoring.judging.limits import DEFAULTS, Limits
from monitoring.models import SyncPolicy

NAMES = tuple(one.name for one in fields(Limits) if one.name != "credential_days")


def defaults() -> Limits:
    """Of the product, with what this installation sets."""
    return DEFAULTS.but({"credential_days": settings.RETL["CREDENTIAL_WARNING_DAYS"]})


def chosen(policy: SyncPolicy | None) -> frozenset[str]:
    """Names of the limits that somebody set."""
    return frozenset(name for name in NAMES if policy is not None and getattr(policy, name) is not None)


def limits(policy: SyncPolicy | None) -> Limits:
    return defaults().but({name: getattr(policy, name) for name in chosen(policy)})


def of(sync_id: int) -> tuple[Limits, frozenset[str]]:
    """(limits, names of those that somebody set). One query."""
    policy = SyncPolicy.objects.filter(pk=sync_id).first()
    return limits(policy), chosen(policy)
