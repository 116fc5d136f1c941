"""What a kind consists of: tables that are walked in batches, with what makes a row old and what keeps it all the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from django.db import models
from django.db.models import BooleanField, Case, Q, QuerySet, Value, When

from monitoring.services.retention.places import Place

BATCH = 500  # rows a transaction, and keys a statement: below SQLite's limit on parameters


@dataclass(frozen=True, slots=True)
class Looked:
    """What one batch came to. ``place``: where the next begins; None: this part is done."""

    place: Place | None
    deleted: int = 0
    kept: int = 0


class Part(Protocol):
    """One table, or what hangs together. ``tables``: whose bytes are freed."""

    @property
    def tables(self) -> tuple[type[models.Model], ...]: ...

    @property
    def is_whole_table(self) -> bool:
        """Every row of the first table is of the kind."""
        ...

    def look(self, place: Place, *, before: datetime, now: datetime, is_dry_run: bool) -> Looked:
        """One batch, in the caller's transaction."""
        ...

    def existing(self) -> QuerySet[Any]:
        """One column of every row of the kind, old or not."""
        ...

    def oldest(self) -> QuerySet[Any]:
        """The time of the oldest row that may go one day, as one column of at most one row; from an index."""
        ...


@dataclass(frozen=True, slots=True)
class ById:
    """Rows in the order of their ids. ``old``: those that may go, as far as they alone are concerned. ``needed``: a condition
    on them: something else needs it. ``delete``: these, which are locked; returns how many rows of the kind that were.
    ``measure``: how many rows of the kind these ids stand for, where it is not one each. ``time``: column of their age.
    """

    tables: tuple[type[models.Model], ...]
    time: str
    old: Callable[[datetime, datetime], QuerySet[Any]]
    delete: Callable[[Sequence[int]], int]
    needed: Callable[[datetime], Q] | None = None
    measure: Callable[[Sequence[int]], int] = len
    batch: int = BATCH

    def look(self, place: Place, *, before: datetime, now: datetime, is_dry_run: bool) -> Looked:
        ids, needed = self._next(place, before, now, is_locking=not is_dry_run)
        if not ids and not needed:
            return Looked(None)
        last = max([*ids, *needed])
        count = self.measure(ids) if is_dry_run else self.delete(ids) if ids else 0
        kept = self.measure(needed) if needed else 0
        # What others hold at the moment is left out here, and gone over by the purge of the next day.
        return Looked(replace(place, id=last), deleted=count, kept=kept)

    def _next(self, place: Place, before: datetime, now: datetime, *, is_locking: bool) -> tuple[list[int], list[int]]:
        """Ids that go, and ids that stay."""
        condition = self.needed(now) if self.needed else None
        needed: Any = Value(False)
        if condition is not None:
            needed = Case(When(condition, then=Value(True)), default=Value(False), output_field=BooleanField())
        rows = self.old(before, now).filter(pk__gt=place.id).annotate(is_needed=needed).order_by("pk")
        if is_locking:
            rows = rows.select_for_update(skip_locked=True, of=("self",))
        found = list(rows.values_list("pk", "is_needed")[: self.batch])
        return [pk for pk, is_kept in found if not is_kept], [pk for pk, is_kept in found if is_kept]

    @property
    def is_whole_table(self) -> bool:
        return True

    def existing(self) -> QuerySet[Any]:
        return self.tables[0]._default_manager.order_by().values("pk")

    def oldest(self) -> QuerySet[Any]:
        model = self.tables[0]
        return model._default_manager.order_by("pk").values_list(self.time, flat=True)[:1]


def delete_all(model: type[models.Model]) -> Callable[[Sequence[int]], int]:
    """By id, with what Django knows to hang on them."""

    def delete(ids: Sequence[int]) -> int:
        _, counts = model._default_manager.filter(pk__in=list(ids)).delete()
        return counts.get(model._meta.label, 0)

    return delete
