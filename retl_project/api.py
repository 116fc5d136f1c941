"""/api/v1/: every app's resources under one root, the document, and JSON for addresses where nothing is."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.urls import URLPattern, URLResolver, include, path, re_path
from django.views.decorators.csrf import csrf_exempt
from rest_framework.routers import SimpleRouter

import dlq.api.routes
import monitoring.api.routes
import syncs.api.routes
from retl_project.api_document import Document
from syncs.rest import problems

ROUTES = (syncs.api.routes, dlq.api.routes, monitoring.api.routes)


@csrf_exempt  # it does nothing
def nowhere(request: HttpRequest, rest: str = "") -> JsonResponse:
    said = "There is no such address. The document at /api/v1/openapi.json names all there are."
    return JsonResponse(problems.body("not_found", said), status=404)


def _router() -> SimpleRouter:
    router = SimpleRouter(trailing_slash=False)
    for routes in ROUTES:
        for prefix, resource in routes.RESOURCES:
            router.register(prefix, resource, basename=f"api-{prefix}")
    return router


urlpatterns: list[URLPattern | URLResolver] = [
    path("openapi.json", Document.as_view(), name="api-document"),
    path("", include(_router().urls)),
    re_path(r"^(?P<rest>[\s\S]*)$", nowhere),
]
