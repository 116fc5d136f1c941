"""Trying a destination with one record: look at the request first, then send exactly that, once."""

from __future__ import annotations

from typing import Any

from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from syncs.api.schema_shapes import NamedSyncShape
from syncs.api.trial_shapes import (
    NewTrialShape,
    RehearsalShape,
    TakenTrialShape,
    TokenShape,
    TrialRowShape,
    TrialRowsQueryShape,
    TrialShape,
)
from syncs.choices import ConnectionRole, Scope
from syncs.destinations.trials import Trial
from syncs.models import Connection
from syncs.records import Operation
from syncs.rest.operations import operation
from syncs.rest.problems import RefusedError
from syncs.rest.resources import Resource, user_of
from syncs.services import trial_rows, trials
from syncs.services.trials import Draft

API = "api"
TRY = "syncs.try_connection"


class Trials(Resource):
    """Below one connection."""

    tag = "Connections"

    @operation(
        "Send the record that was looked at",
        scope=Scope.RUN,
        permission=TRY,
        takes=TokenShape,
        shape=TrialShape,
        description="It is sent as a run would send it, and leaves no trace but a line in the connection's history. A refusal "
        "by the destination is an answer: see `state` and `error`.",
        name="connections_try",
    )
    def create(self, request: Request, connection_id: str) -> Response:
        connection = self._destination(connection_id)
        draft, trial = trials.perform(connection, self.given["token"], by=user_of(request), door=API)
        return self.one(request, _told(draft, trial))

    @action(detail=False, methods=["post"])
    @operation(
        "Look at the request that a record makes",
        scope=Scope.RUN,
        permission=TRY,
        takes=NewTrialShape,
        shape=RehearsalShape,
        description="Nothing is written: the first call that would is shown and withheld.",
        example={"object": "contacts", "operation": "upsert", "payload": {"email": "ada@example.com"}, "key_fields": ["email"]},
        name="connections_try_rehearse",
    )
    def rehearse(self, request: Request, connection_id: str) -> Response:
        connection, given = self._destination(connection_id), self.given
        draft = trials.written(
            connection,
            given["object"],
            Operation(given["operation"]),
            given.get("key", ""),
            given["payload"],
            given.get("key_fields", []),
        )
        return self._rehearsed(request, connection, draft)

    @action(detail=False, methods=["post"])
    @operation(
        "Take a row of a sync, and look at the request that it makes",
        scope=Scope.DLQ_RAW,
        permission=TRY,
        takes=TakenTrialShape,
        shape=RehearsalShape,
        is_secret=True,
        description="The row comes from the warehouse with its values in the clear; who took it is told in the history.",
        name="connections_try_take",
    )
    def take(self, request: Request, connection_id: str) -> Response:
        connection, user = self._destination(connection_id), user_of(request)
        draft = trial_rows.taken_draft(connection, self.given["sync"], self.given["key"], user, door=API)
        return self._rehearsed(request, connection, draft)

    @action(detail=False)
    @operation(
        "Syncs to take a row from",
        scope=Scope.READ,
        permission=TRY,
        shape=NamedSyncShape,
        is_list=True,
        can_refuse=True,
        name="connections_try_syncs",
    )
    def syncs(self, request: Request, connection_id: str) -> Response:
        return self.listed(request, trial_rows.syncs(self._destination(connection_id), user_of(request)))

    @action(detail=False)
    @operation(
        "The first rows of a sync, to take one",
        scope=Scope.READ,
        permission=TRY,
        query=TrialRowsQueryShape,
        shape=TrialRowShape,
        is_list=True,
        can_refuse=True,
        name="connections_try_rows",
    )
    def rows(self, request: Request, connection_id: str) -> Response:
        connection = self._destination(connection_id)
        return self.listed(request, trial_rows.rows(connection, str(self.asked["sync"]), user_of(request)))

    def _destination(self, connection_id: str) -> Connection:
        found: Connection = self.find(Connection.objects.all(), connection_id)
        if found.role != ConnectionRole.DESTINATION:
            raise RefusedError(f"“{found}” is a source: nothing is written there.")
        return found

    def _rehearsed(self, request: Request, connection: Connection, draft: Draft) -> Response:
        trial, token = trials.rehearse(connection, draft, by=user_of(request))
        values = {"draft": draft, "calls": trial.calls, "has_calls": trial.has_calls, "token": token}
        return self.one(request, {**values, "expires_in": trials.MINUTES * 60})


def _told(draft: Draft, trial: Trial) -> dict[str, Any]:
    result = trial.result
    assert result is not None  # it was sent
    record = result.outcomes[0] if result.outcomes else None
    return {
        "draft": draft,
        "calls": trial.calls,
        "has_calls": trial.has_calls,
        "findings": trial.findings,
        "signal": result.signal,
        "state": record.state if record else None,
        "detail": record.detail if record else "",
        "destination_id": record.destination_id if record else "",
        "error": (record.error if record else None) or result.error,
        "retry_after": result.retry_after,
        "job_id": result.job.id if result.job else "",
        "rule": trials.rule_of(trial),
    }
