"""What a line of the log is about: the run and the sync that this code works for. Plain Python; threads take it over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

_NOTHING: Mapping[str, int | str] = MappingProxyType({})
_about: ContextVar[Mapping[str, int | str]] = ContextVar("about", default=_NOTHING)


def about() -> Mapping[str, int | str]:
    """For example ``{"run_id": 17, "sync_id": 3}``."""
    return _about.get()


def also(**ids: int | str) -> None:
    """Within ``working_on``: lines carry these from here on."""
    _about.set({**_about.get(), **ids})


def take_over(known: Mapping[str, int | str]) -> None:
    """At the beginning of a thread: what the thread that started it was about."""
    _about.set(known)


@contextmanager
def working_on(**ids: int | str) -> Iterator[None]:
    """Within it, lines of this thread carry these ids beside those that they carry already."""
    token = _about.set({**_about.get(), **ids})
    try:
        yield
    finally:
        _about.reset(token)
