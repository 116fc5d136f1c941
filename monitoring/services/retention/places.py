"""Where a purge stands: kept after every batch, so that whoever comes next goes on there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from monitoring.models import Purge


@dataclass(frozen=True, slots=True)
class Place:
    """``part``: which table of the kind. ``id``: looked at up to here. ``at``: the same for what is walked by time first.
    ``key``: the same within ``id``, for what is walked by keys of a sync."""

    part: int = 0
    id: int = 0
    at: datetime | None = None
    key: str = ""

    @classmethod
    def of(cls, purge: Purge) -> Place:
        told: dict[str, Any] = purge.place or {}
        at = told.get("at")
        return cls(told.get("part", 0), purge.position, datetime.fromisoformat(at) if at else None, told.get("key", ""))

    def columns(self) -> dict[str, Any]:
        told: dict[str, Any] = {"part": self.part}
        if self.at is not None:
            told["at"] = self.at.isoformat()
        if self.key:
            told["key"] = self.key
        return {"position": self.id, "place": told}
