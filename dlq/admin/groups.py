"""Error groups: fifty thousand dead letters with three causes read as three lines."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import admin
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from dlq.admin import group_list_page, group_page, rules
from dlq.admin.base import ReadOnlyAdmin
from dlq.models import ErrorGroup, FingerprintRule


@admin.register(ErrorGroup)
class ErrorGroupAdmin(ReadOnlyAdmin):
    def pages(self) -> list[tuple[str, Callable[..., HttpResponseBase], str]]:
        return [
            ("", require_GET(lambda request: group_list_page.show(self, request)), "changelist"),
            ("<int:pk>/change/", require_GET(lambda request, pk: group_page.show(self, request, pk)), "change"),
            ("<int:pk>/act/", require_POST(group_page.perform), "act"),
            ("<int:pk>/rule/", require_http_methods(["GET", "POST"])(self.rule_view), "rule"),
        ]

    def rule_view(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        return rules.form(self, request, pk)


@admin.register(FingerprintRule)
class FingerprintRuleAdmin(ReadOnlyAdmin):
    def pages(self) -> list[tuple[str, Callable[..., HttpResponseBase], str]]:
        return [
            ("", require_GET(lambda request: rules.listing(self, request)), "changelist"),
            ("<int:pk>/switch/", require_POST(rules.switch), "switch"),
        ]
