"""Dead letters for tests, with only the interesting values given; group counters stay true."""

from __future__ import annotations

import itertools
import json
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import Permission, User
from django.db.models import F
from django.test import Client
from django.utils import timezone

from dlq.choices import LIVE, EntryStatus
from dlq.models import DLQEntry, ErrorGroup
from syncs.choices import RunStatus, Trigger
from syncs.models import Run, Sync
from syncs.services import versions
from tests.syncs.objects import make_sync

_numbers = itertools.count(1)


def make_run(sync: Sync, **values: Any) -> Run:
    now = timezone.now()
    defaults: dict[str, Any] = {
        "status": RunStatus.PARTIAL,
        "trigger": Trigger.MANUAL,
        "version": versions.pin(sync),
        "started_at": now,
        "finished_at": now,
        "read_count": 1,
        "dead_lettered_count": 1,
    }
    return Run.objects.create(sync=sync, **(defaults | values))


def make_group(sync: Sync, **values: Any) -> ErrorGroup:
    now = timezone.now()
    defaults: dict[str, Any] = {
        "fingerprint": f"{next(_numbers):032x}",
        "error_type": "validation",
        "title": "Value <value> is not valid",
        "first_seen_at": now,
        "last_seen_at": now,
    }
    return ErrorGroup.objects.create(sync=sync, **(defaults | values))


def make_entry(run: Run | None = None, *, group: ErrorGroup | None = None, **values: Any) -> DLQEntry:
    run = run or make_run(make_sync())
    group = group or make_group(run.sync)
    entry = DLQEntry.objects.create(**_values(run, group, values))
    is_live = entry.status in LIVE
    ErrorGroup.objects.filter(pk=group.pk).update(
        open_count=F("open_count") + (1 if is_live else 0), total_count=F("total_count") + 1
    )
    return entry


def make_entries(count: int, run: Run, group: ErrorGroup, **values: Any) -> None:
    """Many open ones, quickly; keys are distinct and times descend by a second."""
    start = values.pop("last_failed_at", timezone.now())
    DLQEntry.objects.bulk_create(
        (DLQEntry(**_values(run, group, {**values, "last_failed_at": start - timedelta(seconds=n)})) for n in range(count)),
        batch_size=5_000 if count > 5_000 else None,
    )
    ErrorGroup.objects.filter(pk=group.pk).update(open_count=F("open_count") + count, total_count=F("total_count") + count)


def _values(run: Run, group: ErrorGroup, values: dict[str, Any]) -> dict[str, Any]:
    number = next(_numbers)
    failed_at: datetime = values.get("last_failed_at", timezone.now())
    row = {"id": number, "email": f"person{number}@example.test"}
    defaults: dict[str, Any] = {
        "sync_id": run.sync_id,
        "row_key": f"C-{number:07d}",
        "group": group,
        "fingerprint": group.fingerprint,
        "error_type": group.error_type,
        "field": "email",
        "message": f"Property email: 'person{number}' is not valid",
        "http_status": 422,
        "response_excerpt": '{"error": "invalid"}',
        "source_row": json.dumps(row),
        "payload": json.dumps(row),
        "content_hash": number,
        "run": run,
        "first_run": run,
        "version_id": run.version_id,
        "first_failed_at": failed_at,
        "last_failed_at": failed_at,
        "updated_at": failed_at,
    }
    if values.get("status") in (EntryStatus.DISCARDED, EntryStatus.RESOLVED, EntryStatus.SUPERSEDED):
        defaults |= {"closed_at": failed_at, "close_reason": "because"}
    return defaults | values


def make_user(*permissions: str, name: str | None = None) -> User:
    """A staff user with these permissions of the DLQ (``view_dlqentry`` and so on)."""
    user = User.objects.create_user(name or f"user{next(_numbers)}", password="secret", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="dlq", codename__in=permissions))
    return user


def logged_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def client_of(*permissions: str) -> Client:
    """Of a new staff user with these permissions of the DLQ."""
    return logged_in(make_user(*permissions))
