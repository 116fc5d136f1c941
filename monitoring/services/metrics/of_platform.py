"""Metrics of what is not one sync's: runs that wait, incidents, connections, channels, and Redrive itself."""

from __future__ import annotations

import platform
from datetime import datetime
from importlib import metadata

import django
from django.conf import settings
from django.db import connection
from django.db.models import Count

from dlq.choices import OPERATION_ACTIVE
from dlq.models import BulkOperation
from monitoring.choices import DeliveryState, IncidentState
from monitoring.models import Channel, Delivery, Incident
from monitoring.services import silence
from monitoring.services.metrics import names
from monitoring.services.metrics.samples import Samples
from syncs.choices import RUN_ACTIVE, ConnectionState
from syncs.models import Connection, Run
from syncs.services import heartbeats
from syncs.services.doorbell import FAST_CLUSTER

_WAITING = (DeliveryState.PENDING, DeliveryState.HELD, DeliveryState.SENDING)


def add(samples: Samples, now: datetime) -> None:
    samples.add(names.BUILD, 1, version(), django.get_version(), platform.python_version(), connection.vendor)
    _add_pulse(samples, now)
    _add_work(samples)
    _add_connections(samples)
    _add_channels(samples)


def version() -> str:
    try:
        return metadata.version("redrive")
    except metadata.PackageNotFoundError:
        return "unknown"


def _add_pulse(samples: Samples, now: datetime) -> None:
    felt = silence.pulse(now)
    samples.add(names.WORKERS, len(felt.workers))
    for name, part in felt.parts.items():
        if not name.startswith((heartbeats.WORKER, heartbeats.QUEUE)):
            samples.add_moment(names.HEARTBEAT, part.at, name)
    for queue in (settings.Q_CLUSTER["name"], FAST_CLUSTER):
        head = felt.parts.get(f"{heartbeats.QUEUE}{queue}")
        waited = (felt.now - head.started_at).total_seconds() if head and head.note else 0.0
        samples.add(names.QUEUE, max(0.0, waited), queue)


def _add_work(samples: Samples) -> None:
    runs = dict(Run.objects.active().order_by().values_list("status").annotate(n=Count("pk")))
    for status in RUN_ACTIVE:
        samples.add(names.RUNS, runs.get(status, 0), status.value)
    operations = BulkOperation.objects.filter(status__in=OPERATION_ACTIVE).order_by().values_list("status")
    active = dict(operations.annotate(n=Count("pk")))
    for stage in OPERATION_ACTIVE:
        samples.add(names.OPERATIONS, active.get(stage, 0), stage.value)
    incidents = Incident.objects.exclude(state=IncidentState.RESOLVED).order_by().values_list("condition", "severity", "state")
    for *labels, count in incidents.annotate(n=Count("pk")):
        samples.add(names.INCIDENTS, count, *labels)


def _add_connections(samples: Samples) -> None:
    rows = Connection.objects.order_by("pk").values_list("pk", "name", "role", "kind", "state", "credential_expires_at")
    for pk, name, role, kind, state, ends in rows:
        for known in ConnectionState:
            samples.add(names.CONNECTION, state == known, pk, name, role, kind, known.value)
        samples.add_moment(names.CREDENTIAL, ends, pk, name)


def _add_channels(samples: Samples) -> None:
    for pk, name, kind, is_enabled, failed in Channel.objects.order_by("pk").values_list(
        "pk", "name", "kind", "is_enabled", "failed_count"
    ):
        samples.add(names.CHANNEL, is_enabled, pk, name, kind)
        samples.add(names.CHANNEL_FAILED, failed, pk, name, kind)
    waiting = Delivery.objects.filter(state__in=_WAITING).order_by().values_list("state")
    counts = dict(waiting.annotate(n=Count("pk")))
    for state in _WAITING:
        samples.add(names.DELIVERIES, counts.get(state, 0), state.value)
