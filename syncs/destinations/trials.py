"""Trying one record: the calls it makes, seen before they go out and after, with every secret masked. Plain Python.

A destination that can be watched has a method ``watched(*, may_write) -> AbstractContextManager[Watch]``; its ``write`` within
the block is the very code that runs use, so what is shown is what is sent.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from syncs.records import BatchResult

SHOWN_BYTES = 20_000  # of a body, here and there


class WithheldError(Exception):
    """A call that would write was seen and not made."""


@dataclass(slots=True)
class Call:
    """One call or statement. Everything is masked and capped. ``body_bytes``: of the whole body. ``status``, ``failure``: of
    the answer; neither where the call was withheld."""

    line: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: str = ""
    body_bytes: int = 0
    is_withheld: bool = False
    status: int | None = None
    answer_headers: list[tuple[str, str]] = field(default_factory=list)
    answer_body: str = ""
    answer_bytes: int = 0
    milliseconds: float | None = None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at in the answer. ``is_good`` None: it says neither yes nor no."""

    what: str
    text: str
    is_good: bool | None = None


@dataclass(slots=True)
class Watch:
    """``read``: how the last answer was read; only to be called after the block's ``write`` came back."""

    calls: list[Call] = field(default_factory=list)
    read: Callable[[], list[Finding]] = list


class Watchable(Protocol):
    def watched(self, *, may_write: bool) -> AbstractContextManager[Watch]:
        """Not for several threads at once. Without ``may_write``, what only reads is done and the first call that would write
        raises ``WithheldError`` out of ``write``."""
        ...


@dataclass(frozen=True, slots=True)
class Trial:
    """``result`` None: nothing was written. ``has_calls`` False: the kind does not show its calls."""

    calls: list[Call]
    findings: list[Finding]
    result: BatchResult | None = None
    has_calls: bool = True
