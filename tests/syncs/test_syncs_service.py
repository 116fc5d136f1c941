from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone
from django_q.models import OrmQ

from syncs.choices import ConnectionRole, RunStatus, ScheduleKind, SyncMode
from syncs.engine.hashing import canonical_body, hash64
from syncs.errors import ConfigError, ErrorType, RedriveError
from syncs.models import DeliveredRow, FieldMapping, Run, Sync
from syncs.services import syncs, worker
from syncs.services.syncs import Verdict
from tests.servers import Server
from tests.syncs.objects import make_connection, queued
from tests.syncs.people import people_sync

pytestmark = pytest.mark.django_db


@pytest.fixture
def sync(tmp_path: Path, api: Server) -> Sync:
    return people_sync(tmp_path, api.url, count=5)


def fresh(sync: Sync) -> Sync:
    return Sync.objects.get(pk=sync.pk)


# -- pause and resume


def test_pause_keeps_who_why_and_when(sync: Sync):
    alice = get_user_model().objects.create_user("alice")
    Sync.objects.filter(pk=sync.pk).update(next_run_at=timezone.now())
    assert syncs.pause(sync, by=alice)
    assert (sync.is_paused, sync.pause_reason, sync.next_run_at) == (True, "Paused by alice.", None)
    assert fresh(sync).paused_at is not None
    assert not syncs.pause(sync, by=None, reason="another reason")
    assert fresh(sync).pause_reason == "Paused by alice."


def test_resume_counts_the_schedule_from_now_and_wakes_what_waits(sync: Sync):
    Sync.objects.filter(pk=sync.pk).update(schedule_kind=ScheduleKind.INTERVAL, interval_minutes=30)
    run = queued(sync)
    syncs.pause(sync, by=None)
    OrmQ.objects.all().delete()
    before = timezone.now()
    assert syncs.resume(sync, by=None)
    found = fresh(sync)
    assert (found.is_paused, found.paused_at, found.pause_reason) == (False, None, "")
    assert 29 * 60 <= (found.next_run_at - before).total_seconds() <= 31 * 60
    assert OrmQ.objects.count() == 1
    assert Run.objects.get(pk=run.pk).status == RunStatus.QUEUED
    assert not syncs.resume(sync, by=None)


def test_archived_sync_is_neither_paused_nor_resumed(sync: Sync):
    Sync.objects.filter(pk=sync.pk).update(is_archived=True)
    for act in (syncs.pause, syncs.resume):
        with pytest.raises(ConfigError, match="archived"):
            act(sync, by=None)


# -- deletes of a mirror


def guarded(sync: Sync, code: str, vanished: int) -> Run:
    Sync.objects.filter(pk=sync.pk).update(mode=SyncMode.MIRROR)
    sync.refresh_from_db()
    run = queued(sync)
    ended = {"status": RunStatus.FAILED, "finished_at": timezone.now(), "failure_message": "Stopped.", "failure_code": code}
    Run.objects.filter(pk=run.pk).update(**ended)
    for number in range(5):
        seen = run.pk if number >= vanished else None
        DeliveredRow.objects.create(sync=sync, row_key=str(number), payload_hash=1, run_id=1, seen_run_id=seen)
    return run


def test_approval_covers_exactly_what_the_guard_stopped(sync: Sync):
    guarded(sync, "delete_guard", vanished=3)
    assert syncs.approve_deletes(sync, by=None) == 3
    assert fresh(sync).approved_delete_count == 3


@pytest.mark.parametrize("code", ["unauthorized", ""])
def test_approval_without_a_stopped_run_is_refused(sync: Sync, code: str):
    guarded(sync, code, vanished=3)
    with pytest.raises(ConfigError, match="nothing to approve"):
        syncs.approve_deletes(sync, by=None)
    assert fresh(sync).approved_delete_count is None


def test_approval_of_a_sync_that_deletes_nothing_is_refused(sync: Sync):
    with pytest.raises(ConfigError, match="not in mirror mode"):
        syncs.approve_deletes(sync, by=None)


# -- validation


def test_sync_that_works_has_no_issues(sync: Sync, api: Server):
    assert syncs.validate(sync) == []
    assert api.requests == []


@pytest.mark.parametrize(
    "changes, field, words",
    [
        ({"query": ""}, "query", "one SELECT"),
        ({"query": "select nonsense from people"}, "query", "nonsense"),
        ({"query": "delete from people"}, "query", ""),
        ({"query": "select 1; drop table people"}, "query", ""),
        ({"query": "select id, email, id from people"}, "query", "twice"),
        ({"key_columns": "uuid"}, "key_columns", "no column uuid. It returns id, email."),
        ({"key_columns": " , "}, "key_columns", "identifies a row"),
        ({"key_columns": "id,id"}, "key_columns", "named twice"),
        ({"destination_object": "companies"}, "destination_object", "It has contacts."),
        ({"destination_object": " "}, "destination_object", "Name the object"),
        ({"mode": "delete"}, "mode", "no operation delete. It has upsert."),
        ({"mode": "mirror"}, "mode", "no operation delete"),
        ({"schedule_kind": "cron", "cron": "61 * * * *"}, "cron", "Bad minute"),
        ({"timezone": "Mars"}, "timezone", "IANA"),
        ({"detection": "watermark", "cursor_column": "updated_at"}, "cursor_column", "no column updated_at"),
        ({"detection": "watermark", "cursor_column": ""}, "cursor_column", "needs a cursor column"),
    ],
)
def test_bad_setting_is_named_with_field_and_remedy(sync: Sync, changes: dict[str, Any], field: str, words: str):
    for name, value in changes.items():
        setattr(sync, name, value)
    issues = syncs.validate(sync)
    assert field in [issue.field for issue in issues]
    assert any(words in issue.message for issue in issues if issue.field == field)


def test_mapping_to_a_missing_column_is_named_by_its_line(sync: Sync):
    FieldMapping.objects.create(sync=sync, position=2, destination_field="phone", column="phone_number")
    (issue,) = syncs.validate(sync)
    assert issue.field == "mappings.2.column"
    assert "phone_number" in issue.message


def test_unsaved_mappings_are_validated_instead_of_the_saved_ones(sync: Sync):
    two = [FieldMapping(sync=sync, destination_field="id", column="id", is_key=True) for _ in range(2)]
    assert [issue.field for issue in syncs.validate(sync, mappings=two)] == ["mappings.1.destination_field"]
    assert [issue.field for issue in syncs.validate(sync, mappings=[])] == ["mappings"]


def test_source_that_cannot_be_reached_is_an_issue_and_no_traceback(sync: Sync):
    sync.source = make_connection(config={"path": "/nowhere/at/all.sqlite3"})
    assert [issue.field for issue in syncs.validate(sync)] == ["source"]


def test_connection_without_settings_is_an_issue_and_no_traceback(sync: Sync):
    sync.destination = make_connection(ConnectionRole.DESTINATION, config={})
    assert [issue.field for issue in syncs.validate(sync)] == ["destination"]


def test_empty_form_is_a_list_of_issues():
    fields = [issue.field for issue in syncs.validate(Sync())]
    assert {"query", "destination", "mappings"} <= set(fields)


# -- preview


def verdicts(preview: syncs.Preview) -> dict[str | None, str]:
    return {row.key: row.verdict.value for row in preview.rows}


def test_preview_shows_rows_payloads_and_verdicts_and_writes_nothing(sync: Sync, api: Server):
    def content(number: int) -> int:
        return hash64(canonical_body({"id": str(number), "email": f"p{number}@example.org"}))

    for key, accepted, held, is_permanent in [
        ("1", content(1), None, False),
        ("2", content(99), None, False),
        ("3", content(99), content(3), True),
        ("4", None, content(4), False),
    ]:
        DeliveredRow.objects.create(
            sync=sync, row_key=key, payload_hash=accepted, held_hash=held, is_hold_permanent=is_permanent, run_id=1
        )
    before = list(DeliveredRow.objects.order_by("row_key").values())
    preview = syncs.preview(sync)
    assert preview.columns == ("id", "email")
    assert preview.rows[0].values == (1, "p1@example.org")
    assert preview.rows[0].payload == {"id": "1", "email": "p1@example.org"}
    assert verdicts(preview) == {"1": "unchanged", "2": "changed", "3": "held", "4": "new", "5": "new"}
    assert preview.counts == {Verdict.UNCHANGED: 1, Verdict.CHANGED: 1, Verdict.HELD: 1, Verdict.NEW: 2}
    assert list(DeliveredRow.objects.order_by("row_key").values()) == before
    assert (Run.objects.count(), api.requests) == (0, [])


@pytest.mark.django_db(transaction=True)
def test_preview_agrees_with_the_run(sync: Sync):
    assert set(verdicts(syncs.preview(sync)).values()) == {"new"}
    queued(sync)
    worker.until_idle()
    assert Run.objects.get().status == RunStatus.SUCCEEDED, Run.objects.get().failure_message
    assert set(verdicts(syncs.preview(sync)).values()) == {"unchanged"}


def test_preview_of_chosen_keys_and_of_few_rows(sync: Sync):
    assert [row.key for row in syncs.preview(sync, keys=["4", "2", "77"]).rows] == ["2", "4"]
    assert [row.key for row in syncs.preview(sync, limit=2).rows] == ["1", "2"]


def test_preview_names_rows_that_cannot_be_sent(sync: Sync, tmp_path: Path):
    FieldMapping.objects.filter(sync=sync, column="email").update(type="integer")
    Sync.objects.filter(pk=sync.pk).update(query="select nullif(id, 2) as id, email from people union all select 3, 'x'")
    rows = syncs.preview(fresh(sync), limit=20).rows
    refused = {(row.key, row.error.type) for row in rows if row.error}
    assert (None, ErrorType.INVALID_KEY) in refused
    assert ("3", ErrorType.INVALID_KEY) in refused
    assert ("1", ErrorType.MAPPING) in refused
    assert all(row.verdict is Verdict.REFUSED and row.payload is None for row in rows)


@pytest.mark.parametrize(
    "changes", [{"query": "select nonsense"}, {"query": "drop table people"}, {"key_columns": "uuid"}, {"query": "select 1"}]
)
def test_preview_that_cannot_work_raises_a_sentence(sync: Sync, changes: dict[str, str], tmp_path: Path):
    Sync.objects.filter(pk=sync.pk).update(**changes)
    with pytest.raises(RedriveError) as caught:
        syncs.preview(fresh(sync))
    assert caught.value.message
    with contextlib.closing(sqlite3.connect(tmp_path / "warehouse.sqlite3")) as warehouse:
        assert warehouse.execute("select count(*) from people").fetchone() == (5,)


def test_preview_of_a_key_with_too_few_parts_names_the_field(sync: Sync):
    Sync.objects.filter(pk=sync.pk).update(key_columns="id,email")
    with pytest.raises(ConfigError) as caught:
        syncs.preview(fresh(sync), keys=["5"])
    assert caught.value.field == "keys"
