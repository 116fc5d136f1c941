"""Connections: settings in and out, secrets only in, the check, the way to a login, limits, health and history."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import django_filters as df
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.urls import reverse
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from syncs.api.connection_shapes import (
    ConnectionCheckShape,
    ConnectionDetailShape,
    ConnectionEditShape,
    ConnectionEventShape,
    ConnectionHealthShape,
    ConnectionLimitsShape,
    ConnectionShape,
    LoginShape,
    NewConnectionShape,
)
from syncs.choices import ConnectionRole, ConnectionState, Scope, labelled
from syncs.connectors import Issue
from syncs.models import Connection
from syncs.rest import etags
from syncs.rest.filters import StrictFilterSet, WordsFilter
from syncs.rest.operations import operation
from syncs.rest.problems import RefusedError
from syncs.rest.resources import Resource, user_of
from syncs.services import (
    connection_input,
    connection_overview,
    connection_reading,
    connection_saving,
    connections,
    logins,
)

API = "api"
VIEW, CHANGE = "syncs.view_connection", "syncs.change_connection"


class ConnectionFilters(StrictFilterSet):
    role = df.ChoiceFilter(choices=labelled(ConnectionRole), help_text="Source or destination.")
    state = WordsFilter(choices=labelled(ConnectionState), help_text="What the last check said.")
    kind = df.CharFilter(max_length=40, help_text="For example `http`.")
    q = df.CharFilter(method="searched", max_length=200, help_text="Words in the name or the description.")

    def searched(self, rows: QuerySet[Connection], name: str, value: str) -> QuerySet[Connection]:
        return connection_overview.searched(rows, value)


def etag_of(connection: Connection) -> str:
    return etags.of(connection_reading.editable(connection))


class Connections(Resource):
    tag = "Connections"

    def rows(self, request: Request) -> QuerySet[Connection]:
        found = Connection.objects.select_related("authorized_by")
        return connection_overview.with_sync_counts(found, user_of(request))

    @operation(
        "Connections",
        scope=Scope.READ,
        permission=VIEW,
        shape=ConnectionShape,
        is_page=True,
        filters=ConnectionFilters,
        orders={"name": ("name", "id"), "-name": ("-name", "-id"), "id": ("id",), "-id": ("-id",)},
    )
    def list(self, request: Request) -> Response:
        rows = self.rows(request).defer("secrets", "config")
        return self.paged(request, ConnectionFilters.of(request.query_params, rows))

    @operation("One connection", scope=Scope.READ, permission=VIEW, shape=ConnectionDetailShape, has_etag=True)
    def retrieve(self, request: Request, id: str) -> Response:
        return self._shown(request, self.find(self.rows(request), id))

    @operation(
        "Set up a connection",
        scope=Scope.ADMIN,
        permission="syncs.add_connection",
        takes=NewConnectionShape,
        shape=ConnectionDetailShape,
        status=201,
        has_etag=True,
        description="Nothing is asked of the other side: `POST .../check` does that.",
        example={
            "role": "destination",
            "kind": "hubspot",
            "name": "HubSpot, production",
            "config": {"auth": "private_app"},
            "secrets": {"token": "pat-…"},
        },
    )
    def create(self, request: Request) -> Response:
        given = self.given
        made = connection_input.begin(given["role"], given["kind"], given.get("preset", ""))
        self._fill(made, given)
        with _named_once(made):
            connection_saving.create(made, by=user_of(request), door=API)
        return self._shown(request, self.find(self.rows(request), made.pk), location=f"/api/v1/connections/{made.pk}")

    @operation(
        "Change a connection",
        scope=Scope.ADMIN,
        permission=CHANGE,
        takes=ConnectionEditShape,
        shape=ConnectionDetailShape,
        has_etag=True,
        needs_match=True,
        can_refuse=True,
        description="Only what is given changes; of `config` and `secrets`, too, only the names that are given.",
        example={"config": {"limits": {"concurrency": 2}}, "secrets": {"token": "pat-…"}},
    )
    def partial_update(self, request: Request, id: str) -> Response:
        rows = Connection.objects.all()
        with connection_saving.locked(self.find(rows, id)) as stored, self.edited(request, rows, id, etag_of) as connection:
            secrets = self._fill(connection, self.given)
            with _named_once(connection):
                connection_saving.change(connection, secrets, by=user_of(request), door=API, stored=stored)
        return self._shown(request, self.find(self.rows(request), id))

    @action(detail=True, methods=["post"])
    @operation(
        "Check whether the other side answers",
        scope=Scope.ADMIN,
        permission=CHANGE,
        shape=ConnectionCheckShape,
        description="Writes nothing there. That it does not answer is an answer, too: `is_ok` is false.",
    )
    def check(self, request: Request, id: str) -> Response:
        connection = self.find(Connection.objects.all(), id)
        connections.check(connection, by=user_of(request), door=API)
        return self.one(request, connection_reading.last_test(connection))

    @action(detail=True, methods=["post"])
    @operation(
        "The address at which a person logs in",
        scope=Scope.ADMIN,
        permission=CHANGE,
        shape=LoginShape,
        description="For destinations with a login of a person (OAuth 2). Tokens never pass through here.",
    )
    def login(self, request: Request, id: str) -> Response:
        connection = self.find(Connection.objects.all(), id)
        by = logins.Traveller(user_of(request), _session_of(request), _address(request, "syncs_connection_callback"))
        departure = logins.depart(connection, by=by)
        is_browser = bool(by.session_key)
        page = _address(request, "syncs_connection_page", connection.pk)
        return self.one(
            request,
            {
                "url": departure.url if is_browser else page,
                "opens": "destination" if is_browser else "console",
                "host": departure.host,
                "scope": departure.scope,
                "redirect_uri": by.redirect_uri,
                "expires_in": logins.MINUTES * 60,
            },
        )

    @action(detail=True)
    @operation("Limits that its settings set", scope=Scope.READ, permission=VIEW, shape=ConnectionLimitsShape)
    def limits(self, request: Request, id: str) -> Response:
        found = connection_overview.described(self.find(Connection.objects.all(), id))
        lines = [
            {"objects": one.objects, "lines": [{"name": name, "text": text} for name, text in one.lines]}
            for one in found.limits
        ]
        budget = found.budget
        return self.one(
            request, {"limits": lines, "budget": budget, "hidden_count": found.hidden_count, "problem": found.problem}
        )

    @action(detail=True)
    @operation("How its syncs fared in 24 hours", scope=Scope.READ, permission=VIEW, shape=ConnectionHealthShape)
    def health(self, request: Request, id: str) -> Response:
        connection = self.find(Connection.objects.all(), id)
        return self.one(request, connection_overview.health(connection_overview.using(connection, user_of(request))))

    @action(detail=True)
    @operation("What was done to it", scope=Scope.READ, permission=VIEW, shape=ConnectionEventShape, is_page=True)
    def history(self, request: Request, id: str) -> Response:
        connection = self.find(Connection.objects.all(), id)
        return self.paged(request, connection_reading.history(connection, user_of(request)), order=("-id",))

    def _fill(self, connection: Connection, given: dict[str, Any]) -> connection_saving.NewSecrets:
        connection.name = given.get("name", connection.name)
        connection.description = given.get("description", connection.description)
        if "expires_on" in given:
            connection_saving.take_expiry(connection, given["expires_on"])
        return connection_input.take(connection, given.get("config", {}), given.get("secrets", {}))

    def _shown(self, request: Request, connection: Connection, *, location: str = "") -> Response:
        return self.one(request, connection, etag=etag_of(connection), location=location)


@contextmanager
def _named_once(connection: Connection) -> Iterator[None]:
    """Says which field is taken: the only thing about a connection that is unique is its name."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError:
        if not Connection.objects.filter(name=connection.name).exclude(pk=connection.pk).exists():
            raise
        text = f"There is a connection “{connection.name}” already."
        raise RefusedError(text, [Issue("name", text)]) from None


def _session_of(request: Request) -> str:
    return "" if request.auth is not None else request.session.session_key or ""


def _address(request: Request, name: str, *args: Any) -> str:
    return request.build_absolute_uri(reverse(f"admin:{name}", args=args))
