"""Settings that several kinds of source share, and their checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syncs.connectors import ConfigField, Issue
from syncs.errors import ConfigError, SourceError

CONNECT_TIMEOUT = ConfigField(
    "connect_timeout_seconds", "Connect timeout (s)", "integer", default=10, help="How long to wait for the server to answer."
)
STATEMENT_TIMEOUT = ConfigField(
    "statement_timeout_seconds",
    "Statement timeout (s)",
    "integer",
    default=3600,
    help="The longest one step of reading may take in a run, in seconds.",
)
PREVIEW_TIMEOUT = ConfigField(
    "preview_timeout_seconds", "Preview timeout (s)", "integer", default=30, help="The same for previews and checks."
)
TIMEOUTS = (CONNECT_TIMEOUT, STATEMENT_TIMEOUT, PREVIEW_TIMEOUT)
MAX_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds."""

    connect: int = 10
    statement: int = 3600
    preview: int = 30

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Timeouts:
        return cls(*(number(config, field) for field in TIMEOUTS))


def text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    return "" if value is None else str(value).strip()


def number(config: Mapping[str, Any], field: ConfigField) -> int:
    """The setting as an integer, its default where it is empty. Raises ``ConfigError`` naming the field."""
    value = config.get(field.name)
    if value is None or value == "":
        return int(field.default)
    try:
        if isinstance(value, (bool, float)) and value != int(value):
            raise ValueError
        return int(value)
    except (TypeError, ValueError):
        raise ConfigError(f"{field.label} must be a whole number.", field=field.name) from None


def issues(fields: Sequence[ConfigField], config: Mapping[str, Any], secrets: Mapping[str, Any]) -> list[Issue]:
    """What every kind checks: required settings, whole numbers, known choices."""
    found = []
    for field in fields:
        value = text(secrets if field.is_secret else config, field.name)
        if not value:
            if field.is_required:
                found.append(Issue(field.name, f"{field.label} is required."))
        elif field.type == "integer":
            found += _integer_issues(field, config)
        elif field.choices and value not in dict(field.choices):
            found.append(Issue(field.name, f"{field.label} must be one of: {', '.join(dict(field.choices))}."))
    return found


def _integer_issues(field: ConfigField, config: Mapping[str, Any]) -> list[Issue]:
    try:
        value = number(config, field)
    except ConfigError as error:
        return [Issue(field.name, error.message)]
    top = 65_535 if field.name == "port" else MAX_SECONDS
    if not 1 <= value <= top:
        return [Issue(field.name, f"{field.label} must lie between 1 and {top:,}.")]
    return []


def refuse(found: Sequence[Issue]) -> None:
    """Raise ``ConfigError`` for the first issue: ``build`` is never to work on settings that ``validate`` refuses."""
    if found:
        raise ConfigError(found[0].message, field=found[0].field)


def path_issues(config: Mapping[str, Any]) -> list[Issue]:
    path = text(config, "path")
    if path and ("\x00" in path or path == ":memory:"):
        return [Issue("path", "File must be the path of a database file.")]
    if path and not Path(path).expanduser().is_absolute():
        return [
            Issue("path", "File must be a full path, starting with /: web and worker processes may run in different folders.")
        ]
    return []


def check_file(path: Path) -> None:
    """Raises ``SourceError`` naming what is wrong with the path."""
    try:
        if path.is_dir():
            raise SourceError(f"{path} is a folder. Give the path of the database file.", field="path")
        if not path.exists():
            raise SourceError(f"There is no file {path} on this machine. Check the path.", field="path")
        with path.open("rb"):
            pass
    except OSError as error:
        raise SourceError(f"The file {path} cannot be read: {error.strerror}. Check its permissions.", field="path") from None


def ran_too_long(seconds: float) -> SourceError:
    return SourceError(
        f"The query ran into the limit of {seconds:.0f} s. Make it faster, or raise the timeout of the connection.",
        field="query",
    )
