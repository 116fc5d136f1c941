"""Teams: who looks after which syncs."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from syncs.admin import acts
from syncs.console.changelist import ConsoleAdmin
from syncs.models import Team
from syncs.services import teams


@admin.register(Team)
class TeamAdmin(ConsoleAdmin):
    list_display = ("name", "description", "people", "sync_number")
    search_fields = ("name", "description")
    search_help_text = "Name or description"
    filter_horizontal = ("members",)
    actions = None
    empty_list = "No teams: everybody who may see syncs sees every sync"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Team]:
        """Those one belongs to; all for who sees every team's syncs."""
        return teams.seen_by(request.user)

    @admin.display(description="People")
    def people(self, team: Any) -> int:
        return int(team.people_count)

    @admin.display(description="Syncs")
    def sync_number(self, team: Any) -> int:
        return int(team.sync_count)

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        acts.demand(self.has_view_permission(request))  # before it is looked for: a redirect would say that it is not there
        return super().history_view(request, object_id, extra_context)

    def save_model(self, request: HttpRequest, obj: Team, form: Any, change: bool) -> None:
        form.held_before = teams.held(Team.objects.get(pk=obj.pk)) if change else None
        super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Its members come after it: only now what changed is known."""
        super().save_related(request, form, formsets, change)
        teams.saved(form.instance, before=form.held_before, by=acts.user_of(request), door="admin")

    def delete_model(self, request: HttpRequest, obj: Team) -> None:
        teams.delete(obj, by=acts.user_of(request), door="admin")
