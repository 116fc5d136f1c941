"""The interactive reference of the API: Swagger UI from the product's own static files, for who is signed in to the console."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_GET


@require_GET
@ensure_csrf_cookie
def _page(request: HttpRequest) -> HttpResponse:
    context = {**admin.site.each_context(request), "title": "API reference"}
    return TemplateResponse(request, "admin/redrive/api_docs.html", context)


page = admin.site.admin_view(_page)
