"""Secrets in configuration files: named, never held. ``${env:NAME}`` is looked up where the file is applied."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from syncs.choices import ConnectionRole
from syncs.connectors import ConfigField
from syncs.destinations import registry as destinations
from syncs.models import Connection
from syncs.services.config_files.reading import Document, Problem
from syncs.sources import registry as sources

PREFIX = "REDRIVE_SECRET_"  # of the variables that a file which is uploaded in the console may name
# What a connection's secrets were applied from: name -> {reference, digest of the value}. Kept beside them, encrypted too.
APPLIED = "_applied"
_REFERENCE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]{0,199})\}")
_PLAIN = re.compile(r"[A-Za-z0-9]+(?:[ _-][A-Za-z0-9]+)*")
_NEVER = frozenset({"SECRET_KEY", "RETL_ENCRYPTION_KEYS", "DATABASE_URL"})
# Replaced by a refresh: the environment has the first one only, so it is taken again only when the environment's changes.
_ROTATING = frozenset({"refresh_token"})


@dataclass(frozen=True, slots=True)
class Environment:
    """``values``: where references are looked up. ``is_any``: whether names without the prefix may be read."""

    values: Mapping[str, str]
    is_any: bool


def declared(role: str, kind: str) -> tuple[ConfigField, ...]:
    """The settings of a kind. Raises ``ConfigError`` for an unknown one, ``ImportError`` where its package is missing."""
    registry: Any = sources if role == ConnectionRole.SOURCE else destinations
    fields: tuple[ConfigField, ...] = registry.module(kind).FIELDS
    return fields


def secret_names(role: str, kind: str) -> list[str]:
    return [field.name for field in declared(role, kind) if field.is_secret]


def written(connection: Connection, names: Iterable[str], others: Iterable[str]) -> dict[str, str]:
    """Name -> reference of the secrets that are stored: the one they were applied from, or one made of the connection's name.

    ``others``: names of all connections, so that two never share a variable by having nearly the same name.
    """
    stored: Mapping[str, Any] = connection.secrets or {}
    applied: Mapping[str, Any] = stored.get(APPLIED) or {}
    stem = _stem(connection.name, others)
    return {
        name: applied[name]["reference"] if name in applied else f"${{env:{PREFIX}{stem}_{_upper(name)}}}"
        for name in names
        if stored.get(name)
    }


def _stem(name: str, others: Iterable[str]) -> str:
    plain = _upper(name)
    is_alone = sum(_upper(other) == plain for other in others) <= 1
    if _PLAIN.fullmatch(name) and is_alone and len(name) <= 80:
        return plain
    return "_".join(filter(None, (plain[:80], hashlib.sha256(name.encode()).hexdigest()[:8].upper())))


def _upper(name: str) -> str:
    return re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")


@dataclass(frozen=True)
class Resolved:
    """``secrets``: what is to be stored. ``changes``: name -> (before, after) in words. ``problems``: what is refused."""

    secrets: dict[str, Any]
    changes: dict[str, tuple[str, str]]
    problems: list[Problem]


def resolve(
    found: Document,
    given: Mapping[str, Any],
    *,
    known: Iterable[str],
    stored: Mapping[str, Any],
    current: Mapping[str, str],
    environment: Environment,
) -> Resolved:
    """The stored secrets with those that the document names. One that it does not name stays; one that it sets to null goes.

    ``known``: names that the kind has; ``current``: references as an export would write them now.
    """
    names = set(known)
    made = Resolved(dict(stored), {}, [])
    applied: dict[str, Any] = dict(made.secrets.pop(APPLIED, None) or {})
    for name, reference in given.items():
        if name not in names:
            listed = ", ".join(sorted(names)) or "none"
            made.problems.append(found.problem(("secrets", name), f"This kind has no secret “{name[:80]}”. It has: {listed}."))
        elif reference is None:
            applied.pop(name, None)
            if made.secrets.pop(name, None):
                made.changes[name] = ("set", "removed")
        else:
            _take(made, applied, found, name, reference, current.get(name, ""), environment)
    if applied:
        made.secrets[APPLIED] = applied
    return made


def _take(
    made: Resolved, applied: dict[str, Any], found: Document, name: str, reference: Any, current: str, environment: Environment
) -> None:
    before = applied.get(name) if made.secrets.get(name) else None
    value = _value(reference, before, environment, is_stored=reference == current)
    if isinstance(value, Refused):
        made.problems.append(found.problem(("secrets", name), value.message))
        return
    if value is None:
        return
    is_same = made.secrets.get(name) == value
    now = {"reference": reference, "digest": hashlib.sha256(value.encode()).hexdigest()}
    if before == now and (is_same or name in _ROTATING):
        return
    if is_same and before is None and reference == current:
        return
    was = "set" if made.secrets.get(name) else "not set"
    made.changes[name] = (was, f"the same, from {reference}" if is_same else f"set from {reference}")
    made.secrets[name], applied[name] = value, now


@dataclass(frozen=True, slots=True)
class Refused:
    message: str


def _value(
    reference: Any, before: Mapping[str, Any] | None, environment: Environment, *, is_stored: bool
) -> str | Refused | None:
    """None: it stays as it is. ``is_stored``: an export would write this very reference, so where nothing else is known, the
    stored secret is the one that is meant."""
    match = _REFERENCE.fullmatch(reference) if isinstance(reference, str) else None
    if match is None:  # never quoted: somebody may have written the secret itself
        return Refused("A secret is named, never written. Write ${env:NAME}, and set NAME in the environment.")
    name = match[1]
    if name in _NEVER:
        return Refused(f"{name} is Redrive's own and is not given to a connection. Name another variable.")
    if not environment.is_any and not name.startswith(PREFIX):
        if before is not None and before["reference"] == reference:
            return None
        way_out = f"Rename {name}, or use manage.py sync_apply."
        return Refused(f"Files from the console may only name variables that begin with {PREFIX}. {way_out}")
    value = environment.values.get(name, "")
    if not value and is_stored:
        return None
    if not value:
        return Refused(f"The environment has no variable {name}. Set it where this file is applied.")
    return value
