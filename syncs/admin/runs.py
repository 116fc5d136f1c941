"""The run list and the run page. Runs are read-only: the acts are cancel and run again."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect, JsonResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString

from syncs.admin import acts, run_page
from syncs.admin.address import run_url, sync_url
from syncs.admin.filters import QueuedFilter, RunStatusFilter, RunSyncFilter, TriggerFilter
from syncs.console import formats, links, words
from syncs.console.changelist import ConsoleAdmin, NewestFirstChangeList
from syncs.models import Run
from syncs.services import access, run_requests


@admin.register(Run)
class RunAdmin(ConsoleAdmin):
    list_display = ("number", "state", "sync_link", "asked_by", "started", "took", "read", "accepted", "dead_lettered")
    list_display_links = None
    list_filter = (RunStatusFilter, RunSyncFilter, TriggerFilter, QueuedFilter)
    list_select_related = ("sync", "requested_by")
    list_per_page = 50
    ordering = ("-id",)
    sortable_by = ()
    actions = None
    change_list_class = NewestFirstChangeList
    empty_list = "No runs yet"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        return access.scoped(Run.objects.all(), request.user).defer("error_summary", "failure_message", "options")

    # --- columns
    @admin.display(description="Run")
    def number(self, run: Run) -> SafeString:
        return format_html('<a class="rd-name" href="{}">#{}</a>', run_url(run.pk), run.pk)

    @admin.display(description="Status")
    def state(self, run: Run) -> SafeString:
        return format_html('{}<span class="rd-sub">{}</span>', formats.badge(run.status, run.get_status_display()), run.reason)

    @admin.display(description="Sync")
    def sync_link(self, run: Run) -> SafeString | str:
        return formats.link(sync_url(run.sync_id), run.sync.name)

    @admin.display(description="Started by")
    def asked_by(self, run: Run) -> str:
        return words.started_by(run)

    @admin.display(description="Started")
    def started(self, run: Run) -> SafeString | str:
        if run.started_at:
            return formats.moment(run.started_at, seconds=True)
        return format_html('<span class="rd-quiet">queued {}</span>', formats.moment(run.queued_at, seconds=True))

    @admin.display(description="Duration")
    def took(self, run: Run) -> SafeString:
        return _number(formats.span(run.duration()))

    @admin.display(description="Read")
    def read(self, run: Run) -> SafeString:
        return _number(formats.number(run.read_count))

    @admin.display(description="Accepted")
    def accepted(self, run: Run) -> SafeString:
        return _number(formats.number(run.accepted_count))

    @admin.display(description="Dead-lettered")
    def dead_lettered(self, run: Run) -> SafeString:
        text = formats.number(run.dead_lettered_count)
        return _number(formats.link(links.entries(run=str(run.pk)), text) if run.dead_lettered_count else text)

    # --- pages
    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("<int:pk>/progress/", wrap(self.progress_view), name="syncs_run_progress"),
            path("<int:pk>/do/<str:name>/", wrap(self.act_view), name="syncs_run_act"),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"title": "Runs", **(extra_context or {})})

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        if request.method != "GET":
            return HttpResponseNotAllowed(["GET"])
        run = self._find(request, object_id)
        context = {**self.admin_site.each_context(request), "opts": self.opts, **run_page.context(request, run)}
        return TemplateResponse(request, "admin/syncs/run/page.html", context)

    def progress_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        run = self._find(request, pk)
        html = render_to_string("admin/syncs/run/live.html", run_page.live(request, run), request)
        return JsonResponse({"html": html, "status": run.status, "is_active": run.is_active})

    def act_view(self, request: HttpRequest, pk: int, name: str) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        acts.demand(acts.may_run(request))
        run = self._find(request, pk)
        if name == "cancel":
            acts.cancel(request, run)
            return HttpResponseRedirect(run_url(run.pk))
        if name != "again" or not run_requests.can_be_repeated(run):
            raise Http404(name)
        again = acts.run_again(request, run)
        return HttpResponseRedirect(run_url((again or run).pk))

    def _find(self, request: HttpRequest, pk: int | str | None) -> Run:
        acts.demand(self.has_view_permission(request))
        related = ("sync", "sync__destination", "version", "requested_by", "cancel_requested_by")
        text = str(pk)
        runs = access.scoped(Run.objects.select_related(*related), request.user)
        run = runs.filter(pk=int(text)).first() if text.isdecimal() and len(text) < 19 else None
        if run is None:
            raise Http404(f"There is no run {pk}.")
        return run


def _number(text: SafeString | str) -> SafeString:
    return format_html('<span class="rd-n">{}</span>', text)
