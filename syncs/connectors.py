"""What sources and destinations share: declared settings (forms, checks and masking follow from one list) and test reports.

Plain Python.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ConfigField:
    """One setting of a connection kind, from which the form is made. ``type``: text, integer, boolean, choice, json, secret."""

    name: str
    label: str
    type: str = "text"
    is_required: bool = False
    help: str = ""
    default: Any = None
    choices: tuple[tuple[str, str], ...] = ()

    @property
    def is_secret(self) -> bool:
        return self.type == "secret"


@dataclass(frozen=True, slots=True)
class Issue:
    """Something wrong with a setting. ``field``: its name, or a path in it (``operations.upsert.path``)."""

    field: str
    message: str


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The result of a connection test. ``details``: what was found out, name -> text, safe to show. ``phases``: milliseconds of
    each part, in order, as far as the test came (resolve, connect, tls, answer). ``remedy``: what to do about a failure."""

    is_ok: bool
    message: str
    milliseconds: float = 0.0
    details: Mapping[str, str] | None = None
    phases: Mapping[str, float] | None = None
    remedy: str = ""
