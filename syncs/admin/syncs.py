"""The sync list, the edit form, and the addresses of the pages of one sync."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import connection
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString

from syncs.admin import (
    acts,
    drift_page,
    mapper_page,
    preview_page,
    starts_page,
    sync_edit,
    sync_files,
    sync_keeping,
    sync_pages,
)
from syncs.admin.address import run_url, sync_url
from syncs.admin.filters import ArchiveFilter, DestinationFilter, OwnerFilter, SyncStatusFilter, TagFilter
from syncs.admin.sync_form import FieldMappingInline, SyncForm
from syncs.choices import RunStatus, SyncStatus, labelled
from syncs.console import formats, links, words
from syncs.console.changelist import ConsoleAdmin
from syncs.models import Sync
from syncs.services import access, overview, sync_edits, sync_lists


@admin.register(Sync)
class SyncAdmin(ConsoleAdmin):
    list_display = ("sync", "state", "route", "schedule", "last_run", "next_run", "open_entries", "owner")
    list_display_links = None
    list_filter = (SyncStatusFilter, DestinationFilter, OwnerFilter, TagFilter, ArchiveFilter)
    list_select_related = ("source", "destination", "owner")
    list_per_page = 50
    search_fields = sync_lists.SEARCHED
    search_help_text = "Name, destination or object"
    actions = ("run_selected", "pause_selected", "resume_selected")
    empty_list = "No syncs yet"
    form = SyncForm
    inlines = (FieldMappingInline,)
    save_on_top = False

    fieldsets = sync_edit.FIELDSETS
    formfield_overrides = sync_edit.WIDGETS
    autocomplete_fields = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Sync]:
        is_list = _is_list(request)
        kept = Sync.objects.filter(is_archived=is_list and ArchiveFilter.is_on(request))
        syncs = access.scoped(kept, request.user, by="pk")
        return overview.with_list_figures(syncs) if is_list else syncs

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Sync], search_term: str
    ) -> tuple[QuerySet[Sync], bool]:
        return sync_lists.searched(queryset, search_term), False

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        return ("urgency", "name") if _is_list(request) else ("name",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # runs and dead letters refer to it for ever

    def has_run_permission(self, request: HttpRequest) -> bool:
        return acts.may_run(request)

    def has_pause_permission(self, request: HttpRequest) -> bool:
        return acts.may_pause(request)

    # --- columns
    @admin.display(description="Sync", ordering="name")
    def sync(self, sync: Sync) -> SafeString:
        note = "" if sync.status == SyncStatus.HEALTHY else sync.status_reason
        return format_html(
            '<a class="rd-name" href="{}">{}</a><span class="rd-sub">{}</span>', sync_url(sync.pk), sync.name, note
        )

    @admin.display(description="Status", ordering="urgency")
    def state(self, sync: Sync) -> SafeString:
        return formats.badge(sync.status, sync.get_status_display())

    @admin.display(description="From and to")
    def route(self, sync: Sync) -> SafeString:
        return format_html('{} / {}<span class="rd-sub">from {}</span>', sync.destination, sync.destination_object, sync.source)

    @admin.display(description="Schedule")
    def schedule(self, sync: Sync) -> SafeString | str:
        said, zone, rest = words.schedule(sync).partition(" (")
        return format_html('{}<span class="rd-sub">{}</span>', said, rest.rstrip(")")) if zone else said

    @admin.display(description="Last run", ordering="last_run_id")
    def last_run(self, sync: Any) -> SafeString | str:
        if sync.last_run_id is None:
            return "never"
        label = dict(labelled(RunStatus))[sync.last_run_status]
        return format_html(
            '<a href="{}">{}</a><span class="rd-sub">{}</span>',
            run_url(sync.last_run_id),
            formats.badge(sync.last_run_status, label),
            formats.moment(sync.last_run_at),
        )

    @admin.display(description="Next run", ordering="next_run_at")
    def next_run(self, sync: Sync) -> SafeString | str:
        return formats.moment(sync.next_run_at)

    @admin.display(description="Dead letters", ordering="open_count")
    def open_entries(self, sync: Any) -> SafeString | str:
        if not sync.open_count:
            return "0"
        return formats.link(links.entries(sync=str(sync.pk)), formats.number(sync.open_count))

    # --- acts on a selection
    @admin.action(description="Run now", permissions=["run"])
    def run_selected(self, request: HttpRequest, syncs: QuerySet[Sync]) -> None:
        acts.on_syncs(request, syncs, acts.run_now)

    @admin.action(description="Pause", permissions=["pause"])
    def pause_selected(self, request: HttpRequest, syncs: QuerySet[Sync]) -> None:
        acts.on_syncs(request, syncs, acts.pause)

    @admin.action(description="Resume", permissions=["pause"])
    def resume_selected(self, request: HttpRequest, syncs: QuerySet[Sync]) -> None:
        acts.on_syncs(request, syncs, acts.resume)

    # --- pages
    def get_urls(self) -> list[URLPattern]:
        def view(function: Any, route: str, name: str) -> URLPattern:
            def bound(request: HttpRequest, **kwargs: Any) -> HttpResponse:
                answer: HttpResponse = function(self, request, **kwargs)
                return answer

            return path(route, self.admin_site.admin_view(bound), name=f"syncs_sync_{name}")

        return [
            view(sync_pages.page, "<int:pk>/", "page"),
            view(preview_page.preview, "<int:pk>/preview/", "preview"),
            view(preview_page.send, "<int:pk>/send/", "send"),
            view(mapper_page.page, "<int:pk>/mapping/", "mapping"),
            view(drift_page.page, "<int:pk>/drift/", "drift"),
            view(starts_page.page, "<int:pk>/starts/", "starts"),
            view(starts_page.act, "<int:pk>/starts/act/", "starts_act"),
            view(sync_pages.version, "<int:pk>/versions/<int:number>/", "version"),
            view(sync_pages.act, "<int:pk>/do/<str:name>/", "act"),
            view(sync_files.apply, "apply/", "apply"),
            view(sync_files.download, "<int:pk>/yaml/", "yaml"),
            view(sync_keeping.clone, "<int:pk>/clone/", "clone"),
            view(sync_keeping.archive, "<int:pk>/archive/", "archive"),
            view(sync_keeping.unarchive, "<int:pk>/unarchive/", "unarchive"),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        mine = access.scoped(Sync.objects.active(), request.user, by="pk")
        is_archive = ArchiveFilter.is_on(request)
        counts = overview.status_counts(mine) if request.method == "GET" and not is_archive else {}
        title = "Archived syncs" if is_archive else "Syncs"
        may_apply = request.user.has_perms(("syncs.add_sync", "syncs.change_sync"))
        chips = sync_pages.status_chips(counts, request.GET.getlist("status"))
        context = {"title": title, "may_apply": may_apply, "status_chips": chips}
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        if object_id and (archived := sync_keeping.refused_edit(request, object_id)):
            return archived
        if request.method == "POST":
            sync_edit.check(self, request, object_id)
        return super().changeform_view(request, object_id, form_url, extra_context)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> type[ModelForm[Sync]]:
        form: type[ModelForm[Sync]] = super().get_form(request, obj, change, **kwargs)
        return type("SyncForm", (form,), {"issues": getattr(request, "sync_issues", ())})

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.name == "team" and field is not None:
            field.queryset = access.teams_of(request.user)  # type: ignore[attr-defined]
        if db_field.is_relation and field is not None:  # plain choices: the other side has pages of its own
            for link in ("add", "change", "delete", "view"):
                setattr(field.widget, f"can_{link}_related", False)
        return field

    def get_formset_kwargs(self, request: HttpRequest, obj: Any, inline: Any, prefix: str) -> dict[str, Any]:
        given: dict[str, Any] = super().get_formset_kwargs(request, obj, inline, prefix)
        return {**given, "issues": getattr(request, "line_issues", {})}

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Sync | None:
        found: Sync | None = super().get_object(request, object_id, from_field)
        if found is not None and request.method == "POST" and connection.in_atomic_block:
            Sync.objects.select_for_update(no_key=True).get(pk=found.pk)  # nobody saves it between the look and the save
            found = super().get_object(request, object_id, from_field)
        return found

    def save_model(self, request: HttpRequest, obj: Sync, form: Any, change: bool) -> None:
        request.sync_before = sync_edits.content(obj) if change else None  # type: ignore[attr-defined]
        super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        for formset in formsets:
            formset.number_lines()
            formset.free_names()
        super().save_related(request, form, formsets, change)
        sync_edit.settle(request, form)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        return self._to_page(request, obj, super().response_add(request, obj, post_url_continue))

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        return self._to_page(request, obj, super().response_change(request, obj))

    def _to_page(self, request: HttpRequest, obj: Any, stock: HttpResponse) -> HttpResponse:
        stays = {"_continue", "_addanother", "_popup"} & request.POST.keys()
        return stock if stays else HttpResponseRedirect(sync_url(obj.pk))


def _is_list(request: HttpRequest) -> bool:
    match = request.resolver_match
    return match is not None and match.url_name == "syncs_sync_changelist"
