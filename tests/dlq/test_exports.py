"""Exports in the background: whole or not at all, once, for some days, for those who may."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models import F
from django.utils import timezone
from django_q.models import OrmQ

from dlq.choices import Door, EntryStatus, ExportStatus
from dlq.models import DLQEntry, DLQEvent, Export
from dlq.services import export, export_files, export_work, exports, snapshots
from dlq.services.entry_filter import EntryFilter
from dlq.services.export import Download
from dlq.services.moves import ActRefusedError
from dlq.services.snapshots import BulkKind, Snapshot
from tests.dlq.objects import make_entries, make_entry, make_group, make_run, make_user
from tests.faults.processes import environment
from tests.syncs.objects import make_sync

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Path) -> Iterator[Path]:
    settings.RETL = {**settings.RETL, "EXPORT_DIR": str(tmp_path / "exports"), "EXPORT_STREAM_ROWS": 5}
    return tmp_path / "exports"


@pytest.fixture
def ana(db: None) -> User:
    return make_user("view_dlqentry", "export_dlqentry", name="ana")


def entries(count: int, **values: Any) -> None:
    run = make_run(make_sync())
    make_entries(count, run, make_group(run.sync), **values)


def taken(user: User) -> Snapshot:
    return snapshots.take(BulkKind.EXPORT, EntryFilter(), user=user)


def queued(user: User, **values: Any) -> Export:
    return exports.create(taken(user), **({"format": "csv", "by": user, "door": Door.ADMIN} | values))


def content(made: Export) -> bytes:
    path = export_files.find(made.file_name)
    assert path is not None
    return path.read_bytes()


def test_few_entries_are_a_file_at_once(ana: User) -> None:
    entries(5)
    made = exports.start(taken(ana), format="jsonl", columns=["id", "payload"], by=ana, door=Door.ADMIN, reason="for a ticket")
    assert isinstance(made, Download)
    with made.file:
        lines = [json.loads(line) for line in made.file.read().splitlines()]
    assert [line["id"] for line in lines] == list(DLQEntry.objects.order_by("pk").values_list("pk", flat=True))
    assert {line["payload"]["email"] for line in lines} == {"p***@e***.test"}
    events = DLQEvent.objects.filter(kind="exported")
    assert events.count() == 5
    assert set(events.values_list("actor__username", "reason")) == {("ana", "for a ticket")}
    assert not Export.objects.exists()


def test_many_entries_are_written_by_a_worker(ana: User, folder: Path) -> None:
    entries(12)
    made = exports.start(taken(ana), format="csv", by=ana, door=Door.ADMIN)
    assert isinstance(made, Export)
    assert made.status == ExportStatus.QUEUED
    assert OrmQ.objects.count() == 1
    assert exports.work(made.pk)
    made.refresh_from_db()
    raw = content(made)
    assert made.status == ExportStatus.READY
    assert (made.row_count, made.byte_count, made.sha256) == (12, len(raw), hashlib.sha256(raw).hexdigest())
    assert raw.count(b"\r\n") == 13
    assert made.expires_at is not None
    assert timedelta(days=6.9) < made.expires_at - timezone.now() <= timedelta(days=7)
    assert [path.name for path in folder.iterdir()] == [made.file_name]
    assert (folder / made.file_name).stat().st_mode & 0o777 == 0o600
    assert DLQEvent.objects.filter(kind="exported", detail__export=made.pk).count() == 12
    assert not exports.work(made.pk)


def test_posting_twice_makes_one_export(ana: User) -> None:
    entries(8)
    snapshot = taken(ana)
    one, two = (exports.create(snapshot, format="csv", by=ana, door=Door.ADMIN) for _ in range(2))
    assert one.pk == two.pk
    assert OrmQ.objects.count() == 1


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"format": "pdf"}, "format"),
        ({"columns": ["id", "nope"]}, "columns"),
        ({"is_raw": True}, "is_raw"),
        ({"reason": "x" * 300}, ""),
    ],
)
def test_bad_choice_is_refused_by_name(ana: User, values: dict[str, Any], field: str) -> None:
    entries(8)
    with pytest.raises(ActRefusedError) as refused:
        queued(ana, **values)
    assert refused.value.field in (field, "reason")
    assert not Export.objects.exists()


@pytest.mark.django_db
def test_unmasked_needs_permission_and_reason() -> None:
    entries(8)
    eva = make_user("view_dlqentry", "export_dlqentry", "exportraw_dlqentry", name="eva")
    with pytest.raises(ActRefusedError, match="reason"):
        queued(eva, is_raw=True)
    made = queued(eva, is_raw=True, reason="vendor asks")
    exports.work(made.pk)
    made.refresh_from_db()
    assert b"@example.test" in content(made)
    assert DLQEvent.objects.filter(detail__raw=True, reason="vendor asks").count() == 8
    assert exports.may_fetch(made, eva)
    assert not exports.may_fetch(made, make_user("view_dlqentry", "export_dlqentry"))
    assert not exports.may_fetch(made, make_user("view_dlqentry", "exportraw_dlqentry"))


def test_masked_export_hides_values_everywhere(ana: User) -> None:
    run = make_run(make_sync())
    for number in range(8):
        secret = f"canary{number}@example.test"
        make_entry(
            run, row_key=secret, payload=json.dumps({"email": secret}), source_row=json.dumps({"M": secret}),
            message=f"{secret} is taken", response_excerpt=json.dumps({"v": secret}), note=f"see {secret}",
        )  # fmt: skip
    for format in ("csv", "json", "jsonl", "xlsx"):
        for is_flat in (False, True):
            made = exports.create(taken(ana), format=format, is_flat=is_flat, by=ana, door=Door.ADMIN)
            exports.work(made.pk)
            made.refresh_from_db()
            assert made.status == ExportStatus.READY, made.message
            assert b"canary" not in content(made)


def test_flat_header_holds_the_fields_of_every_row(ana: User) -> None:
    run = make_run(make_sync())
    payloads = [
        '{"a":1}', '{"b":{"c":"x","d.e":[1,2]}}', '{"a":1.50,"z":null}', "[1]", "no json", "", '{"b":5}',
        '{"n":"a\\ud800b"}',
    ]  # fmt: skip
    for payload in payloads:
        make_entry(run, payload=payload)
    root = User.objects.create_superuser("root")
    made = queued(root, format="jsonl", columns=["payload"], is_flat=True, is_raw=True, reason="r")
    exports.work(made.pk)
    made.refresh_from_db()
    lines = [json.loads(line) for line in content(made).splitlines()]
    names = ["payload.a", "payload.b.c", "payload.b.d\\.e", "payload.z", "payload.b", "payload.n", "payload_rest"]
    assert list(lines[0]) == names
    assert lines[1]["payload.b.d\\.e"] == [1, 2]
    assert lines[3]["payload_rest"] == [1]
    assert lines[4]["payload_rest"] == "no json"
    assert lines[6]["payload.b"] == 5
    assert lines[7]["payload.n"] == "a\ud800b"
    assert b'"payload.a":1.50' in content(made)


@pytest.mark.parametrize("format", ["csv", "xlsx", "json", "jsonl"])
@pytest.mark.parametrize("is_flat", [True, False])
def test_masked_slices_hold_entries_of_every_kind(
    format: str, is_flat: bool, ana: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dlq.services.export_rows._FIRST", 1)
    run = make_run(make_sync())
    for payload in ("", "{}", "[]", "null", '"text"', "5", "no json", '{"email": "a@b.de"}', '{"deep": {"x": null}}', "") * 3:
        make_entry(run, payload=payload, source_row=payload)
    made = queued(ana, format=format, is_flat=is_flat)
    assert exports.work(made.pk), Export.objects.get().message
    made.refresh_from_db()
    assert made.row_count == 30


def test_flat_header_is_capped_and_the_rest_is_kept(ana: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlq.services.export_rows.PATHS_MAX", 3)
    run = make_run(make_sync())
    for number in range(6):
        make_entry(run, payload=json.dumps({"id": number, f"f{number}": "x"}))
    made = queued(ana, columns=["id", "payload"], is_flat=True, format="jsonl")
    exports.work(made.pk)
    made.refresh_from_db()
    lines = [json.loads(line) for line in content(made).splitlines()]
    assert list(lines[0]) == ["id", "payload.id", "payload.f0", "payload.f1", "payload_rest"]
    assert lines[1]["payload_rest"] is None
    assert lines[5]["payload_rest"] == {"f5": "x"}


def test_entries_touched_after_the_confirmation_are_left_out(ana: User) -> None:
    entries(8)
    made = queued(ana, format="jsonl", columns=["id"])
    gone = DLQEntry.objects.order_by("pk")[0]
    DLQEntry.objects.filter(pk=gone.pk).update(updated_at=timezone.now())
    entries(3)
    exports.work(made.pk)
    made.refresh_from_db()
    assert made.row_count == 7
    assert {"id": gone.pk} not in [json.loads(line) for line in content(made).splitlines()]
    assert DLQEvent.objects.filter(kind="exported").count() == 7


def test_full_disk_fails_in_words_and_offers_nothing(ana: User, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries(8)
    made = queued(ana)
    full = folder / "full.part"

    def open_full(export_id: int, fence: int) -> tuple[Path, Any]:
        folder.mkdir(exist_ok=True)
        full.touch()
        return full, open("/dev/full", "w+b", buffering=0)

    monkeypatch.setattr(export_files, "open_part", open_full)
    assert not exports.work(made.pk)
    made.refresh_from_db()
    assert made.status == ExportStatus.FAILED
    assert "is full" in made.message
    assert "export again" in made.message
    assert (made.file_name, made.sha256, made.row_count) == ("", "", 0)
    assert list(folder.iterdir()) == []


def test_cancelled_while_written_leaves_no_file(ana: User, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries(8)
    made = queued(ana)
    monkeypatch.setattr(export_work, "_RENEW_SECONDS", 0)
    note = export.note_exported

    def cancel_then_note(*args: Any, **values: Any) -> None:
        note(*args, **values)
        assert exports.cancel(made, by=ana)

    monkeypatch.setattr(export, "note_exported", cancel_then_note)
    assert not exports.work(made.pk)
    made.refresh_from_db()
    assert made.status == ExportStatus.CANCELLED
    assert made.message == "Cancelled by ana."
    assert list(folder.iterdir()) == []
    assert not exports.cancel(made, by=ana)


def test_former_owner_cannot_offer_its_file(ana: User, folder: Path) -> None:
    entries(8)
    made = queued(ana)
    claim = export_work._claim(made.pk)
    assert claim is not None
    assert export_work._claim(made.pk) is None
    Export.objects.filter(pk=made.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    assert exports.work(made.pk)
    assert not export_work._write(claim) if export_work._mine(claim).exists() else True
    made.refresh_from_db()
    assert made.status == ExportStatus.READY
    assert made.fence == 2
    assert [path.name for path in folder.iterdir()] == [made.file_name]


def test_export_that_kills_its_workers_is_given_up(ana: User) -> None:
    entries(8)
    made = queued(ana)
    long_ago = timezone.now() - timedelta(hours=1)
    Export.objects.filter(pk=made.pk).update(status=ExportStatus.RUNNING, lease_until=long_ago, fence=10)
    assert not exports.work(made.pk)
    made.refresh_from_db()
    assert made.status == ExportStatus.FAILED
    assert "died 10 times" in made.message


def test_tick_wakes_a_worker_for_what_was_forgotten(ana: User) -> None:
    entries(8)
    made = queued(ana)
    exports.look_after()
    assert OrmQ.objects.count() == 1
    OrmQ.objects.all().delete()
    exports.look_after()
    assert OrmQ.objects.count() == 0
    Export.objects.filter(pk=made.pk).update(created_at=F("created_at") - timedelta(minutes=1))
    exports.look_after()
    exports.look_after()
    assert OrmQ.objects.count() == 1


def test_tick_takes_away_files_whose_time_is_over(ana: User, folder: Path) -> None:
    entries(8)
    made = queued(ana)
    exports.work(made.pk)
    exports.look_after()
    assert len(list(folder.iterdir())) == 1
    Export.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    for name in ("export-999-1.part", "import-abc"):
        (folder / name).touch()
        os.utime(folder / name, (0, 0))
    exports.look_after()
    made.refresh_from_db()
    assert made.status == ExportStatus.EXPIRED
    assert made.file_name == ""
    assert made.sha256
    assert list(folder.iterdir()) == []


def test_file_is_deleted_before_its_time(ana: User, folder: Path) -> None:
    entries(8)
    made = queued(ana)
    exports.work(made.pk)
    made.refresh_from_db()
    assert exports.expire(made, by=ana)
    assert not exports.expire(made, by=ana)
    made.refresh_from_db()
    assert (made.status, made.file_name) == (ExportStatus.EXPIRED, "")
    assert list(folder.iterdir()) == []


SCRIPT = """
import sys, django
django.setup()
from django.conf import settings
settings.RETL = {**settings.RETL, "EXPORT_DIR": sys.argv[2]}
from dlq.services import export_rows, exports
export_rows.FETCH = export_rows._FIRST = 20
exports.work(int(sys.argv[1]))
"""


@pytest.mark.django_db(transaction=True)
def test_killed_worker_leaves_no_half_file_and_the_next_starts_over(folder: Path) -> None:
    ana = make_user("view_dlqentry", "export_dlqentry", name="ana")
    entries(6_000, message="m" * 300)
    made = queued(ana)
    command = [sys.executable, "-c", SCRIPT, str(made.pk), str(folder)]
    values = {**environment(), "DJANGO_SETTINGS_MODULE": "retl_project.settings"}
    for number in range(3):
        worker = subprocess.Popen(command, cwd=ROOT, env=values)
        part = folder / f"export-{made.pk}-{number + 1}.part"
        until = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size > 100_000 * (number + 1)):
            assert worker.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < until
        worker.kill()
        worker.wait()
        made.refresh_from_db()
        assert made.status == ExportStatus.RUNNING
        assert made.file_name == ""
        assert not exports.work(made.pk), "its lease still runs"
        Export.objects.filter(pk=made.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    assert exports.work(made.pk)
    made.refresh_from_db()
    raw = content(made)
    assert made.row_count == 6_000
    assert raw.count(b"\r\n") == 6_001
    assert hashlib.sha256(raw).hexdigest() == made.sha256
    assert [path.name for path in folder.iterdir()] == [made.file_name]
    assert DLQEvent.objects.filter(kind="exported").count() == 6_000  # once each, after four attempts


def test_closed_entries_are_exported_too(ana: User) -> None:
    run = make_run(make_sync())
    for _ in range(8):
        make_entry(run, status=EntryStatus.DISCARDED, closed_at=timezone.now(), close_reason="old")
    snapshot = snapshots.take(BulkKind.EXPORT, EntryFilter(statuses=()), user=ana)
    made = exports.create(snapshot, format="csv", columns=["close_reason"], by=ana, door=Door.ADMIN)
    exports.work(made.pk)
    made.refresh_from_db()
    assert content(made) == b"close_reason\r\n" + b"old\r\n" * 8


def test_queries_of_a_file_do_not_grow_with_rows(ana: User, django_assert_max_num_queries: Any) -> None:
    entries(1_500)
    with django_assert_max_num_queries(10):
        file = io.BytesIO()
        export.write(file, DLQEntry.objects.all(), export_work.plan_of(Export(format="csv", columns=["id", "sync", "group"])))
