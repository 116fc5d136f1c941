"""The schema page of a destination connection: its objects, the fields of one with their versions, and typing them by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from syncs.admin import acts, connection_page, schema_acts, schema_form
from syncs.choices import ConnectionRole
from syncs.engine.schema_fields import MAX_NAME
from syncs.errors import RedriveError
from syncs.models import Connection
from syncs.services import schema_overview, schema_store, schemas

if TYPE_CHECKING:
    from syncs.admin.connections import ConnectionAdmin

RIGHTS = {"refresh": "syncs.change_sync", "type": "syncs.change_connection"}


def page(self: ConnectionAdmin, request: HttpRequest, *, pk: int) -> HttpResponse:
    needed = _needed(request)
    acts.demand(needed is None or request.user.has_perm(needed))
    connection = connection_page.find(self, request, pk, needs="view")
    if connection.role != ConnectionRole.DESTINATION:
        raise Http404(f"“{connection}” is a source: only destinations have fields to be written.")
    name = _object(request)
    if request.method == "POST":
        return _post(self, request, connection, name)
    if not name:
        return _list(self, request, connection)
    if request.GET.get("type"):
        acts.demand(request.user.has_perm(RIGHTS["type"]))
        snapshot = schema_store.current(connection, name)
        return _form(self, request, connection, name, schema_form.FieldFormset(initial=schema_form.initial(snapshot)))
    return _one(self, request, connection, name)


def _needed(request: HttpRequest) -> str | None:
    """The right that a post needs. Raises 404 for an act that does not exist."""
    if request.method != "POST":
        return None
    act = request.POST.get("act", "")
    if act not in RIGHTS:
        raise Http404("There is no such act.")
    return RIGHTS[act]


def _object(request: HttpRequest) -> str:
    name = (request.POST if request.method == "POST" else request.GET).get("object", "").strip()
    if len(name) > MAX_NAME or not name.isprintable():
        raise Http404("There is no object of that name.")
    return name


def _post(self: ConnectionAdmin, request: HttpRequest, connection: Connection, name: str) -> HttpResponse:
    """Ask the destination, or keep what was typed; then to the object's page."""
    if not name:
        messages.error(request, "Name the object, for example contacts.")
        return HttpResponseRedirect(schema_acts.schema_url(connection.pk))
    try:
        if request.POST["act"] == "refresh":
            schema_acts.refresh(request, connection, name)
            return HttpResponseRedirect(schema_acts.schema_url(connection.pk, name))
        formset = schema_form.FieldFormset(request.POST)
        if not formset.is_valid():
            return _form(self, request, connection, name, formset)
        fields = schema_form.typed(formset)
        found = schemas.typed(connection, name, fields, by=schema_acts.user_of(request), door="admin")
        messages.success(request, schema_acts.said(found, schema_acts.user_of(request)))
    except RedriveError as error:
        messages.error(request, error.message)
    return HttpResponseRedirect(schema_acts.schema_url(connection.pk, name))


def _frame(self: ConnectionAdmin, request: HttpRequest, connection: Connection, *, title: str) -> dict[str, Any]:
    return {
        **connection_page.frame(self, request, connection, title=title),
        "schema_url": schema_acts.schema_url(connection.pk),
        "may_refresh": request.user.has_perm(RIGHTS["refresh"]),
        "may_type": request.user.has_perm(RIGHTS["type"]),
    }


def _list(self: ConnectionAdmin, request: HttpRequest, connection: Connection) -> HttpResponse:
    found = schema_overview.objects(connection, schema_acts.user_of(request))
    context = {
        **_frame(self, request, connection, title="Fields"),
        "found": found,
        "lines": [(line, schema_acts.schema_url(connection.pk, line.name)) for line in found.lines],
    }
    return TemplateResponse(request, "admin/syncs/connection/schemas.html", context)


def _one(self: ConnectionAdmin, request: HttpRequest, connection: Connection, name: str) -> HttpResponse:
    text, number = request.GET.get("q", "")[:100], request.GET.get("version", "")
    wanted = int(number) if number.isascii() and number.isdigit() and len(number) < 9 else None
    found = schema_overview.one(connection, name, schema_acts.user_of(request), number=wanted, text=text)
    if number and found.snapshot is None:
        raise Http404(f"“{name}” has no version {number[:12]}.")
    context = {
        **_frame(self, request, connection, title=f"Fields of {name}"),
        "found": found,
        "object_url": schema_acts.schema_url(connection.pk, name),
        "q": text,
    }
    return TemplateResponse(request, "admin/syncs/connection/schema.html", context)


def _form(self: ConnectionAdmin, request: HttpRequest, connection: Connection, name: str, formset: Any) -> HttpResponse:
    context = {
        **_frame(self, request, connection, title=f"Type the fields of {name}"),
        "name": name,
        "formset": formset,
        "object_url": schema_acts.schema_url(connection.pk, name),
        "most": schema_form.MOST,
    }
    status = 400 if formset.is_bound else 200
    return TemplateResponse(request, "admin/syncs/connection/schema_type.html", context, status=status)
