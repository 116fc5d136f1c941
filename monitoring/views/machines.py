"""What other machines ask for: probes and metrics. ``retl_project.middleware`` answers them in front of everything else."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from monitoring.services import doorkeeping, metrics, readiness

_TEXT = "text/plain; charset=utf-8"


def livez(request: HttpRequest) -> HttpResponse:
    """This process answers. It asks nobody else: a database that is away is no reason to restart the console."""
    return HttpResponse("ok\n", content_type=_TEXT)


def readyz(request: HttpRequest) -> HttpResponse:
    lines = readiness.look(timezone.now(), with_worker=request.GET.get("with") == "worker")
    is_ready = all(line.is_well for line in lines if line.is_needed)
    said = "".join(f"{line.what}: {'ok' if line.is_well else 'not ok'}, {line.text}\n" for line in lines)
    return HttpResponse(f"{'ok' if is_ready else 'not ready'}\n{said}", content_type=_TEXT, status=200 if is_ready else 503)


def metrics_page(request: HttpRequest) -> HttpResponse:
    knobs = settings.RETL
    if not doorkeeping.has_token(request, knobs["METRICS_TOKENS"]) and not doorkeeping.is_in(
        request, knobs["METRICS_NETWORKS"]
    ):
        said = "Metrics are for monitoring. Send a token of RETL_METRICS_TOKENS as Authorization: Bearer, or call directly "
        return HttpResponse(f"{said}from a network of RETL_METRICS_NETWORKS.\n", content_type=_TEXT, status=403)
    body, content_type = metrics.page(request.headers.get("Accept", ""))
    return HttpResponse(body, content_type=content_type)
