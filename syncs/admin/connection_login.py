"""Logging in at a destination: the button, the way there, and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from syncs.admin import acts
from syncs.admin.address import connection_url
from syncs.admin.connection_page import find
from syncs.errors import RedriveError
from syncs.services import logins

if TYPE_CHECKING:
    from syncs.admin.connections import ConnectionAdmin


def redirect_uri(request: HttpRequest) -> str:
    return request.build_absolute_uri(reverse("admin:syncs_connection_callback"))


def depart(self: ConnectionAdmin, request: HttpRequest, *, pk: int) -> HttpResponse:
    """A page that leads on by itself: the content policy forbids a form to end at another host, however it gets there."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    connection = find(self, request, pk, needs="change")
    try:
        departure = logins.depart(connection, by=_traveller(request))
    except RedriveError as error:
        messages.error(request, error.message)
        return HttpResponseRedirect(connection_url(pk))
    context = {**self.admin_site.each_context(request), "opts": self.opts, "title": f"Log in at {departure.host}"}
    context |= {"connection": connection, "departure": departure, "minutes": logins.MINUTES, "page_url": connection_url(pk)}
    return TemplateResponse(request, "admin/syncs/connection/depart.html", context)


def callback(self: ConnectionAdmin, request: HttpRequest) -> HttpResponse:
    acts.demand(self.has_change_permission(request))
    try:
        connection = logins.arrive(request.GET, by=_traveller(request))
    except logins.LoginRefusedError as refused:
        context = {**self.admin_site.each_context(request), "opts": self.opts, "title": "The login was not completed"}
        context |= {"refused": refused, "page_url": connection_url(refused.connection.pk) if refused.connection else ""}
        return TemplateResponse(request, "admin/syncs/connection/not_logged_in.html", context, status=400)
    messages.success(request, f"You are logged in at the destination. Press “Test” to see whether “{connection}” answers.")
    return HttpResponseRedirect(connection_url(connection.pk))


def _traveller(request: HttpRequest) -> logins.Traveller:
    return logins.Traveller(acts.user_of(request), request.session.session_key or "", redirect_uri(request))
