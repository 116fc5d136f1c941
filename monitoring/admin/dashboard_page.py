"""The console's first page: figures, drawings and addresses of ``services.dashboard``."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils import timezone

from monitoring.admin import dashboard_charts, dashboard_lines, dashboard_tiles
from monitoring.services import dashboard
from monitoring.services.dashboard import Dashboard
from monitoring.services.dashboard_filter import PERIOD, WALL
from monitoring.services.spans import SPANS
from syncs.console import links

REFRESH_SECONDS = 60
SHOWN = 8  # syncs and incidents; the rest is a link away
SHOWN_ON_WALL = 5


def page(site: AdminSite, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
    """A filter that cannot be read is answered with status 400, and with no figures."""
    given = {name: request.GET.getlist(name) for name in request.GET}
    made = dashboard.build(request.user, given, now=timezone.now())
    context = {**site.each_context(request), "title": site.index_title, "subtitle": None, **_context(made)}
    request.current_app = site.name
    is_wall = made.filter.is_wall and not made.filter.problems and not made.sight.is_blind
    template = "admin/wall.html" if is_wall else "admin/index.html"
    status = 400 if made.filter.problems else 200
    return TemplateResponse(request, template, {**context, **(extra_context or {})}, status=status)


def _context(made: Dashboard) -> dict[str, Any]:
    chosen = made.filter
    found: dict[str, Any] = {
        "dashboard": made,
        "sight": made.sight,
        "filter": chosen,
        "parameters": {"period": PERIOD, "wall": WALL},
        "periods": [
            {"label": one.label, "query": chosen.query(period=one.key), "is_on": one.key == chosen.span.key}
            for one in SPANS.values()
        ],
        "wall_url": chosen.query(wall=True),
        "leave_url": chosen.query(wall=False),
        "clear_url": f"?{PERIOD}={chosen.span.key}",
        "refresh_seconds": REFRESH_SECONDS,
    }
    return found if chosen.problems or made.sight.is_blind else {**found, **_sections(made)}


def _sections(made: Dashboard) -> dict[str, Any]:
    most = SHOWN_ON_WALL if made.filter.is_wall else SHOWN
    attention = made.attention
    return {
        "tiles": dashboard_tiles.tiles(made),
        "status_bar": dashboard_tiles.status_bar(made),
        "attention": [dashboard_lines.attention(line) for line in attention[:most]],
        "attention_more": max(0, len(attention) - most),
        "syncs_url": links.page("admin:syncs_sync_changelist"),
        "incidents": [dashboard_lines.incident(one, made) for one in made.incidents[:most]],
        "incidents_more": max(0, len(made.incidents) - most),
        "incidents_url": links.page("admin:monitoring_incident_changelist"),
        "rows_chart": dashboard_charts.rows(made),
        "types_chart": dashboard_charts.types(made),
        "depth_chart": dashboard_charts.depth(made),
        "age_chart": dashboard_charts.oldest(made),
        "freshness": dashboard_lines.freshness(made),
        "behind": [dashboard_lines.behind(line, text) for line, text in made.behind[:most]],
        "behind_more": max(0, len(made.behind) - most),
        "noisy_syncs": dashboard_lines.noisy_syncs(made),
        "noisy_groups": dashboard_lines.noisy_groups(made),
        "runs_url": links.page("admin:syncs_run_changelist"),
        "groups_url": links.page("admin:dlq_errorgroup_changelist"),
    }
