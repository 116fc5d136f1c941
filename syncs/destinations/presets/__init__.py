"""Presets of the kind ``http``: settings to start from, one per way in which APIs answer, each setting explained.

A preset is a TOML file with ``answer_class`` (A to H), ``title``, ``like``, ``summary``, the table ``config`` (the connection's
settings) and the table ``explain`` (path of a setting -> what it means).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from syncs.connectors import Issue
from syncs.destinations.http_api.loading import load
from syncs.destinations.http_api.reader import read
from syncs.errors import ConfigError

_MAX_BYTES = 200_000
_CLASSES = tuple("ABCDEFGH")
_OPERATION = re.compile(r"objects\.([^.]+)\.operations\.([^.]+)\.(.+)")


@dataclass(frozen=True, slots=True)
class _File:
    answer_class: str
    title: str
    like: str
    summary: str
    config: dict[str, Any]
    explain: dict[str, str]


@dataclass(frozen=True, slots=True)
class Line:
    """One setting for people. ``group``: whose setting it is, ``contacts, upsert`` or empty for the connection's own. ``name``:
    its path from there. ``value`` is JSON, empty for a group of settings."""

    path: str
    group: str
    name: str
    value: str
    explanation: str


@dataclass(frozen=True, slots=True)
class Preset:
    """``name``: the file's, without its ending. ``lines``: the explained settings in the file's order."""

    name: str
    answer_class: str
    title: str
    like: str
    summary: str
    config: Mapping[str, Any]
    lines: tuple[Line, ...]


@cache
def shipped() -> tuple[Preset, ...]:
    """Those of the product, by class. Raises ``ConfigError`` like ``load_file``."""
    return tuple(load_file(path) for path in sorted(Path(__file__).parent.glob("*.toml")))


def in_folder(folder: Path) -> tuple[list[Preset], list[str]]:
    """Those of a folder, and a sentence for each file that is none."""
    found, problems = [], []
    if not folder.is_dir():
        return [], [f"There is no folder {folder}."]
    for path in sorted(folder.glob("*.toml")):
        try:
            found.append(load_file(path))
        except ConfigError as error:
            problems.append(error.message)
    return found, problems


def load_file(path: Path) -> Preset:
    """Raises ``ConfigError``, which names the file and each key that is wrong, with the reason."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigError(f"{path.name}: the file is larger than {_MAX_BYTES:,} bytes.")
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path.name}: cannot be read as TOML: {error}") from error
    issues: list[Issue] = []
    file = read(_File, data, "", issues)
    if file is not None:
        issues = list(_issues(file))
    if file is None or issues:
        told = "; ".join(f"{issue.field}: {issue.message}" for issue in issues[:5])
        more = f" And {len(issues) - 5} more." if len(issues) > 5 else ""
        raise ConfigError(f"{path.name}: {told}{more}", field=issues[0].field)
    return Preset(
        path.stem, file.answer_class, file.title, file.like, " ".join(file.summary.split()), file.config, tuple(_lines(file))
    )


def _issues(file: _File) -> Iterator[Issue]:
    if file.answer_class not in _CLASSES:
        yield Issue("answer_class", f"“{file.answer_class[:20]}” is not a class. Known: {', '.join(_CLASSES)}.")
    for issue in load(file.config)[1]:
        yield Issue(f"config.{issue.field}", issue.message)
    for path in file.explain:
        if _at(file.config, path) is None:
            yield Issue(f"explain.{path}", "There is no such setting in this file.")


def _lines(file: _File) -> Iterator[Line]:
    for path, explanation in file.explain.items():
        (value,) = _at(file.config, path) or (None,)
        is_group = isinstance(value, dict) and len(orjson.dumps(value)) > 100
        group, name = _placed(path)
        yield Line(path, group, name, "" if is_group else orjson.dumps(value).decode(), " ".join(explanation.split()))


def _placed(path: str) -> tuple[str, str]:
    match = _OPERATION.fullmatch(path)
    return (f"{match[1]}, {match[2]}", match[3]) if match else ("", path)


def _at(config: Mapping[str, Any], path: str) -> tuple[Any] | None:
    """The setting at a dotted path; None where there is none. Names in the settings may hold dots themselves."""
    if path in config:
        return (config[path],)
    for cut in (place for place, sign in enumerate(path) if sign == "."):
        below = config.get(path[:cut])
        if isinstance(below, Mapping) and (found := _at(below, path[cut + 1 :])) is not None:
            return found
    return None
