"""A filter behind a button: its choices, to tick or to choose one of. The template is ``admin/redrive/popovers.html``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Option:
    value: str
    label: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class Popover:
    """``kind``: checkbox or radio. ``count``: how many conditions are set by it."""

    name: str
    title: str
    kind: str
    options: list[Option]
    count: int
