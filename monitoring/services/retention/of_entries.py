"""Closed dead letters, the members of bulk operations that are over, and the list of exports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, models
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from dlq.choices import OPERATION_ACTIVE, OPERATION_OVER, EntryStatus, ExportStatus, OperationStatus
from dlq.models import BulkItem, BulkOperation, DLQEntry, DLQEvent, Export, PayloadEdit
from monitoring.choices import IncidentState
from monitoring.models import Incident
from monitoring.services.retention.parts import BATCH, ById, Looked, delete_all, ids_of
from monitoring.services.retention.places import Place

_BEHIND = "(dlq_dlqentry.last_failed_at, dlq_dlqentry.id) > (%s, %s)"


@dataclass(frozen=True, slots=True)
class Closed:
    """Dead letters in one closed state. Walked by their last failure, which an index has with the state: no dead letter is
    closed before it failed, so everything that was closed long ago lies at the beginning. One that is opened again meanwhile is
    locked by whoever does it, or is not in this state any more.
    """

    status: EntryStatus
    tables: tuple[type[models.Model], ...] = (DLQEntry, DLQEvent)

    def look(self, place: Place, *, before: datetime, now: datetime, is_dry_run: bool) -> Looked:
        rows = self._rows(place, before)
        if not is_dry_run:
            rows = rows.select_for_update(skip_locked=True, of=("self",))
        found = list(rows.values_list("pk", "last_failed_at", "closed_at")[:BATCH])
        if not found:
            return Looked(None)
        # Chosen here: how seldom both times are old no planner knows, and it would sort all of them for each batch.
        old = [pk for pk, _at, closed_at in found if closed_at < before]
        kept = ids_of(DLQEntry, old, _needed(now))
        free = [pk for pk in old if pk not in kept]
        if free and not is_dry_run:
            _delete(free, self.status)
        pk, at, _closed_at = found[-1]
        return Looked(Place(place.part, pk, at), deleted=len(free), kept=len(kept))

    def _rows(self, place: Place, before: datetime) -> QuerySet[Any]:
        rows: QuerySet[Any] = DLQEntry.objects.filter(status=self.status, last_failed_at__lt=before)
        if place.at is not None:
            # As a pair, the index begins right behind it: thousands of one commit share their time.
            at = connection.ops.adapt_datetimefield_value(place.at)
            rows = rows.extra(where=[_BEHIND], params=[at, place.id])  # noqa: S610 - a constant
        return rows.order_by("last_failed_at", "pk")

    @property
    def is_whole_table(self) -> bool:
        return False

    def existing(self) -> QuerySet[Any]:
        return DLQEntry.objects.filter(status=self.status).order_by().values("pk")

    def oldest(self) -> QuerySet[Any]:
        closed = DLQEntry.objects.filter(status=self.status)
        return closed.order_by("last_failed_at", "pk").values_list("closed_at", flat=True)[:1]


def _needed(now: datetime) -> Q:
    at_work = Q(operation__status__in=OPERATION_ACTIVE) | Q(operation__undo_until__gt=now)
    groups = Incident.objects.exclude(state=IncidentState.RESOLVED).filter(group__isnull=False).values("group_id")
    return Q(Exists(BulkItem.objects.filter(at_work, entry_id=OuterRef("pk")))) | Q(group_id__in=groups)


def _delete(ids: Sequence[int], status: EntryStatus) -> None:
    """What hangs on them first. Raises ``AssertionError``, and nothing is deleted, where one is not as it was locked."""
    for model in (DLQEvent, PayloadEdit, BulkItem):
        model._default_manager.filter(entry_id__in=ids).delete()
    # Django's own delete would fetch the rows with their payloads first.
    gone = DLQEntry.objects.filter(pk__in=ids, status=status)._raw_delete("default")
    if gone != len(ids):
        raise AssertionError(f"{len(ids)} dead letters were locked to be deleted, {gone} were")


def waits_for() -> str:
    """Why closed dead letters must be left alone at the moment, in words; empty: nothing is in the way."""
    writing = Export.objects.filter(status__in=(ExportStatus.QUEUED, ExportStatus.RUNNING)).order_by("pk").first()
    if writing is not None:
        return f"Waits until export {writing.pk} is written: it may hold dead letters that are to go."
    choosing = BulkOperation.objects.filter(status__in=(OperationStatus.QUEUED, OperationStatus.RUNNING), is_frozen=False)
    made = choosing.order_by("pk").values_list("pk", flat=True).first()
    return f"Waits until bulk operation {made} has all its members." if made else ""


# --- Bulk operations


def _items(before: datetime) -> QuerySet[Any]:
    """Of operations that are over and cannot be undone any more."""
    over = BulkOperation.objects.filter(status__in=OPERATION_OVER, finished_at__lt=before)
    over = over.exclude(undo_until__gt=timezone.now())
    undoing = BulkOperation.objects.filter(of_operation=OuterRef("pk"), status__in=OPERATION_ACTIVE)
    return BulkItem.objects.filter(operation_id__in=over.filter(~Exists(undoing)).values("pk"))


def _exports(before: datetime) -> QuerySet[Any]:
    over = (ExportStatus.EXPIRED, ExportStatus.FAILED, ExportStatus.CANCELLED)
    return Export.objects.filter(status__in=over, file_name="", created_at__lt=before)


RESOLVED = Closed(EntryStatus.RESOLVED)
SUPERSEDED = Closed(EntryStatus.SUPERSEDED)
DISCARDED = Closed(EntryStatus.DISCARDED)
ITEMS = ById(tables=(BulkItem,), time="operation__finished_at", old=_items, delete=delete_all(BulkItem))
EXPORTS = ById(tables=(Export,), time="created_at", old=_exports, delete=delete_all(Export))
