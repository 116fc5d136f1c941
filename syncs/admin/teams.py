"""Teams: who looks after which syncs."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse

from syncs.admin import acts
from syncs.console.changelist import ConsoleAdmin
from syncs.models import Team
from syncs.services import access


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
        mine = access.teams_of(request.user).values("pk")
        return (
            Team.objects.filter(pk__in=mine)
            .annotate(people_count=Count("members", distinct=True), sync_count=Count("syncs", distinct=True))
            .order_by("name")
        )

    @admin.display(description="People")
    def people(self, team: Any) -> int:
        return int(team.people_count)

    @admin.display(description="Syncs")
    def sync_number(self, team: Any) -> int:
        return int(team.sync_count)

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        acts.demand(self.has_view_permission(request))  # before it is looked for: a redirect would say that it is not there
        return super().history_view(request, object_id, extra_context)
