"""Which syncs a list holds, and in which order: the filters of the console's list, by the same conditions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db.models import DateTimeField, QuerySet, Value
from django.db.models.functions import Coalesce
from rest_framework.request import Request

from syncs.choices import SyncStatus, labelled
from syncs.models import Sync
from syncs.querysets import SyncQuerySet
from syncs.rest.filters import FlagFilter, IdsFilter, StrictFilterSet, TextFilter, TextsFilter, WordsFilter
from syncs.services import access, overview, sync_lists

_RELATED = ("source", "destination", "owner", "team", "current_version")
_NEVER = datetime(9999, 1, 1, tzinfo=UTC)
ORDERS = {
    "urgency": ("urgency", "name"),
    "name": ("name",),
    "-name": ("-name",),
    "last_run": ("last_run_order", "id"),
    "-last_run": ("-last_run_order", "-id"),
    "next_run": ("next_run_order", "id"),
    "open_count": ("open_count", "id"),
    "-open_count": ("-open_count", "-id"),
}


class SyncFilters(StrictFilterSet):
    status = WordsFilter(choices=labelled(SyncStatus), label="Any of these statuses.")
    destination = IdsFilter(label="Any of these destination connections.")
    source = IdsFilter(label="Any of these source connections.")
    owner = TextsFilter(pattern="none|[1-9][0-9]{0,17}", method="by_owner", label="Any of these people; `none`: nobody's.")
    tag = TextsFilter(pattern="[-a-zA-Z0-9_]{1,40}", method="by_tag", label="Any of these tags.")
    team = IdsFilter(label="Any of these teams.")
    archived = FlagFilter(field_name="is_archived", label="`true`: the archive instead of what works.")
    q = TextFilter(max_length=200, method="by_words", label="Words in the name, description, object or destination.")

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.form.cleaned_data.get("archived") in ("", None):
            queryset = queryset.filter(is_archived=False)
        return super().filter_queryset(queryset)

    def by_owner(self, queryset: QuerySet[Any], name: str, values: list[str]) -> QuerySet[Any]:
        ids = [value for value in values if value != "none"]
        return sync_lists.owned(queryset, ids, or_nobody="none" in values) if values else queryset

    def by_tag(self, queryset: QuerySet[Any], name: str, values: list[str]) -> QuerySet[Any]:
        return sync_lists.tagged(queryset, values) if values else queryset

    def by_words(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return sync_lists.searched(queryset, value)


def seen(request: Request) -> SyncQuerySet:
    """The syncs that the caller sees, archived ones too."""
    return access.scoped(Sync.objects.all(), request.user, by="pk")


def with_all(syncs: QuerySet[Any]) -> QuerySet[Any]:
    """What the shapes show, in the query that finds them."""
    related: SyncQuerySet = syncs.select_related(*_RELATED)  # type: ignore[assignment]
    return overview.with_list_figures(related.with_tags())


def ordered(syncs: QuerySet[Any]) -> QuerySet[Any]:
    """Adds the columns of ``ORDERS`` that may be NULL, without NULLs."""
    next_run = Coalesce("next_run_at", Value(_NEVER, DateTimeField()))
    made: QuerySet[Any] = syncs.annotate(last_run_order=Coalesce("last_run_id", 0), next_run_order=next_run)
    return made
