"""Settings and secrets of a connection as a program gives them: by their names, each checked against what its kind declares."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from syncs.connectors import ConfigField, Issue
from syncs.errors import ConfigError
from syncs.models import Connection
from syncs.services import connection_kinds, connections, presets
from syncs.services.connection_saving import NewSecrets

_EMPTY: tuple[Any, ...] = (None, "", {}, [])


class SettingsRefusedError(ConfigError):
    """``issues``: what to correct, by paths in the input: ``config.limits.concurrency``, ``secrets.token``."""

    def __init__(self, issues: list[Issue]) -> None:
        super().__init__("The connection is not saved: correct what is named.", field=issues[0].field)
        self.issues = issues


def begin(role: str, kind: str, preset: str) -> Connection:
    """A connection that is not saved, with what its kind, or the preset, begins with. Raises ``SettingsRefusedError``."""
    if problem := connection_kinds.unusable(role, kind):
        raise SettingsRefusedError([Issue("kind", problem)])
    fields = connection_kinds.declared(role, kind)
    config = {field.name: field.default for field in fields if not field.is_secret and not _is_empty(field.default)}
    if preset:
        config |= _preset(role, kind, preset)
    return Connection(role=role, kind=kind, config=config, secrets={})


def _preset(role: str, kind: str, name: str) -> dict[str, Any]:
    if (role, kind) != ("destination", presets.KIND):
        raise SettingsRefusedError([Issue("preset", f"Only destinations of the kind {presets.KIND} begin with a preset.")])
    found = presets.named(name)
    if found is None:
        known = ", ".join(preset.name for preset in presets.offered()[0])
        raise SettingsRefusedError([Issue("preset", f"There is no preset “{name[:60]}”. There are: {known}.")])
    return dict(found.config)


def take(connection: Connection, config: Mapping[str, Any], secrets: Mapping[str, str | None]) -> NewSecrets:
    """Put what is given on the connection; null takes a setting or a secret away, and what is not named stays. The secrets on
    it are then those that would be stored. Raises ``SettingsRefusedError`` with all that is wrong; nothing is saved."""
    fields = {field.name: field for field in connection_kinds.declared(connection.role, connection.kind)}
    settings = {name: field for name, field in fields.items() if not field.is_secret}
    stored = {} if connections.unreadable(connection) else dict(connection.secrets or {})
    issues = [
        *_setting_issues(settings, config, connection.config or {}),
        *_secret_issues({name: field for name, field in fields.items() if field.is_secret}, secrets),
    ]
    given = {name: value for name, value in secrets.items() if value is not None}
    removed = frozenset(name for name, value in secrets.items() if value is None and name in stored)
    merged = {name: _cleaned(value) for name, value in {**(connection.config or {}), **config}.items()}
    connection.config = {name: value for name, value in merged.items() if not (name in settings and _is_empty(value))}
    connection.secrets = {name: value for name, value in stored.items() if name not in removed} | given
    if not issues:
        issues = list(_missing(fields.values(), connection))
    if not issues:
        issues = [_placed(issue, fields) for issue in connections.validate(connection)]
    if issues:
        raise SettingsRefusedError(issues)
    return NewSecrets(given, removed)


def _setting_issues(
    settings: Mapping[str, ConfigField], config: Mapping[str, Any], stored: Mapping[str, Any]
) -> Iterator[Issue]:
    for name, value in config.items():
        field = settings.get(name)
        if field is None:
            if not (value is None and name in stored):  # what another tool put there can be taken away
                yield Issue(f"config.{name[:80]}", f"There is no setting of that name. There are: {_names(settings)}.")
        elif not _is_empty(value) and (said := _type_problem(field, value)):
            yield Issue(f"config.{name}", said)


def _secret_issues(fields: Mapping[str, ConfigField], secrets: Mapping[str, str | None]) -> Iterator[Issue]:
    for name in secrets:
        if name not in fields:
            yield Issue(f"secrets.{name[:80]}", f"There is no secret of that name. There are: {_names(fields)}.")


def _names(fields: Mapping[str, ConfigField]) -> str:
    return ", ".join(fields) or "none"


def _type_problem(field: ConfigField, value: Any) -> str:
    if field.type == "integer":
        return "" if isinstance(value, int) and not isinstance(value, bool) else "Give an integer."
    if field.type == "boolean":
        return "" if isinstance(value, bool) else "Give true or false."
    if field.type == "choice":
        known = [choice for choice, _label in field.choices]
        return "" if isinstance(value, str) and value in known else f"Choose among {', '.join(known)}."
    if field.type == "json":
        return ""  # its kind looks at it
    return "" if isinstance(value, str) else "Give a text."


def _missing(fields: Iterable[ConfigField], connection: Connection) -> Iterator[Issue]:
    for field in fields:
        place, values = ("secrets", connection.secrets) if field.is_secret else ("config", connection.config)
        if field.is_required and _is_empty(values.get(field.name)):
            yield Issue(f"{place}.{field.name}", f"{field.label} is required. {field.help}".strip())


def _placed(issue: Issue, fields: Mapping[str, ConfigField]) -> Issue:
    field = fields.get(issue.field.partition(".")[0])
    if field is None:
        return Issue("config", f"{issue.field}: {issue.message}" if issue.field else issue.message)
    return Issue(f"{'secrets' if field.is_secret else 'config'}.{issue.field}", issue.message)


def _cleaned(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


def _is_empty(value: Any) -> bool:
    return not isinstance(value, bool) and any(value == empty and type(value) is type(empty) for empty in _EMPTY)
