"""The page on which one record is tried: write it or take a row, look at the request, send it, read the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from syncs.admin import acts
from syncs.admin.connection_page import find, frame
from syncs.choices import ConnectionRole
from syncs.console import trial_words
from syncs.errors import RedriveError
from syncs.models import Connection
from syncs.records import Operation
from syncs.services import connections, trial_rows, trials

if TYPE_CHECKING:
    from syncs.admin.connections import ConnectionAdmin

_FIELDS = ("object", "operation", "key", "payload", "key_fields", "sync")


def page(self: ConnectionAdmin, request: HttpRequest, *, pk: int) -> HttpResponse:
    acts.demand(request.user.has_perm("syncs.try_connection"))
    connection = find(self, request, pk, needs="view")
    acts.demand(connection.role == ConnectionRole.DESTINATION)
    context = _frame(self, request, connection)
    act = request.POST.get("act", "") if request.method == "POST" else ""
    status = 200
    try:
        if act == "send":
            context |= _sent(request, connection, context)
        elif act == "show":
            context |= _shown(request, connection, request.POST)
        elif act == "take":
            context |= _taken(request, connection, context["form"])
        elif act == "rows":
            context["rows"] = trial_rows.rows(connection, request.POST.get("sync", ""), acts.user_of(request))
    except trials.DraftRefusedError as error:
        context["errors"] = {issue.field: issue.message for issue in error.issues}
        status = 400
    except RedriveError as error:
        messages.error(request, error.message)
        status = 400
    return TemplateResponse(request, "admin/syncs/connection/try.html", context, status=status)


def _frame(self: ConnectionAdmin, request: HttpRequest, connection: Connection) -> dict[str, Any]:
    values = {name: request.POST.get(name, request.GET.get(name, "")) for name in _FIELDS}
    try:
        names = connections.objects(connection)
    except RedriveError:  # its page says what is wrong
        names = []
    return {
        **frame(self, request, connection, title="Try one record"),
        "form": values,
        "objects": names,
        "operations": [(one.value, one.value) for one in Operation],
        "syncs": trial_rows.syncs(connection, acts.user_of(request)),
    }


def _taken(request: HttpRequest, connection: Connection, form: dict[str, str]) -> dict[str, Any]:
    taken = trial_rows.taken(connection, form["sync"], form["key"], acts.user_of(request))
    return {"form": form | taken, **_shown(request, connection, taken)}


def _shown(request: HttpRequest, connection: Connection, form: Mapping[str, str]) -> dict[str, Any]:
    wanted = trials.draft(connection, form)
    trial, token = trials.rehearse(connection, wanted, by=acts.user_of(request))
    return {"trial": trial, "draft": wanted, "token": token, "outcome": trial_words.outcome(trial), "is_rehearsal": True}


def _sent(request: HttpRequest, connection: Connection, context: dict[str, Any]) -> dict[str, Any]:
    user, token = acts.user_of(request), request.POST.get("token", "")
    wanted, trial = trials.perform(connection, token, by=user)
    form = context["form"] | trial_words.form(wanted)
    return {
        "trial": trial,
        "draft": wanted,
        "form": form,
        "outcome": trial_words.outcome(trial),
        "rule": trials.rule_of(trial),
    }
