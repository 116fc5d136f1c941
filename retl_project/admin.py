"""The admin site: the console itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.template.response import TemplateResponse


class RetlAdminSite(admin.AdminSite):
    site_header = "Redrive"
    site_title = "Redrive"
    index_title = "Overview"
    site_url = None
    enable_nav_sidebar = False

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        """The background queue's own pages would let staff run any function, and tell nothing true: they are left out."""
        models: Iterable[type[Model]] = (
            model_or_iterable if isinstance(model_or_iterable, (list, tuple)) else [model_or_iterable]
        )
        wanted = [model for model in models if model._meta.app_label != "django_q"]
        if wanted:
            super().register(wanted, admin_class, **options)

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        from monitoring.admin import dashboard_page  # this module is imported before the models are

        return dashboard_page.page(self, request, extra_context)
