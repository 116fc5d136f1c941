"""Rows for tests of the services: a source, a destination, a sync, a run, with only the interesting values given."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

from django.utils import timezone

from syncs.choices import ConnectionRole, RunStatus, Trigger
from syncs.models import Connection, FieldMapping, Run, Sync
from syncs.services import runs
from syncs.services.leases import Claim

_numbers = itertools.count(1)


def make_connection(role: str = ConnectionRole.SOURCE, **values: Any) -> Connection:
    kind = "sqlite" if role == ConnectionRole.SOURCE else "http"
    return Connection.objects.create(**{"name": f"{role} {next(_numbers)}", "role": role, "kind": kind, **values})


def make_sync(**values: Any) -> Sync:
    defaults: dict[str, Any] = {
        "name": f"sync {next(_numbers)}",
        "query": "select id, email from people",
        "key_columns": "id",
        "destination_object": "contacts",
    }
    if "source" not in values:
        defaults["source"] = make_connection()
    if "destination" not in values:
        defaults["destination"] = make_connection(ConnectionRole.DESTINATION)
    sync = Sync.objects.create(**{**defaults, **values})
    FieldMapping.objects.create(sync=sync, position=0, destination_field="id", column="id", is_key=True)
    FieldMapping.objects.create(sync=sync, position=1, destination_field="email", column="email")
    return sync


def queued(sync: Sync, **values: Any) -> Run:
    return runs.request(sync=sync, **{"trigger": Trigger.MANUAL, **values})


def claimed(sync: Sync, worker: str = "w:1") -> tuple[Run, Claim]:
    run = queued(sync)
    claim = runs.claim(run_id=run.pk, worker=worker)
    assert claim is not None
    return Run.objects.get(pk=run.pk), claim


def expire_lease(run: Run, **values: Any) -> None:
    """As if the worker had died half a minute ago."""
    changed = Run.objects.filter(pk=run.pk, status=RunStatus.RUNNING).update(
        lease_until=timezone.now() - timedelta(seconds=1), **values
    )
    assert changed == 1
