"""Objects of a destination, their fields and versions, what changed, and the syncs that drifted by it."""

from __future__ import annotations

import django_filters as df
from django.db import transaction
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from syncs.api.schema_shapes import (
    PRINTED,
    ConnectionFieldsShape,
    ConnectionObjectsShape,
    DriftedSyncShape,
    FieldsQueryShape,
    ObjectShape,
    SchemaChangeShape,
    SchemaRefreshShape,
    SchemaVersionShape,
    TypedFieldsShape,
)
from syncs.choices import ConnectionRole, SchemaChangeKind, Scope, labelled
from syncs.engine.schema_fields import MAX_FIELDS, MAX_NAME
from syncs.models import Connection, SchemaChange, SchemaSnapshot
from syncs.rest import etags
from syncs.rest.filters import FlagFilter, StrictFilterSet, TextFilter, TimeFilter, WordsFilter
from syncs.rest.operations import operation
from syncs.rest.problems import NotFoundError, RefusedError
from syncs.rest.resources import Resource, user_of
from syncs.services import access, drift, schema_overview, schema_store, schema_watch, schemas

API = "api"
VIEW = "syncs.view_connection"
_PATTERN = PRINTED.removeprefix("^").removesuffix("$")


class SchemaVersionFilters(StrictFilterSet):
    object = TextFilter("object_name", pattern=_PATTERN, max_length=MAX_NAME, help_text="For example `contacts`.")


class SchemaChangeFilters(StrictFilterSet):
    object = TextFilter("snapshot__object_name", pattern=_PATTERN, max_length=MAX_NAME, help_text="For example `contacts`.")
    field = TextFilter("field", pattern=_PATTERN, max_length=MAX_NAME, help_text="The name of a field.")
    version = df.NumberFilter("snapshot__number", min_value=1, max_value=99_999_999, help_text="In which it was found.")
    kind = WordsFilter(choices=labelled(SchemaChangeKind), help_text="What changed.")
    is_breaking = FlagFilter(help_text="Rows that were taken before may be refused now.")
    since = TimeFilter("snapshot__taken_at", "gte", help_text="Found at this moment or later.")
    until = TimeFilter("snapshot__taken_at", "lt", help_text="Found before this moment.")


def etag_of(snapshot: SchemaSnapshot | None) -> str:
    return etags.of([snapshot.number, snapshot.digest] if snapshot else [])


class Schemas(Resource):
    """Below one connection."""

    tag = "Connections"

    @action(detail=False)
    @operation(
        "Objects of a destination",
        scope=Scope.READ,
        permission=VIEW,
        shape=ConnectionObjectsShape,
        can_refuse=True,
        description="Those that its settings name, that syncs write to, or whose fields are kept.",
        name="connections_objects",
    )
    def objects(self, request: Request, connection_id: str) -> Response:
        connection = self._destination(connection_id)
        return self.one(request, schema_overview.objects(connection, user_of(request)))

    @action(detail=False, url_path="fields")
    @operation(
        "Fields of an object",
        scope=Scope.READ,
        permission=VIEW,
        query=FieldsQueryShape,
        shape=ConnectionFieldsShape,
        has_etag=True,
        can_refuse=True,
        description="As they are kept; `POST .../refresh-schema` asks the destination anew.",
        name="connections_fields",
    )
    def object_fields(self, request: Request, connection_id: str) -> Response:
        connection, name = self._destination(connection_id), self.asked["object"]
        wanted = self.asked.get("version")
        user = user_of(request)
        etag = etag_of(schema_store.current(connection, name))  # before what is shown: never newer than that
        found = schema_overview.one(connection, name, user, number=wanted, text=self.asked.get("q", ""), most=MAX_FIELDS)
        if wanted is not None and found.snapshot is None:
            raise NotFoundError("No such version")
        return self.one(request, found, etag=etag)

    @object_fields.mapping.put
    @operation(
        "Type the fields of an object by hand",
        scope=Scope.ADMIN,
        permission="syncs.change_connection",
        takes=TypedFieldsShape,
        shape=SchemaRefreshShape,
        needs_match=True,
        can_refuse=True,
        description="For an object whose destination does not tell them. All of its fields, kept as a new version.",
        example={"object": "contacts", "fields": [{"name": "email", "type": "string", "is_required": True, "is_key": True}]},
        name="connections_fields_replace",
    )
    def replace_fields(self, request: Request, connection_id: str) -> Response:
        connection, name = self._connection(connection_id), self.given["object"]
        with transaction.atomic():
            Connection.objects.select_for_update(no_key=True).only("pk").get(pk=connection.pk)  # versions come one by one
            etags.demand(request, etag_of(schema_store.current(connection, name)))
            self._refuse_source(connection)
            found = schemas.typed(connection, name, self.given["fields"], by=user_of(request), door=API)
        return self._refreshed(request, found)

    @action(detail=False, methods=["post"], url_path="refresh-schema")
    @operation(
        "Ask the destination for the fields of an object",
        scope=Scope.WRITE,
        permission="syncs.change_sync",
        takes=ObjectShape,
        shape=SchemaRefreshShape,
        description="Writes nothing there. What differs is kept as a new version; syncs whose mapping it breaks drift.",
        example={"object": "contacts"},
        name="connections_refresh_schema",
    )
    def refresh_schema(self, request: Request, connection_id: str) -> Response:
        connection = self._destination(connection_id)
        found = schema_watch.refresh(connection, self.given["object"], by=user_of(request), door=API)
        return self._refreshed(request, found)

    @action(detail=False, url_path="schema-versions")
    @operation(
        "Versions of what is known of its objects, newest first",
        scope=Scope.READ,
        permission=VIEW,
        shape=SchemaVersionShape,
        is_page=True,
        filters=SchemaVersionFilters,
        name="connections_schema_versions",
    )
    def schema_versions(self, request: Request, connection_id: str) -> Response:
        rows = SchemaSnapshot.objects.filter(connection=self._connection(connection_id)).defer("fields")
        chosen = SchemaVersionFilters.of(request.query_params, rows.select_related("taken_by"))
        return self.paged(request, chosen, order=("-id",))

    @action(detail=False, url_path="schema-changes")
    @operation(
        "What changed in its objects, newest first",
        scope=Scope.READ,
        permission=VIEW,
        shape=SchemaChangeShape,
        is_page=True,
        filters=SchemaChangeFilters,
        name="connections_schema_changes",
    )
    def schema_changes(self, request: Request, connection_id: str) -> Response:
        rows = SchemaChange.objects.filter(snapshot__connection=self._connection(connection_id))
        chosen = SchemaChangeFilters.of(request.query_params, rows.select_related("snapshot").defer("snapshot__fields"))
        return self.paged(request, chosen, order=("-id",))

    @action(detail=False)
    @operation(
        "Syncs that its changes have broken",
        scope=Scope.READ,
        permission=("syncs.view_sync",),
        shape=DriftedSyncShape,
        is_list=True,
        description="Of the syncs that you may see, the one that drifted first at the top.",
        name="connections_drift",
    )
    def drift(self, request: Request, connection_id: str) -> Response:
        connection = self._connection(connection_id)
        return self.listed(request, drift.drifted_at(connection, user_of(request)))

    def _connection(self, connection_id: str) -> Connection:
        found: Connection = self.find(Connection.objects.all(), connection_id)
        return found

    def _destination(self, connection_id: str) -> Connection:
        found = self._connection(connection_id)
        self._refuse_source(found)
        return found

    def _refuse_source(self, connection: Connection) -> None:
        if connection.role != ConnectionRole.DESTINATION:
            raise RefusedError(f"“{connection}” is a source: only destinations have fields to be written.")

    def _refreshed(self, request: Request, found: schemas.Refresh) -> Response:
        seen = [sync for sync in found.syncs if access.may_see(user_of(request), sync.pk)]
        values = {
            "version": found.snapshot,
            "is_new": found.is_new,
            "field_count": len(found.snapshot.fields),
            "changes": found.changes,
            "syncs": seen,
        }
        return self.one(request, values, etag=etag_of(found.snapshot))
