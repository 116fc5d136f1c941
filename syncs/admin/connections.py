"""Connections: list, kind chooser, form, test."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from syncs.admin import (
    acts,
    connection_form,
    connection_login,
    connection_page,
    connection_presets,
    connection_try,
    schema_page,
)
from syncs.admin.address import connection_url
from syncs.choices import ConnectionRole, ConnectionState, labelled
from syncs.console import formats, links
from syncs.console.changelist import ConsoleAdmin
from syncs.console.filters import Options, OptionsFilter
from syncs.models import Connection
from syncs.services import connection_kinds, connection_overview, connections


class RoleFilter(OptionsFilter):
    title, parameter = "Role", "role"

    def get_options(self, request: HttpRequest) -> Options:
        return labelled(ConnectionRole)


class StateFilter(OptionsFilter):
    title, parameter = "State", "state"

    def get_options(self, request: HttpRequest) -> Options:
        return labelled(ConnectionState)


@admin.register(Connection)
class ConnectionAdmin(ConsoleAdmin):
    list_display = ("title", "shown_role", "shown_kind", "shown_state", "checked", "syncs")
    list_display_links = None
    list_filter = (RoleFilter, StateFilter)
    search_fields = ("name", "description")
    search_help_text = "Name or description"
    list_per_page = 50
    actions = None
    empty_list = "No connections yet"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Connection]:
        found = Connection.objects.all()
        if request.resolver_match and request.resolver_match.url_name == "syncs_connection_changelist":
            found = connection_overview.with_sync_counts(found.defer("secrets"), acts.user_of(request))
        return found

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Connection], search_term: str
    ) -> tuple[QuerySet[Connection], bool]:
        return connection_overview.searched(queryset, search_term), False

    # --- columns
    @admin.display(description="Connection", ordering="name")
    def title(self, connection: Connection) -> SafeString:
        url = connection_url(connection.pk)
        return format_html(
            '<a class="rd-name" href="{}">{}</a><span class="rd-sub">{}</span>', url, connection.name, connection.description
        )

    @admin.display(description="Role", ordering="role")
    def shown_role(self, connection: Connection) -> str:
        return str(connection.get_role_display())

    @admin.display(description="Kind", ordering="kind")
    def shown_kind(self, connection: Connection) -> str:
        return connection_form.kind_label(connection.role, connection.kind)

    @admin.display(description="State", ordering="state")
    def shown_state(self, connection: Connection) -> SafeString:
        note = connection.state_message if connection.state != ConnectionState.OK else ""
        badge = formats.badge(connection.state, connection.get_state_display())
        return format_html('{}<span class="rd-sub">{}</span>', badge, note)

    @admin.display(description="Tested", ordering="checked_at")
    def checked(self, connection: Connection) -> SafeString | str:
        return formats.moment(connection.checked_at)

    @admin.display(description="Syncs")
    def syncs(self, connection: Any) -> SafeString | str:
        if connection.role == ConnectionRole.DESTINATION and connection.sync_count:
            return formats.link(
                links.page("admin:syncs_sync_changelist", destination=str(connection.pk)), connection.sync_count
            )
        return formats.number(connection.sync_count)

    # --- the form follows from the kind
    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> type[ModelForm[Any]]:
        role, kind = (obj.role, obj.kind) if obj else _chosen(request)
        form = connection_form.form_class(role, kind, connection_form.stored_names(obj))
        kwargs["form"] = form
        kwargs["fields"] = ["name", "description", *form.declared_fields]
        request.connection_form = form  # type: ignore[attr-defined]
        built: type[ModelForm[Any]] = super().get_form(request, obj, change, **kwargs)
        values = connection_form.initial(form, obj)
        if obj is None:
            values |= connection_presets.initial(request)

        class Filled(built):  # type: ignore[misc, valid-type]
            def __init__(self, *args: Any, **options: Any) -> None:
                options["initial"] = {**values, **(options.get("initial") or {})}
                super().__init__(*args, **options)

        return Filled

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is not None and not self.has_change_permission(request, obj):
            return [("Connection", {"fields": ["name", "description", "state", "state_message"]})]
        role, kind = (obj.role, obj.kind) if obj else _chosen(request)
        form = connection_form.form_class(role, kind, connection_form.stored_names(obj))
        settings, secrets = connection_form.names(form)
        sets: list[Any] = [("Name", {"fields": ["name", "description"]})]
        if settings:
            sets.append((connection_form.kind_label(role, kind), {"fields": settings}))
        if secrets:
            note = "Stored encrypted and never shown again, not here and not in exports or logs."
            sets.append(("Secrets", {"fields": [*secrets, "expires_on"], "description": note}))
        return sets

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"title": "Connections", **(extra_context or {})})

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        acts.demand(self.has_add_permission(request))
        if "kind" not in request.GET:
            context = {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "title": "New connection: choose a kind",
                "kinds": [(role.value, role.name.capitalize(), found) for role, found in connection_form.kinds().items()],
            }
            return TemplateResponse(request, "admin/syncs/connection/choose.html", context)
        problem = connection_kinds.unusable(*_chosen(request))
        if problem:
            messages.error(request, problem)
            return HttpResponseRedirect(reverse("admin:syncs_connection_add"))
        title = f"New connection: {connection_form.kind_label(*_chosen(request))}"
        return super().add_view(
            request, form_url, {"title": title, **connection_presets.panel(request), **(extra_context or {})}
        )

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        connection = self.get_object(request, object_id)
        problem = connection_kinds.unusable(connection.role, connection.kind) if connection else ""
        if problem:
            messages.error(request, problem)
            return HttpResponseRedirect(reverse("admin:syncs_connection_changelist"))
        if connection and request.method == "GET" and (lost := connections.unreadable(connection)):
            text = f"{lost} If that key is gone for good, enter the secrets below again: saving replaces the old ones."
            messages.warning(request, text)
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), "title": str(connection)})

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        connection_form.save(obj, form, change=change, by=acts.user_of(request))

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        if {"_continue", "_addanother"} & request.POST.keys():
            return super().response_add(request, obj, post_url_continue)
        messages.success(request, f"“{obj}” is saved. Press “Test the connection” to see whether it answers.")
        return HttpResponseRedirect(connection_url(obj.pk))

    # --- its page, the test, the login, one record
    def get_urls(self) -> list[URLPattern]:
        def at(route: str, name: str, view: Any) -> URLPattern:
            return path(route, self.admin_site.admin_view(partial(view, self)), name=f"syncs_connection_{name}")

        own = [
            at("<int:pk>/", "page", connection_page.page),
            at("<int:pk>/test/", "test", connection_page.test),
            at("<int:pk>/login/", "login", connection_login.depart),
            at("<int:pk>/try/", "try", connection_try.page),
            at("<int:pk>/schema/", "schema", schema_page.page),
            at("login/callback/", "callback", connection_login.callback),
        ]
        return [*own, *super().get_urls()]


def _chosen(request: HttpRequest) -> tuple[str, str]:
    """Role and kind named by the address of the add page. Raises 404 for a role that does not exist."""
    role, kind = request.GET.get("role", ""), request.GET.get("kind", "")
    if role not in list(ConnectionRole):
        raise Http404(f"There is no role “{role[:40]}”.")
    return role, kind
