"""The kinds that a connection can have, and the settings that each declares."""

from __future__ import annotations

from dataclasses import dataclass

from syncs.choices import ConnectionRole
from syncs.connectors import ConfigField
from syncs.destinations import registry as destinations
from syncs.errors import ConfigError
from syncs.sources import registry as sources

_REGISTRIES = {ConnectionRole.SOURCE: sources, ConnectionRole.DESTINATION: destinations}


@dataclass(frozen=True, slots=True)
class Kind:
    """``problem``: why nothing can be made of this kind here; then it has no ``fields``."""

    role: ConnectionRole
    kind: str
    label: str
    fields: tuple[ConfigField, ...] = ()
    problem: str = ""

    @property
    def is_usable(self) -> bool:
        return not self.problem


def kinds() -> dict[ConnectionRole, list[tuple[str, str]]]:
    """(kind, label) a connection can have, per role."""
    return {
        ConnectionRole.SOURCE: [(kind, label) for kind, (label, _) in sources.SOURCE_KINDS.items()],
        ConnectionRole.DESTINATION: destinations.kinds(),
    }


def kind_label(role: str, kind: str) -> str:
    return dict(kinds().get(ConnectionRole(role), [])).get(kind, kind)


def declared(role: str, kind: str) -> tuple[ConfigField, ...]:
    """The kind's settings. Raises ``ConfigError`` for an unknown kind, ``ImportError`` where its package is missing."""
    fields: tuple[ConfigField, ...] = _REGISTRIES[ConnectionRole(role)].module(kind).FIELDS
    return fields


def unusable(role: str, kind: str) -> str:
    """Why there can be no connection of this kind here; empty where there can."""
    try:
        declared(role, kind)
    except ConfigError as error:
        return error.message
    except ImportError as error:
        return f"The kind “{kind}” needs a package that is not installed: {error.name or error}."
    return ""


def described() -> list[Kind]:
    """Every kind with its settings, sources first."""
    return [_described(role, kind, label) for role, found in kinds().items() for kind, label in found]


def _described(role: ConnectionRole, kind: str, label: str) -> Kind:
    problem = unusable(role, kind)
    return Kind(role, kind, label, () if problem else declared(role, kind), problem)
