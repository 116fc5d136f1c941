"""Starting a connection of the kind ``http`` from a preset: the panel above the form, and what the form begins with."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest

from syncs.admin.connection_form import CONFIG
from syncs.choices import ConnectionRole
from syncs.destinations.presets import Preset
from syncs.services import presets


def _is_for(request: HttpRequest) -> bool:
    return (request.GET.get("role"), request.GET.get("kind")) == (ConnectionRole.DESTINATION, presets.KIND)


def _chosen(request: HttpRequest) -> Preset | None:
    name = request.GET.get("preset", "")
    if not name or not _is_for(request):
        return None
    preset = presets.named(name)
    if preset is None:
        raise Http404(f"There is no preset “{name[:40]}”.")
    return preset


def panel(request: HttpRequest) -> dict[str, Any]:
    """Context of ``presets.html``; empty for other kinds."""
    if not _is_for(request):
        return {}
    found, problems = presets.offered()
    return {"presets": found, "preset_problems": problems, "preset": _chosen(request)}


def initial(request: HttpRequest) -> dict[str, Any]:
    preset = _chosen(request)
    return {CONFIG + name: value for name, value in preset.config.items()} if preset else {}
