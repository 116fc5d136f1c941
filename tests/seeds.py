"""A console full of plausible data, for page tests and screenshots. Deterministic; needs a database and nothing else."""

from __future__ import annotations

import random
import sqlite3
from datetime import timedelta
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Permission, User
from django.utils import timezone

from dlq.models import DLQEntry, ErrorGroup
from syncs.models import Connection, FieldMapping, Run, Step, Sync
from syncs.services import versions

PASSWORD = "correct horse battery"
ERRORS = [
    ("validation", "INVALID_PHONE", "phone", "Property “phone” value “{}” is not a valid phone number"),
    ("duplicate_key", "DUPLICATE_VALUE", "email", "Another contact already has the email “ana{}@example.com”"),
    ("missing_required", "REQUIRED_FIELD_MISSING", "city", "Required field “city” is empty"),
]
_SYNCS = [
    ("Churn scores to Adwise", "failing", "Error rate 8.2 % is over the 2 % budget."),
    ("Subscriptions to Hublot CRM", "failing", "The last 3 runs failed: the token was revoked."),
    ("Airports to Sandbox CRM", "degraded", "412 rows of the last run were refused."),
    ("Accounts to Billing", "paused", "Paused by bo: credentials are rotated until Tuesday."),
    ("Product usage to Intercall", "unconfigured", "Never ran."),
    ("Contacts to Sandbox CRM", "healthy", ""),
    ("Customers to Marketly", "healthy", ""),
    ("Opt-outs to Mailroom", "healthy", ""),
    ("Lifetime value to Billing", "healthy", ""),
    ("Invoices to Ledgerly", "healthy", ""),
]


@cache
def _hashed() -> str:
    return make_password(PASSWORD)


def user(name: str, *permissions: str, **extra: Any) -> User:
    """A staff user with these permissions (``syncs.view_sync``)."""
    made = User.objects.create(username=name, password=_hashed(), is_staff=True, **extra)
    for permission in permissions:
        app, _, codename = permission.partition(".")
        made.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    return made


def viewer(name: str = "vera") -> User:
    models = ("syncs.view_sync", "syncs.view_run", "syncs.view_step", "syncs.view_connection", "syncs.view_fieldmapping")
    return user(name, *models, "dlq.view_dlqentry", "dlq.view_errorgroup")


def warehouse(path: Path) -> Path:
    """A SQLite warehouse with one table, ``contacts``: a NULL city, a value that is no number."""
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE contacts (id INTEGER PRIMARY KEY, name TEXT, email TEXT, city TEXT, age TEXT)")
        rows = [
            (n, f"Person {n}", f"p{n}@example.com", None if n == 3 else "Lyon", "young" if n == 5 else str(20 + n))
            for n in range(1, 31)
        ]
        database.executemany("INSERT INTO contacts VALUES (?, ?, ?, ?, ?)", rows)
    database.close()
    return path


def connections(warehouse_path: str = "/nowhere.sqlite3") -> tuple[Connection, Connection]:
    source = Connection.objects.create(
        name="Warehouse",
        role="source",
        kind="sqlite",
        config={"path": str(warehouse_path)},
        state="ok",
        checked_at=timezone.now(),
        state_message="Connected.",
    )
    destination = Connection.objects.create(
        name="Sandbox CRM",
        role="destination",
        kind="http",
        description="The CRM's test account",
        config={
            "base_url": "http://127.0.0.1:9",
            "objects": {"contacts": {"operations": {"upsert": {"method": "POST", "path": "/contacts"}}}},
        },
    )
    return source, destination


def sync(source: Connection, destination: Connection, name: str = "Contacts", **values: Any) -> Sync:
    values = {
        "query": "SELECT id, name, email, city FROM contacts",
        "key_columns": "id",
        "destination_object": "contacts",
        **values,
    }
    made = Sync.objects.create(name=name, source=source, destination=destination, **values)
    lines = [("external_id", "id", "string", True), ("name", "name", "string", False), ("email", "email", "string", False)]
    lines.append(("address.city", "city", "string", False))
    for position, (field, column, kind, is_key) in enumerate(lines):
        FieldMapping.objects.create(
            sync=made, position=position, destination_field=field, column=column, type=kind, is_key=is_key, is_required=is_key
        )
    return made


def run(
    sync: Sync, status: str = "succeeded", *, read: int = 1000, refused: int = 0, minutes_ago: float = 60, **values: Any
) -> Run:
    """A run whose counts balance: unchanged takes half of what is not refused; a cut-short one leaves a tenth pending."""
    started = timezone.now() - timedelta(minutes=minutes_ago)
    is_cut = status in ("failed", "cancelled")
    pending = read // 10 if is_cut else 0
    unchanged = (read - refused - pending) // 2
    ended = {} if status in ("queued", "running") else {"finished_at": started + timedelta(seconds=max(3, read / 900))}
    lease = {"lease_until": timezone.now() + timedelta(seconds=30)} if status == "running" else {}
    counts = {
        "read_count": read,
        "accepted_count": read - refused - pending - unchanged,
        "unchanged_count": unchanged,
        "dead_lettered_count": refused,
        "pending_count": pending,
    }
    if status in ("queued", "skipped"):
        counts = {}
    made = {
        "sync": sync,
        "status": status,
        "version": sync.current_version,
        "queued_at": started,
        "started_at": None if status in ("queued", "skipped") else started,
        "request_count": read // 100,
        "retry_count": read // 5000,
        "bytes_sent": read * 310,
    }
    return Run.objects.create(**{**made, **counts, **ended, **lease, **values})


def steps(run: Run, count: int) -> None:
    """A query step, ``count`` upload steps (one of them with retries), a finish step, evenly over the run's time."""
    begin = run.started_at
    assert begin is not None
    slice_ = ((run.finished_at or timezone.now()) - begin) / (count + 2)
    made = [
        Step(
            run=run,
            number=1,
            kind="query",
            status="succeeded",
            started_at=begin,
            finished_at=begin + slice_,
            row_count=run.read_count,
        )
    ]
    for number in range(2, count + 2):
        at = begin + slice_ * (number - 1)
        is_bad = number == 4
        calls = [_attempt(1, at, 429 if is_bad else 200, "rate_limited" if is_bad else "ok", wait=2.5 if is_bad else None)]
        if is_bad:
            calls.append(_attempt(2, at, 422, "ok"))
        made.append(
            Step(
                run=run,
                number=number,
                kind="upload",
                status="partial" if is_bad else "succeeded",
                started_at=at,
                finished_at=at + slice_,
                row_count=100,
                accepted_count=96 if is_bad else 100,
                dead_lettered_count=4 if is_bad else 0,
                attempts=calls,
                message="4 rows refused: Property “phone” is not a valid phone number" if is_bad else "",
            )
        )
    end = begin + slice_ * (count + 1)
    made.append(Step(run=run, number=count + 2, kind="finish", status="succeeded", started_at=end, finished_at=end + slice_))
    Step.objects.bulk_create(made, batch_size=500)


def _attempt(number: int, at: Any, status: int, signal: str, wait: float | None = None) -> dict[str, Any]:
    bad = '{"results": [{"index": 3, "code": "INVALID_PHONE", "message": "Property phone is not valid"}]}'
    return {
        "number": number,
        "started_at": at.isoformat(),
        "milliseconds": 412.6,
        "row_count": 100,
        "http_status": status,
        "request_id": f"req-{status}-{number}",
        "idempotency_key": "9f2c7d11aa90",
        "signal": signal,
        "request": "POST https://crm.example.com/v3/contacts/batch",
        "excerpt": bad if status != 200 else '{"ok": true}',
        "message": "The destination asked to wait 2.5 s." if wait else "",
        "wait_seconds": wait,
    }


def entries(run: Run, count: int, *, kind: int = 0) -> ErrorGroup:
    """``count`` open dead letters of one group, with the group's counters."""
    error_type, code, field, text = ERRORS[kind]
    now = timezone.now()
    group, _ = ErrorGroup.objects.get_or_create(
        sync=run.sync,
        fingerprint=f"{kind:032x}",
        defaults={
            "error_type": error_type,
            "error_code": code,
            "field": field,
            "title": text.format("…"),
            "first_seen_at": now - timedelta(days=3),
            "last_seen_at": now - timedelta(minutes=20),
        },
    )
    first = DLQEntry.objects.filter(sync=run.sync).count()
    at = now - timedelta(minutes=30)
    DLQEntry.objects.bulk_create(
        DLQEntry(
            sync=run.sync,
            row_key=f"C-{first + n:06d}",
            group=group,
            fingerprint=group.fingerprint,
            error_type=error_type,
            error_code=code,
            field=field,
            message=text.format(first + n),
            http_status=422,
            content_hash=n,
            run=run,
            first_run=run,
            first_failed_at=at,
            last_failed_at=at,
            payload='{"name": "Ana"}',
            source_row='{"id": 1}',
        )
        for n in range(count)
    )
    ErrorGroup.objects.filter(pk=group.pk).update(open_count=group.open_count + count, total_count=group.total_count + count)
    group.refresh_from_db()
    return group


def console(path: str = "/nowhere.sqlite3", *, run_count: int = 30) -> SimpleNamespace:
    """Ten syncs in every status, each with runs; a live run, a failed one, one with steps and errors."""
    rng = random.Random(7)
    ana, bo = (user(name, is_superuser=True) for name in ("ana", "bo"))
    source, destination = connections(path)
    other = Connection.objects.create(
        name="Billing",
        role="destination",
        kind="database",
        config={"url": "postgresql://billing.example.com/app"},
        state="failing",
        state_message="The host billing.example.com could not be found. Check the address.",
        checked_at=timezone.now(),
    )
    made = []
    for index, (name, status, reason) in enumerate(_SYNCS):
        to = other if "Billing" in name else destination
        schedule: dict[str, Any] = {"schedule_kind": "interval", "interval_minutes": 15}
        if index % 3 == 1:
            schedule = {"schedule_kind": "cron", "cron": "0 2 * * *", "timezone": "Europe/Berlin"}
        one = sync(
            source,
            to,
            name,
            owner=(ana, bo, None)[index % 3],
            status=status,
            status_reason=reason,
            is_paused=status == "paused",
            next_run_at=None if status == "paused" else timezone.now() + timedelta(minutes=4 + index),
            **schedule,
        )
        versions.pin(one, author=ana, note="First version")
        one.refresh_from_db()
        made.append(one)
        for n in range(0 if status == "unconfigured" else run_count):
            is_bad = status in ("failing", "degraded") and rng.random() < 0.35
            read = rng.randint(800, 60_000)
            run(
                one,
                "partial" if is_bad else "succeeded",
                read=read,
                refused=read // 12 if is_bad else 0,
                minutes_ago=(run_count - n) * 640 + rng.randint(5, 300),
                trigger="manual" if n % 7 == 0 else "schedule",
                requested_by=ana if n % 7 == 0 else None,
            )
    partial = run(made[2], "partial", read=28_257, refused=412, minutes_ago=22, error_summary=_summary(), requested_by=ana)
    steps(partial, 12)
    for kind, count in enumerate((260, 120, 32)):
        entries(partial, count, kind=kind)
    failed = run(
        made[1],
        "failed",
        read=12_000,
        minutes_ago=35,
        trigger="schedule",
        failure_type="auth",
        failure_message="The destination refused the token of “Sandbox CRM” (401 invalid_grant). Its rows stay pending.",
    )
    steps(failed, 3)
    entries(run(made[0], "partial", read=4_525, refused=174, minutes_ago=9, error_summary=_summary()), 174)
    live = run(made[5], "running", read=9_400, minutes_ago=0.6, requested_by=ana, accepted_count=2_000, unchanged_count=3_500)
    steps(live, 4)
    return SimpleNamespace(
        ana=ana,
        bo=bo,
        source=source,
        destination=destination,
        other=other,
        syncs=made,
        partial=partial,
        failed=failed,
        live=live,
    )


def _summary() -> list[dict[str, Any]]:
    counts = (260, 120, 32)
    return [
        {"type": kind, "code": code, "field": field, "message": text.format("…"), "count": count}
        for (kind, code, field, text), count in zip(ERRORS, counts, strict=True)
    ]
