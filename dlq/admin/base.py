"""What the pages share: read-only admins that serve their own views, and who may do what."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from dlq.services import confirmation
from dlq.services.snapshots import BulkKind

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin


def user_of(request: HttpRequest) -> User:
    return cast("User", request.user)  # the admin's views are behind its login


def may(request: HttpRequest, act: str) -> bool:
    """``act``: a permission on dead letters without ``_dlqentry``: reprocess, discard, annotate (notes and owners) ..."""
    return user_of(request).has_perm(f"dlq.{act}_dlqentry")


def demand(request: HttpRequest, act: str) -> None:
    if not may(request, act):
        raise PermissionDenied


def permission_for(kind: BulkKind) -> str:
    return confirmation.needed(kind)


def list_url() -> str:
    return reverse("admin:dlq_dlqentry_changelist")


class ReadOnlyAdmin(_ModelAdmin):
    """Nobody adds, changes or deletes here, superusers included: acts go through services. Serves ``pages`` only."""

    actions = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return user_of(request).has_perm(f"{self.opts.app_label}.view_{self.opts.model_name}")

    def pages(self) -> list[tuple[str, Callable[..., HttpResponseBase], str]]:
        """(route, view, name without the ``dlq_<model>_`` before it)."""
        raise NotImplementedError

    def get_urls(self) -> list[URLPattern]:
        prefix = f"{self.opts.app_label}_{self.opts.model_name}"
        return [path(route, self._guarded(view), name=f"{prefix}_{name}") for route, view, name in self.pages()]

    def _guarded(self, view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not self.has_view_permission(request):
                raise PermissionDenied
            return view(request, *args, **kwargs)

        return self.admin_site.admin_view(guarded)

    def show(
        self, request: HttpRequest, template: str, context: dict[str, Any], *, title: str, status: int = 200
    ) -> TemplateResponse:
        shared = {**self.admin_site.each_context(request), "title": title, "opts": self.opts}
        return TemplateResponse(request, template, {**shared, **context}, status=status)
