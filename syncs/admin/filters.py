"""The filters of the sync and run lists."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest

from syncs.choices import ConnectionRole, RunStatus, SyncStatus, Trigger, labelled
from syncs.console.filters import Options, OptionsFilter, TimeFilter
from syncs.models import Connection, Sync, Tag
from syncs.services import access, sync_lists


class SyncStatusFilter(OptionsFilter):
    title, parameter = "Status", "status"

    def get_options(self, request: HttpRequest) -> Options:
        return labelled(SyncStatus)


class DestinationFilter(OptionsFilter):
    title, parameter = "Destination", "destination"

    def get_options(self, request: HttpRequest) -> Options:
        found = Connection.objects.filter(role=ConnectionRole.DESTINATION).order_by("name").values_list("pk", "name")
        return [(str(pk), name) for pk, name in found]


class OwnerFilter(OptionsFilter):
    title, parameter = "Owner", "owner"

    def get_options(self, request: HttpRequest) -> Options:
        seen = access.scoped(Sync.objects.all(), request.user, by="pk")
        owners = get_user_model().objects.filter(owned_syncs__in=seen).distinct().order_by("username")
        return [("none", "Nobody"), *((str(pk), name) for pk, name in owners.values_list("pk", "username"))]

    def apply(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        ids = [value for value in self.selected if value != "none"]
        return sync_lists.owned(queryset, ids, or_nobody="none" in self.selected)


class TagFilter(OptionsFilter):
    title, parameter = "Tag", "tag"

    def get_options(self, request: HttpRequest) -> Options:
        """Those that some sync has which the user may see."""
        seen = access.scoped(Sync.objects.all(), request.user, by="pk")
        return [(name, name) for name in Tag.objects.filter(syncs__in=seen).distinct().values_list("name", flat=True)]

    def apply(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return sync_lists.tagged(queryset, self.selected)


class ArchiveFilter(OptionsFilter):
    """The list has either what works or what is archived: it looks at ``is_on`` itself."""

    title, parameter = "Archive", "archived"

    @classmethod
    def is_on(cls, request: HttpRequest) -> bool:
        return request.GET.get(cls.parameter) == "yes"

    def get_options(self, request: HttpRequest) -> Options:
        return [("yes", "Archived syncs")]

    def apply(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset


class RunStatusFilter(OptionsFilter):
    title, parameter = "Status", "status"

    def get_options(self, request: HttpRequest) -> Options:
        return labelled(RunStatus)


class RunSyncFilter(OptionsFilter):
    title, parameter = "Sync", "sync"

    def get_options(self, request: HttpRequest) -> Options:
        seen = access.scoped(Sync.objects.all(), request.user, by="pk")
        return [(str(pk), name) for pk, name in seen.order_by("name").values_list("pk", "name")]


class TriggerFilter(OptionsFilter):
    title, parameter = "Started by", "trigger"

    def get_options(self, request: HttpRequest) -> Options:
        return labelled(Trigger)


class QueuedFilter(TimeFilter):
    title, column = "Time", "queued_at"
