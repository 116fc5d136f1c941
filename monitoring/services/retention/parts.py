"""What a kind consists of: tables that are walked in batches, with what makes a row old and what keeps it all the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from django.db import models
from django.db.models import Q, QuerySet

from monitoring.services.retention.places import Place

BATCH = 500  # rows a transaction, and keys a statement: below SQLite's limit on parameters
LOAD = 5_000  # rows that hang on those of a batch


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
    on them: something else needs it. ``delete``: these, which are locked. ``load``: id -> what hangs on it, where that can be
    much: a batch is cut at ``LOAD``. ``is_load``: what hangs on them is what goes; the rows themselves stay. ``time``: column
    of the age of the first table.
    """

    tables: tuple[type[models.Model], ...]
    time: str
    old: Callable[[datetime], QuerySet[Any]]
    delete: Callable[[Sequence[int]], object]
    needed: Callable[[datetime], Q] | None = None
    load: Callable[[Sequence[int]], Mapping[int, int]] | None = None
    is_load: bool = False
    batch: int = BATCH

    def look(self, place: Place, *, before: datetime, now: datetime, is_dry_run: bool) -> Looked:
        rows = self.old(before).filter(pk__gt=place.id).order_by("pk")
        if not is_dry_run:
            rows = rows.select_for_update(skip_locked=True, of=("self",))
        ids = list(rows.values_list("pk", flat=True)[: self.batch])
        if not ids:
            return Looked(None)
        ids, load = self._cut(ids)
        counts = {pk: load.get(pk, 0) for pk in ids} if self.is_load else dict.fromkeys(ids, 1)
        asked = [pk for pk in ids if counts[pk]]
        kept = ids_of(rows.model, asked, self.needed(now)) if self.needed else set()
        free = [pk for pk in asked if pk not in kept]
        if free and not is_dry_run:
            self.delete(free)
        # What others hold at the moment is left out here, and gone over by the purge of the next day.
        return Looked(replace(place, id=ids[-1]), deleted=sum(counts[pk] for pk in free), kept=sum(counts[pk] for pk in kept))

    def _cut(self, ids: list[int]) -> tuple[list[int], Mapping[int, int]]:
        """As many as hold no more than ``LOAD`` together, and at least one."""
        if self.load is None:
            return ids, {}
        load, sum_of = self.load(ids), 0
        for number, pk in enumerate(ids):
            sum_of += load.get(pk, 0)
            if sum_of > LOAD and number:
                return ids[:number], load
        return ids, load

    @property
    def is_whole_table(self) -> bool:
        return True

    def existing(self) -> QuerySet[Any]:
        return self.tables[0]._default_manager.order_by().values("pk")

    def oldest(self) -> QuerySet[Any]:
        model = self.tables[0]
        return model._default_manager.order_by("pk").values_list(self.time, flat=True)[:1]


def ids_of(model: type[models.Model], ids: Sequence[int], condition: Q) -> set[int]:
    """Those of these for which the condition holds. The ids are in hand, and few: so each look-up in it goes by an index; asked
    together with the walk, PostgreSQL reads whole tables for it."""
    if not ids:
        return set()
    return set(model._default_manager.filter(condition, pk__in=ids).order_by().values_list("pk", flat=True))


def delete_all(model: type[models.Model]) -> Callable[[Sequence[int]], object]:
    """By id, with what Django knows to hang on them."""
    return lambda ids: model._default_manager.filter(pk__in=list(ids)).delete()
