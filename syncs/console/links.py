"""Addresses of pages of other apps, by name: a page that is not installed gives no link instead of an error."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

from django.urls import NoReverseMatch, reverse


def page(name: str, *args: object, **query: str | int | Sequence[str]) -> str:
    """``page("admin:syncs_run_changelist", status=["failed"])``; "" where there is no such page."""
    try:
        url = reverse(name, args=args)
    except NoReverseMatch:
        return ""
    return f"{url}?{urlencode(query, doseq=True)}" if query else url


def entries(**query: str | int | Sequence[str]) -> str:
    """The dead letter list with filters; without a status the live ones."""
    query.setdefault("status", ["open", "queued", "inflight"])
    return page("admin:dlq_dlqentry_changelist", **query)
