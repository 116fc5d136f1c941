"""What applying files would do: read, matched with what is there, compared, checked. Nothing is written here."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from syncs.errors import ConfigError
from syncs.models import Connection, Sync
from syncs.services import access, tags
from syncs.services.config_files import comparing, documents, exporting, reading, references
from syncs.services.config_files.comparing import Change
from syncs.services.config_files.documents import CONNECTION, SYNC
from syncs.services.config_files.reading import Document, Problem
from syncs.services.config_files.references import Environment

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MOST_DOCUMENTS = 500


class Action(StrEnum):
    CREATE = "create"
    CHANGE = "change"
    UNCHANGED = "unchanged"


@dataclass
class Item:
    """One document and what it meets. ``before``: the content there is now; ``secrets``: what a connection is to store."""

    kind: str
    content: dict[str, Any]
    found: Document
    existing: Connection | Sync | None = None
    before: dict[str, Any] | None = None
    secrets: dict[str, Any] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.content[self.kind])

    @property
    def action(self) -> Action:
        if self.existing is None:
            return Action.CREATE
        return Action.CHANGE if self.changes else Action.UNCHANGED


@dataclass
class Plan:
    """``problems``: as long as there is one, nothing may be applied. ``digest``: of the files and of all that would change."""

    items: list[Item]
    problems: list[Problem]
    digest: str = ""

    @property
    def counts(self) -> dict[Action, int]:
        counted = Counter(item.action for item in self.items)
        return {action: counted[action] for action in Action}

    @property
    def is_empty(self) -> bool:
        return all(item.action == Action.UNCHANGED for item in self.items)

    def of(self, kind: str) -> list[Item]:
        return [item for item in self.items if item.kind == kind]


def matched(files: Sequence[tuple[str, bytes]], *, environment: Environment, by: User | None) -> Plan:
    """Everything but the look at warehouses and destinations, which ``checking`` adds. ``by`` None: who may do everything."""
    items, problems = _items(files)
    if not problems and not items:
        problems.append(Problem(files[0][0] if files else "", 0, "", "There is no document to apply."))
    problems += match(items, environment=environment)
    problems += _forbidden(items, by)
    return Plan(items, problems, _digest(files, items))


def match(items: Sequence[Item], *, environment: Environment, is_locking: bool = False) -> list[Problem]:
    """Fill in what each item meets in the database and what it would change. ``is_locking``: in the transaction that writes."""
    problems: list[Problem] = []
    for item in _load(items, CONNECTION, is_locking):
        problems += _match_connection(item, environment)
    for item in _load(items, SYNC, is_locking):
        problems += _match_sync(item)
    return problems


def _items(files: Sequence[tuple[str, bytes]]) -> tuple[list[Item], list[Problem]]:
    items: list[Item] = []
    problems: list[Problem] = []
    for file, data in files:
        try:
            found = reading.read(file, data)
        except reading.UnreadableError as error:
            problems.append(error.problem)
            continue
        for one in found:
            item, wrong = _item(one)
            problems += wrong
            items += [item] if item else []
    if len(items) > MOST_DOCUMENTS:
        problems.append(Problem(files[0][0], 0, "", f"{len(items):,} documents; {MOST_DOCUMENTS:,} are the most at once."))
        return [], problems
    return items, problems + _doubles(items)


def _item(found: Document) -> tuple[Item | None, list[Problem]]:
    kind = documents.kind_of(found)
    if not kind:
        message = "A document is one connection or one sync: it has the key “connection” or the key “sync”, with the name."
        return None, [found.problem((), message)]
    content, problems = documents.content_of(kind, found)
    return (Item(kind, content, found) if content[kind] else None), problems


def _doubles(items: Iterable[Item]) -> list[Problem]:
    first: dict[tuple[str, str], Item] = {}
    problems = []
    for item in items:
        other = first.setdefault((item.kind, item.name), item)
        if other is not item:
            where = f"{other.found.file}, line {other.found.line(other.kind)}"
            message = f"The {item.kind} “{item.name}” stands twice, first in {where}. Keep one of the two."
            problems.append(item.found.problem((item.kind,), message))
    return problems


# -- what is there


def _load(items: Sequence[Item], kind: str, is_locking: bool) -> list[Item]:
    wanted = [item for item in items if item.kind == kind]
    names = {item.name for item in wanted}
    rows: Any = Connection.objects.filter(name__in=names)
    if kind == SYNC:
        rows = Sync.objects.filter(name__in=names).select_related("source", "destination", "owner", "team")
        rows = rows.prefetch_related("mappings", "tags")
    if is_locking:
        rows = rows.order_by("pk").select_for_update(no_key=True, of=("self",))
    there = {row.name: row for row in rows}
    for item in wanted:
        item.existing = there.get(item.name)
    return wanted


def _match_connection(item: Item, environment: Environment) -> list[Problem]:
    content, found = item.content, item.found
    existing = item.existing if isinstance(item.existing, Connection) else None
    item.before, stored, current = None, {}, {}
    if not (content["role"] and content["kind"]):
        return []  # said already
    if existing is not None:
        if fixed := [name for name in ("role", "kind") if getattr(existing, name) != content[name]]:
            was = getattr(existing, fixed[0])
            message = f"“{item.name}” is a connection of {fixed[0]} {was}, and stays one. Give the new connection another name."
            return [found.problem((fixed[0],), message)]
        try:
            current = exporting.references_of(existing, Connection.objects.values_list("name", flat=True))
        except ConfigError as error:
            return [found.problem((CONNECTION,), error.message)]
        stored = dict(existing.secrets or {})
        item.before = documents.connection_content(existing, current)
    try:
        known = references.secret_names(content["role"], content["kind"])
    except (ConfigError, ImportError, ValueError) as error:
        message = error.message if isinstance(error, ConfigError) else f"“{content['kind']}” cannot be used here: {error}."
        return [found.problem(("kind",), message)]
    resolved = references.resolve(
        found, content["secrets"], known=known, stored=stored, current=current, environment=environment
    )
    item.secrets = resolved.secrets
    item.changes = comparing.differences(item.before, content)
    item.changes += [Change(f"secrets.{name}", was, now) for name, (was, now) in resolved.changes.items()]
    return resolved.problems


def _match_sync(item: Item) -> list[Problem]:
    existing = item.existing if isinstance(item.existing, Sync) else None
    item.before = None
    if existing is not None:
        if existing.is_archived:
            message = f"“{item.name}” is archived. Take it out of the archive, or give the sync another name."
            return [item.found.problem((SYNC,), message)]
        lines = sorted(existing.mappings.all(), key=lambda line: (line.position, line.pk))
        item.before = documents.sync_content(existing, lines)
    item.changes = comparing.differences(item.before, item.content)
    return []


# -- who may


def _forbidden(items: Iterable[Item], by: User | None) -> list[Problem]:
    """What somebody who uploads a file may not do with it. Nothing of what they may not see is told or kept to be told."""
    if by is None:
        return []
    problems = []
    for item in items:
        if message := _refusal(item, by):
            problems.append(item.found.problem((item.kind,), message))
            item.before, item.changes = None, []
    return problems


def _refusal(item: Item, by: User) -> str:
    if item.kind == CONNECTION:
        if not by.has_perms(("syncs.add_connection", "syncs.change_connection")):
            return "You may not set up connections. Take this document out of the file."
        return ""
    if item.existing is not None and not access.may_see(by, item.existing.pk):
        return f"The name “{item.name}” is taken by a sync of another team. Choose another name."
    right = "syncs.add_sync" if item.existing is None else "syncs.change_sync"
    if not by.has_perm(right):
        return "You may not set up syncs."
    if (new := tags.unknown(item.content["tags"])) and not by.has_perm("syncs.add_tag"):
        return f"There is no tag “{new[0]}”, and you may not name one. Leave it out, or ask for it."
    team = item.content["team"]
    is_new = item.before is None or item.before["team"] != team
    if team and is_new and not access.teams_of(by).filter(name=team).exists():
        return f"You may not give a sync to the team “{team}”, or there is no such team."
    return ""


def _digest(files: Iterable[tuple[str, bytes]], items: Iterable[Item]) -> str:
    read = [[file, hashlib.sha256(data).hexdigest()] for file, data in files]
    acts = [[item.kind, item.name, item.action, [[one.path, one.before, one.after] for one in item.changes]] for item in items]
    return hashlib.sha256(json.dumps([read, acts], ensure_ascii=False, default=str).encode(errors="replace")).hexdigest()
