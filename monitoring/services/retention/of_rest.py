"""Ledgers of archived syncs, messages, incidents, hourly figures, the audit log."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import models
from django.db.models import Exists, OuterRef, Q, QuerySet

from dlq.models import GroupHour
from monitoring.choices import DeliveryState, IncidentState
from monitoring.models import Delivery, DepthHour, Incident, Notice, StatusChange
from monitoring.services.retention.parts import BATCH, ById, Looked, delete_all
from monitoring.services.retention.places import Place
from syncs.models import AuditEvent, DeliveredRow, Sync, SyncHour

_INCIDENTS_AT_ONCE = 50  # with their timelines and messages


@dataclass(frozen=True, slots=True)
class Ledger:
    """Sync by sync, key by key. The sync is locked, so that none is taken out of the archive between the look and the end."""

    tables: tuple[type[models.Model], ...] = (DeliveredRow,)

    def look(self, place: Place, *, before: datetime, now: datetime, is_dry_run: bool) -> Looked:
        archived = Sync.objects.filter(is_archived=True, archived_at__lt=before, pk__gte=place.id).order_by("pk")
        if not is_dry_run:
            archived = archived.select_for_update()
        sync_id = archived.values_list("pk", flat=True).first()
        if sync_id is None:
            return Looked(None)
        after = place.key if sync_id == place.id else ""
        lines = DeliveredRow.objects.filter(sync_id=sync_id, row_key__gt=after).order_by("row_key")
        found = list(lines.values_list("row_key", "held_hash")[:BATCH])
        if not found:
            return Looked(replace(place, id=sync_id + 1, key=""))
        free = [key for key, held in found if held is None]
        if free and not is_dry_run:
            gone = DeliveredRow.objects.filter(sync_id=sync_id, row_key__in=free, held_hash__isnull=True)
            gone._raw_delete("default")
        return Looked(replace(place, id=sync_id, key=found[-1][0]), deleted=len(free), kept=len(found) - len(free))

    @property
    def is_whole_table(self) -> bool:
        return False

    def existing(self) -> QuerySet[Any]:
        return DeliveredRow.objects.filter(sync__is_archived=True).order_by().values("row_key")

    def oldest(self) -> QuerySet[Any]:
        archived = Sync.objects.filter(Exists(DeliveredRow.objects.filter(sync_id=OuterRef("pk"))), is_archived=True)
        return archived.order_by("archived_at").values_list("archived_at", flat=True)[:1]


def _open_incidents() -> QuerySet[Incident]:
    return Incident.objects.exclude(state=IncidentState.RESOLVED)


def _deliveries(before: datetime) -> QuerySet[Any]:
    over = (DeliveryState.DELIVERED, DeliveryState.DEAD, DeliveryState.FOLDED)
    return Delivery.objects.filter(state__in=over, created_at__lt=before)


def _of_open_incident(_now: datetime) -> Q:
    return Q(incident_id__in=_open_incidents().values("pk"))


def _notices(before: datetime) -> QuerySet[Any]:
    return Notice.objects.filter(created_at__lt=before)


def _incidents(before: datetime) -> QuerySet[Any]:
    return Incident.objects.filter(state=IncidentState.RESOLVED, resolved_at__lt=before)


def _is_followed(_now: datetime) -> Q:
    return Q(Exists(_open_incidents().filter(follows_id=OuterRef("pk"))))


def _status_changes(before: datetime) -> QuerySet[Any]:
    return StatusChange.objects.filter(at__lt=before)


def _is_newest(_now: datetime) -> Q:
    return ~Q(Exists(StatusChange.objects.filter(sync_id=OuterRef("sync_id"), pk__gt=OuterRef("pk"))))


LEDGER = Ledger()
DELIVERIES = ById(tables=(Delivery,), time="created_at", old=_deliveries, needed=_of_open_incident, delete=delete_all(Delivery))
NOTICES = ById(tables=(Notice,), time="created_at", old=_notices, needed=_of_open_incident, delete=delete_all(Notice))
INCIDENTS = ById(
    tables=(Incident,), time="opened_at", old=_incidents, needed=_is_followed, delete=delete_all(Incident),
    batch=_INCIDENTS_AT_ONCE,
)  # fmt: skip
STATUS_CHANGES = ById(
    tables=(StatusChange,), time="at", old=_status_changes, needed=_is_newest, delete=delete_all(StatusChange)
)
SYNC_HOURS = ById(
    tables=(SyncHour,), time="starts_at", delete=delete_all(SyncHour),
    old=lambda before: SyncHour.objects.filter(starts_at__lt=before),
)  # fmt: skip
GROUP_HOURS = ById(
    tables=(GroupHour,), time="hour", delete=delete_all(GroupHour),
    old=lambda before: GroupHour.objects.filter(hour__lt=before),
)  # fmt: skip
DEPTH_HOURS = ById(
    tables=(DepthHour,), time="hour", delete=delete_all(DepthHour),
    old=lambda before: DepthHour.objects.filter(hour__lt=before),
)  # fmt: skip
AUDIT = ById(
    tables=(AuditEvent,), time="at", delete=delete_all(AuditEvent),
    old=lambda before: AuditEvent.objects.filter(at__lt=before),
)  # fmt: skip
