"""Which dead letters. Filters only: the acts are in services."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q

from dlq.choices import LIVE, EntryStatus
from syncs.errors import ErrorType

if TYPE_CHECKING:
    from dlq.models import DLQEntry  # noqa: F401

HEAVY = ("source_row", "payload", "response_excerpt", "note")  # text of any length that a list does not show


class DLQEntryQuerySet(models.QuerySet["DLQEntry"]):
    def live(self) -> DLQEntryQuerySet:
        return self.filter(status__in=LIVE)

    def open(self) -> DLQEntryQuerySet:
        return self.filter(status=EntryStatus.OPEN)

    def reprocessable(self) -> DLQEntryQuerySet:
        """Open, and with a row key by which the row can be read again."""
        return self.open().exclude(error_type=ErrorType.INVALID_KEY)

    def frozen(self, *, max_id: int, as_of: datetime) -> DLQEntryQuerySet:
        """Those that were there at ``as_of`` and that nobody has touched since."""
        return self.filter(id__lte=max_id, updated_at__lte=as_of)

    def newest(self) -> DLQEntryQuerySet:
        return self.order_by("-last_failed_at", "-id")

    def older_than(self, at: datetime, entry_id: int) -> DLQEntryQuerySet:
        """What follows (at, id) in ``newest`` order. The last condition bounds the index range, the first is exact."""
        return self.filter(Q(last_failed_at__lt=at) | Q(id__lt=entry_id), last_failed_at__lte=at)

    def for_list(self) -> DLQEntryQuerySet:
        return self.select_related("sync").defer(*HEAVY)

    def of_rows(self, keys: Collection[str]) -> DLQEntryQuerySet:
        """Live and discarded ones with these row keys, of any sync. Explicit keys: no planner has to guess how many match."""
        return self.filter(row_key__in=keys, status__in=(*LIVE, EntryStatus.DISCARDED))

    def within(self, ids: range) -> DLQEntryQuerySet:
        return self.filter(id__gte=ids.start, id__lt=ids.stop)

    def id_ranges(self, size: int) -> Iterator[range]:
        """Ranges of ids, ascending, that hold at most ``size`` entries of the selection each; no ids are kept in memory.

        The next range is fixed before the caller acts on this one, so an act that changes what matches loses nothing.
        """
        ids = self.order_by("id").values_list("id", flat=True)
        low, last = ids.first(), ids.last()
        while low is not None and last is not None and low <= last:
            following = next(iter(ids.filter(id__gte=low)[size : size + 1]), None)
            high = last + 1 if following is None or following > last else following
            yield range(low, high)
            low = high
