"""The deep check of a plan: settings of connections, names that are referred to, and each sync as the edit form checks it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import models

from syncs.choices import ConnectionRole
from syncs.connectors import Issue
from syncs.errors import RedriveError
from syncs.models import Connection, FieldMapping, Sync, Team
from syncs.services import connections as connection_service
from syncs.services import validation
from syncs.services.config_files.documents import CONNECTION, SYNC, SYNC_SETTINGS
from syncs.services.config_files.planning import Action, Item, Plan
from syncs.services.config_files.reading import Path, Problem
from syncs.services.config_files.references import secret_names

ROLES = {"source": ConnectionRole.SOURCE, "destination": ConnectionRole.DESTINATION}


@dataclass(frozen=True)
class Known:
    """What documents may refer to, by name: connections as they will be, the names of users and of teams."""

    connections: Mapping[str, Connection]
    owners: Mapping[str, int]
    teams: Mapping[str, int]


def check(plan: Plan, *, on_item: Callable[[Item], None] = lambda item: None) -> Known:
    """Add to the plan's problems what is wrong beyond the form. Warehouses are asked for columns, no row is read.

    Outside any transaction: a warehouse may take seconds. Syncs that stay as they are, over connections that do, are not
    asked about. ``on_item``: called before each sync that is looked at.
    """
    known = _known(plan)
    broken = set()
    for item in plan.of(CONNECTION):
        if item.action != Action.UNCHANGED and item.content["kind"]:
            found = _connection_problems(item, known.connections[item.name])
            plan.problems += found
            broken |= {item.name} if found else set()
    changed = {item.name for item in plan.of(CONNECTION) if item.action != Action.UNCHANGED}
    for item in plan.of(SYNC):
        used = {item.content["source"], item.content["destination"]}
        if item.action != Action.UNCHANGED or used & changed:
            on_item(item)
            plan.problems += _sync_problems(item, known, is_shallow=bool(plan.problems))
    return known


def _known(plan: Plan) -> Known:
    syncs, brought = plan.of(SYNC), plan.of(CONNECTION)
    names = {item.content[role] for item in syncs for role in ROLES}
    there = {one.name: one for one in Connection.objects.filter(name__in=names)}
    for number, item in enumerate(brought, 1):
        if item.action != Action.UNCHANGED:
            there[item.name] = unsaved_connection(item, number)
        elif isinstance(item.existing, Connection):
            there[item.name] = item.existing
    users = get_user_model().objects.filter(username__in={item.content["owner"] for item in syncs} - {None})
    teams = Team.objects.filter(name__in={item.content["team"] for item in syncs} - {None})
    owners = dict(users.values_list(get_user_model().USERNAME_FIELD, "pk"))
    return Known(there, owners, dict(teams.values_list("name", "pk")))


def unsaved_connection(item: Item, number: int) -> Connection:
    """The connection as it would be, with its secrets in memory. A new one has a number below zero, so that it can be used."""
    pk = item.existing.pk if item.existing is not None else -number
    values = {name: item.content[name] for name in ("role", "kind", "description", "config")}
    return Connection(pk=pk, name=item.name, secrets=item.secrets, **values)


def _connection_problems(item: Item, connection: Connection) -> list[Problem]:
    problems = _field_problems(item, connection, ("name", "kind", "description"), {"name": CONNECTION})
    try:
        issues = connection_service.validate(connection)
    except RedriveError as error:
        issues = [Issue(error.field, error.message)]
    for issue in issues:
        path = _path(issue.field)
        if path[:1] == ("kind",) or path[:1] == ("role",):
            where = path
        else:
            is_secret = bool(path) and path[0] in secret_names(connection.role, connection.kind)
            where = ("secrets" if is_secret else "config", *path)
        problems.append(item.found.problem(where, issue.message))
    return problems


def _sync_problems(item: Item, known: Known, *, is_shallow: bool) -> list[Problem]:
    """``is_shallow``: something is wrong already, so the warehouse is left in peace."""
    problems = _reference_problems(item, known)
    if problems or not all(item.content[role] for role in ROLES):
        return problems
    sync = unsaved_sync(item, known)
    lines = unsaved_lines(item, sync)
    problems = _field_problems(item, sync, ("name", "description", "key_columns", *SYNC_SETTINGS), {"name": SYNC})
    for index, line in enumerate(lines):
        problems += _field_problems(item, line, tuple(item.content["mappings"][index]), {}, ("mappings", index))
    if problems or is_shallow:
        return problems
    try:
        issues = validation.validate(sync, mappings=lines)
    except RedriveError as error:
        issues = [Issue(error.field, error.message)]
    return [item.found.problem(_path(issue.field), issue.message) for issue in issues]


def _reference_problems(item: Item, known: Known) -> list[Problem]:
    problems = []
    for key, role in ROLES.items():
        name = item.content[key]
        if not name:
            continue
        connection = known.connections.get(name)
        if connection is None:
            message = f"There is no connection “{name}”, neither here nor in the files. Add its document, or correct the name."
            problems.append(item.found.problem((key,), message))
        elif connection.role != role:
            message = f"“{name}” is a {connection.role}, not a {role.value}. Name another connection."
            problems.append(item.found.problem((key,), message))
    for key, there in (("owner", known.owners), ("team", known.teams)):
        name = item.content[key]
        if name is not None and name not in there:
            what = "user" if key == "owner" else "team"
            message = f"There is no {what} “{name}”. Make the {what} first, or leave the key out."
            problems.append(item.found.problem((key,), message))
    return problems


def unsaved_sync(item: Item, known: Known) -> Sync:
    content = item.content
    return Sync(
        pk=item.existing.pk if item.existing is not None else None,
        name=item.name,
        description=content["description"],
        owner_id=known.owners.get(content["owner"] or ""),
        team_id=known.teams.get(content["team"] or ""),
        source=known.connections[content["source"]],
        destination=known.connections[content["destination"]],
        key_columns=",".join(content["key_columns"]),
        **{name: content[name] for name in SYNC_SETTINGS},
    )


def unsaved_lines(item: Item, sync: Sync) -> list[FieldMapping]:
    return [FieldMapping(sync=sync, position=position, **line) for position, line in enumerate(item.content["mappings"])]


def _field_problems(
    item: Item, row: models.Model, names: tuple[str, ...], called: Mapping[str, str], path: Path = ()
) -> list[Problem]:
    """What the model itself refuses: lengths, ranges."""
    left_out = {one.name for one in row._meta.fields} - set(names)
    try:
        row.clean_fields(exclude=left_out)
    except ValidationError as error:
        found: dict[str, Any] = error.message_dict
        return [item.found.problem((*path, called.get(name, name)), " ".join(map(str, texts))) for name, texts in found.items()]
    return []


def _path(text: str) -> Path:
    return tuple(int(part) if part.isdigit() else part for part in text.split(".") if part)
