"""A kind that another package brings: loaded once, checked for its shape, and its accidents told in sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

from syncs.connectors import ConfigField, Issue
from syncs.destinations.base import Capabilities, Destination
from syncs.errors import ConfigError, RedriveError

_WANTED = ("FIELDS", "validate", "objects", "build")
_METHODS = ("check", "fields", "write", "confirm", "close")


class ForeignKind:
    """What ``registry.module`` gives for a kind of another package; the same names as a module of ours.

    Raises ``ConfigError`` where the package cannot be imported or lacks something.
    """

    def __init__(self, point: metadata.EntryPoint) -> None:
        self._name, self._origin = point.name, point.value
        try:
            self._module = point.load()
        except Exception as error:  # the code of others may raise anything while it is imported
            raise self._fault(f"cannot be imported: {type(error).__name__}: {error}") from error
        missing = [name for name in _WANTED if not hasattr(self._module, name)]
        if missing:
            raise self._fault(f"lacks {', '.join(missing)}. See docs/connectors.md")
        self.FIELDS = self._fields(self._module.FIELDS)
        self.LABEL = str(getattr(self._module, "LABEL", "") or point.name)[:80]

    def validate(self, config: Mapping[str, Any], secrets: Mapping[str, Any]) -> list[Issue]:
        try:
            return list(self._module.validate(config, secrets))
        except Exception as error:  # noqa: BLE001 - told on the form
            return [Issue("kind", self._fault(f"failed to check these settings: {type(error).__name__}").message)]

    def objects(self, config: Mapping[str, Any]) -> list[str]:
        named: list[str] = self._told(lambda: list(map(str, self._module.objects(config))), "failed to name its objects")
        return named

    def build(self, **settings: Any) -> Destination:
        made: Destination = self._told(lambda: self._module.build(**settings), "failed to open the connection")
        missing = [name for name in _METHODS if not callable(getattr(made, name, None))]
        missing += [] if isinstance(getattr(made, "capabilities", None), Capabilities) else ["capabilities"]
        if missing:
            raise self._fault(f"makes a destination that lacks {', '.join(missing)}. See docs/connectors.md")
        return made

    def _told(self, act: Callable[[], Any], what: str) -> Any:
        try:
            return act()
        except RedriveError:
            raise
        except Exception as error:  # its text may hold settings: the type alone is told
            raise self._fault(f"{what}: {type(error).__name__}") from error

    def _fields(self, given: Any) -> tuple[ConfigField, ...]:
        if not isinstance(given, tuple | list) or not all(isinstance(field, ConfigField) for field in given):
            raise self._fault("declares FIELDS that are not ConfigField values. See docs/connectors.md")
        return tuple(given)

    def _fault(self, text: str) -> ConfigError:
        return ConfigError(f"The kind “{self._name}” comes from {self._origin}, which {text}."[:400], field="kind")
