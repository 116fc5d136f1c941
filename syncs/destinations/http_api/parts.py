"""Parts that the settings of a call and of a job share. Every key is explained in docs/http-destination.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


def between(default: Any, low: float, high: float) -> Any:
    return field(default=default, metadata={"low": low, "high": high})


class BodyKind(StrEnum):
    JSON = "json"
    CSV = "csv"
    CONSTANTS = "constants"  # these alone, as JSON; a step of the job carries the records
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Body:
    kind: BodyKind = BodyKind.JSON
    list_at: str = ""  # batch: where the list goes; empty: the list is the body
    constants: dict[str, Any] = field(default_factory=dict)
    null_text: str = ""  # csv: what stands for null; a field that is left out is always empty


class Answers(StrEnum):
    JSON = "json"
    TEXT = "text"  # read as {"text": the body without blanks around it}


@dataclass(frozen=True, slots=True)
class Flag:
    path: str
    equals: Any = True  # a list: any of them


@dataclass(frozen=True, slots=True)
class ErrorPaths:
    """Several paths: the first that leads to something."""

    code: tuple[str, ...] = ()
    message: tuple[str, ...] = ()
    field: tuple[str, ...] = ()
