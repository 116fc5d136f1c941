"""Tags: words by which syncs are found, filtered and alerted on together."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from syncs.admin import acts
from syncs.console import formats, links
from syncs.console.changelist import ConsoleAdmin
from syncs.models import Tag
from syncs.services import access, tags


@admin.register(Tag)
class TagAdmin(ConsoleAdmin):
    list_display = ("name", "sync_number")
    search_fields = ("name",)
    search_help_text = "Name"
    actions = None
    empty_list = "No tags yet"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Tag]:
        """Tags are everybody's; only the syncs that the user may see are counted."""
        ids = access.visible_sync_ids(request.user)
        seen = Q(syncs__is_archived=False) & (Q() if ids is None else Q(syncs__in=ids))
        return Tag.objects.annotate(sync_count=Count("syncs", filter=seen, distinct=True)).order_by("name")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and tags.may_touch(request.user, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and tags.may_touch(request.user, obj)

    @admin.display(description="Syncs")
    def sync_number(self, tag: Any) -> SafeString | str:
        url = links.page("admin:syncs_sync_changelist", tag=tag.name) if tag.sync_count else ""
        return formats.link(url, formats.number(tag.sync_count))

    def save_model(self, request: HttpRequest, obj: Tag, form: Any, change: bool) -> None:
        before = str(form.initial.get("name", "")) if change else ""
        super().save_model(request, obj, form, change)
        tags.saved(obj, before=before, by=acts.user_of(request), door="admin")

    def delete_model(self, request: HttpRequest, obj: Tag) -> None:
        tags.delete(obj, by=acts.user_of(request), door="admin")

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Without the list of syncs that have it: some of them may be another team's."""
        _found, _counts, _perms, protected = super().get_deleted_objects(objs, request)
        return [str(tag) for tag in objs], {"tags": len(objs)}, set(), protected

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        acts.demand(self.has_view_permission(request))  # before it is looked for: a redirect would say that it is not there
        return super().history_view(request, object_id, extra_context)
