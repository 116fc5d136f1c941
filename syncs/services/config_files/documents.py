"""What a configuration document may say, and what it says when it leaves a key out: the format ``redrive: 1``.

``content`` is the whole of one object as plain values, every key there; a document is the same with the defaults left out.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import models

from syncs.choices import ConnectionRole
from syncs.models import Connection, FieldMapping, Sync
from syncs.services.config_files.comparing import canonical
from syncs.services.config_files.reading import Document, Path, Problem
from syncs.services.versions import MAPPING_FIELDS

VERSION = 1
CONNECTION, SYNC = "connection", "sync"
_MOST_LINES = 1_000  # of a mapping

# The order in which a sync's settings are written; read top to bottom it tells what the sync does.
SYNC_SETTINGS = (
    "query", "destination_object", "destination_options", "mode", "detection", "cursor_column", "cursor_overlap_seconds",
    "on_mapping_error", "delete_guard_percent", "delete_guard_rows", "batch_records", "max_attempts", "retry_budget_seconds",
    "breaker_threshold", "schedule_kind", "interval_minutes", "cron", "timezone", "overlap_policy",
)  # fmt: skip
_TAG = re.compile(r"[-a-zA-Z0-9_]{1,40}")  # as the model has it
_ANYTHING: tuple[type, ...] = ()


@dataclass(frozen=True, slots=True)
class Key:
    """``types``: what its value may be, empty: anything. ``default``: what it is when the document does not say."""

    name: str
    types: tuple[type, ...] = (str,)
    default: Any = ""
    is_required: bool = False
    choices: tuple[str, ...] = ()


def _of(model: type[models.Model], name: str) -> Key:
    """As the model has it: a setting that gets another default or another choice there has it here."""
    field: Any = model._meta.get_field(name)
    default = field.get_default()
    if isinstance(field, models.JSONField):
        types: tuple[type, ...] = _ANYTHING if field.null else (dict,)
    elif isinstance(field, models.BooleanField):
        types = (bool,)
    else:
        types = (int,) if isinstance(field, models.IntegerField) else (str,)
    is_required = not field.has_default() and not field.null and not field.blank
    choices = tuple(str(value) for value, _ in field.choices or ())
    return Key(name, types, None if field.null and not field.has_default() else default, is_required, choices)


_HEAD = (Key("redrive", (int,), is_required=True),)
KEYS: dict[str, tuple[Key, ...]] = {
    CONNECTION: (
        *_HEAD,
        Key(CONNECTION, is_required=True),
        Key("role", is_required=True, choices=tuple(role.value for role in ConnectionRole)),
        Key("kind", is_required=True),
        Key("description"),
        Key("config", (dict,), {}),
        Key("secrets", (dict,), {}),
    ),
    SYNC: (
        *_HEAD,
        Key(SYNC, is_required=True),
        Key("description"),
        Key("owner", default=None),
        Key("team", default=None),
        Key("tags", (list,), []),
        Key("source", is_required=True),
        Key("key_columns", (list,), is_required=True),
        Key("destination", is_required=True),
        *(_of(Sync, name) for name in SYNC_SETTINGS),
        Key("mappings", (list,), []),
    ),
}
LINE_KEYS = tuple(_of(FieldMapping, name) for name in MAPPING_FIELDS)
_FREE = {"config", "destination_options", "options", "constant", "default"}  # JSON of any shape: its keys are sorted
_CALLED = {str: "a text", int: "a whole number", bool: "true or false", dict: "keys and values", list: "a list"}


# -- from the database


def connection_content(connection: Connection, secrets: Mapping[str, str]) -> dict[str, Any]:
    """``secrets``: name -> reference. Raises nothing: the config is taken as it is."""
    return {
        CONNECTION: connection.name,
        "role": connection.role,
        "kind": connection.kind,
        "description": line_ends(connection.description),
        "config": connection.config or {},
        "secrets": dict(secrets),
    }


def sync_content(sync: Sync, lines: Iterable[FieldMapping]) -> dict[str, Any]:
    """Wants ``source``, ``destination``, ``owner``, ``team`` and ``tags`` loaded.

    Lines end as on Unix; a browser sends other ends.
    """
    settings = {name: getattr(sync, name) for name in SYNC_SETTINGS}
    return {
        SYNC: sync.name,
        "description": line_ends(sync.description),
        "owner": sync.owner.get_username() if sync.owner else None,
        "team": sync.team.name if sync.team else None,
        "tags": sorted(tag.name for tag in sync.tags.all()),
        "source": sync.source.name,
        "key_columns": list(sync.key_column_list),
        "destination": sync.destination.name,
        **settings,
        "query": line_ends(sync.query),
        "mappings": [_line_content(line) for line in lines],
    }


def _line_content(line: FieldMapping) -> dict[str, Any]:
    values = {name: getattr(line, name) for name in MAPPING_FIELDS}
    return {**values, "template": line_ends(line.template)}


def line_ends(text: str) -> str:
    return text.replace("\r\n", "\n")


# -- to a document


def document(kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """What is written: the format's version first, then every key whose value is not the default."""
    found = _without_defaults(KEYS[kind], {"redrive": VERSION, **content})
    if "mappings" in found:
        found["mappings"] = [_without_defaults(LINE_KEYS, line) for line in found["mappings"]]
    return found


def _without_defaults(keys: Iterable[Key], content: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key.name: _sorted(content[key.name]) if key.name in _FREE else content[key.name]
        for key in keys
        if key.is_required or canonical(content[key.name]) != canonical(key.default)
    }


def _sorted(value: Any) -> Any:
    """Keys in one order, whatever the database made of it."""
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


# -- from a document


def kind_of(found: Document) -> str:
    """``connection`` or ``sync``; empty where it is neither."""
    kinds = [kind for kind in KEYS if kind in found.values]
    return kinds[0] if len(kinds) == 1 else ""


def content_of(kind: str, found: Document) -> tuple[dict[str, Any], list[Problem]]:
    """The content, with the defaults filled in, and everything that is wrong with its form."""
    content, problems = _filled(KEYS[kind], found, found.values, (), of=f"a {kind}")
    version = found.values.get("redrive")
    if version != VERSION or isinstance(version, bool):
        message = f"This is format {version!r}; this Redrive reads format {VERSION}." if "redrive" in found.values else ""
        problems = [one for one in problems if one.key != "redrive"]
        problems.insert(0, found.problem(("redrive",), message or f"The document must begin with “redrive: {VERSION}”."))
    if kind == SYNC:
        content["tags"] = _tags(found, content["tags"], problems)
        content["key_columns"] = _columns(found, content["key_columns"], problems)
        content["mappings"] = _lines(found, content["mappings"], problems)
    content.pop("redrive", None)
    return content, problems


def _filled(
    keys: tuple[Key, ...], found: Document, given: Mapping[str, Any], path: Path, *, of: str
) -> tuple[dict[str, Any], list[Problem]]:
    known = {key.name for key in keys}
    problems = [found.problem((*path, name), _unknown(name, known, of)) for name in given if name not in known]
    content = {}
    for key in keys:
        value = given.get(key.name)
        if value is None and "null" in key.choices and key.name in given:
            value = "null"  # the word, not the absence: on_null: null
        if value is None:
            if key.is_required:
                problems.append(found.problem((*path, key.name), f"The key “{key.name}” is missing: {of} needs it."))
            content[key.name] = key.default
            continue
        if message := _wrong(key, value):
            problems.append(found.problem((*path, key.name), message))
            value = key.default
        content[key.name] = value
    return content, problems


def _unknown(name: str, known: Iterable[str], of: str) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    hint = f" Did you mean “{near[0]}”?" if near else f" It has: {', '.join(sorted(known))}."
    return f"There is no key “{name[:80]}” in {of}.{hint}"


def _wrong(key: Key, value: Any) -> str:
    """Why the key cannot have the value; empty where it can."""
    if key.types and (not isinstance(value, key.types) or (isinstance(value, bool) and bool not in key.types)):
        expected = " or ".join(_CALLED[one] for one in key.types)
        hint = " Write it in quotes." if key.types == (str,) and not isinstance(value, (dict, list)) else ""
        return f"Must be {expected}, not {_name_of(value)}.{hint}"
    if key.choices and value not in key.choices:
        return f"“{str(value)[:80]}” is none of: {', '.join(key.choices)}."
    if key.is_required and value in ("", []):
        return "Must not be empty."
    return ""


def _name_of(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "nothing" if value is None else "true or false"
    return {int: "a number", float: "a number", str: "a text", dict: "keys and values", list: "a list"}[type(value)]


def _columns(found: Document, names: Any, problems: list[Problem]) -> list[str]:
    wrong = [index for index, name in enumerate(names) if not isinstance(name, str) or not name.strip() or "," in name]
    if wrong:
        problems.append(found.problem(("key_columns", wrong[0]), "Must be the name of a column, without a comma."))
    return [] if wrong else [name.strip() for name in names]


def _tags(found: Document, names: list[Any], problems: list[Problem]) -> list[str]:
    """Each once, in one order: the order of tags says nothing."""
    wrong = [index for index, name in enumerate(names) if not isinstance(name, str) or not _TAG.fullmatch(name)]
    if wrong:
        message = "A tag is a word of at most 40 letters, digits, hyphens and underscores, for example customer-360."
        problems.append(found.problem(("tags", wrong[0]), message))
    return [] if wrong else sorted(set(names))


def _lines(found: Document, given: list[Any], problems: list[Problem]) -> list[dict[str, Any]]:
    if len(given) > _MOST_LINES:
        problems.append(found.problem(("mappings",), f"{len(given):,} lines; {_MOST_LINES:,} are the most."))
        return []
    lines = []
    for index, line in enumerate(given):
        if not isinstance(line, dict):
            problems.append(found.problem(("mappings", index), f"Must be keys and values, not {_name_of(line)}."))
            continue
        content, wrong = _filled(LINE_KEYS, found, line, ("mappings", index), of="a line of a mapping")
        problems += wrong
        lines.append(content)
    return lines
