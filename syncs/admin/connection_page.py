"""The page of one connection: its last test, limits, who uses it, how it fares, what was done to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from syncs.admin import acts, connection_form
from syncs.admin.address import connection_url, sync_url
from syncs.choices import ConnectionRole, ConnectionState
from syncs.console import audit_words, links
from syncs.models import Connection, Sync
from syncs.services import connection_overview, connection_reading, connection_tests, connections, credentials

if TYPE_CHECKING:
    from syncs.admin.connections import ConnectionAdmin

HISTORY_SHOWN = 30


def find(page: ConnectionAdmin, request: HttpRequest, pk: int, *, needs: str) -> Connection:
    """``needs``: view or change."""
    acts.demand(page.has_change_permission(request) if needs == "change" else page.has_view_permission(request))
    connection = Connection.objects.select_related("authorized_by").filter(pk=pk).first()
    if connection is None:
        raise Http404(f"There is no connection {pk}.")
    return connection


def page(self: ConnectionAdmin, request: HttpRequest, *, pk: int) -> HttpResponse:
    connection = find(self, request, pk, needs="view")
    user = acts.user_of(request)
    history = list(connection_reading.history(connection, user)[:HISTORY_SHOWN])
    syncs = connection_overview.using(connection, user)
    described = connection_overview.described(connection)
    context = {
        **frame(self, request, connection, title=connection.name),
        "test": connection_tests.last(history),
        "unreadable": connections.unreadable(connection),
        "warning": credentials.expiry_text(connection, timezone.now()),
        "needs_login": connection.state == ConnectionState.REAUTHORIZE,
        "described": described,
        "syncs": [_sync_line(sync) for sync in syncs],
        "health": connection_overview.health(syncs),
        "history": [audit_words.line(event) for event in history],
        "redirect_uri": request.build_absolute_uri(reverse("admin:syncs_connection_callback")),
    }
    return TemplateResponse(request, "admin/syncs/connection/page.html", context)


def test(self: ConnectionAdmin, request: HttpRequest, *, pk: int) -> HttpResponse:
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    connection = find(self, request, pk, needs="change")
    report = connections.check(connection, by=acts.user_of(request))
    text = f"“{connection}”: {report.message} ({report.milliseconds:,.0f} ms)"
    (messages.success if report.is_ok else messages.error)(request, text)
    return HttpResponseRedirect(connection_url(pk))


def frame(self: ConnectionAdmin, request: HttpRequest, connection: Connection, *, title: str) -> dict[str, Any]:
    may_try = request.user.has_perm("syncs.try_connection") and connection.role == ConnectionRole.DESTINATION
    return {
        **self.admin_site.each_context(request),
        "opts": self.opts,
        "title": title,
        "connection": connection,
        "kind": connection_form.kind_label(connection.role, connection.kind),
        "may_change": self.has_change_permission(request, connection),
        "page_url": connection_url(connection.pk),
        "change_url": reverse("admin:syncs_connection_change", args=(connection.pk,)),
        "test_url": reverse("admin:syncs_connection_test", args=(connection.pk,)),
        "login_url": reverse("admin:syncs_connection_login", args=(connection.pk,)),
        "try_url": links.page("admin:syncs_connection_try", connection.pk) if may_try else "",
    }


def _sync_line(sync: Sync) -> dict[str, Any]:
    return {"sync": sync, "url": sync_url(sync.pk), "entries_url": links.entries(sync=str(sync.pk))}
