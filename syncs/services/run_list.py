"""Runs as lists and single answers read them: who sees which, with what is shown beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import F, QuerySet

from syncs.models import Run
from syncs.services import access

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

_LARGE = ("error_summary", "failure_message", "options")  # not for lists


def lines(user: User | AnonymousUser) -> QuerySet[Run]:
    """For a list: without the large texts."""
    seen = access.scoped(Run.objects.all(), user)
    return seen.defer(*_LARGE).select_related("sync", "requested_by").annotate(version_number=F("version__number"))


def whole(user: User | AnonymousUser) -> QuerySet[Run]:
    """For one of them."""
    related = ("sync", "requested_by", "cancel_requested_by")
    return access.scoped(Run.objects.select_related(*related), user).annotate(version_number=F("version__number"))
