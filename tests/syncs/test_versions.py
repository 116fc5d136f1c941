from __future__ import annotations

import threading

import pytest
from django.contrib.auth import get_user_model
from django.db import connection

from syncs.models import Connection, FieldMapping, Sync, SyncVersion
from syncs.services import versions
from tests.syncs.objects import make_sync

pytestmark = pytest.mark.django_db


def test_first_pin_makes_version_one_with_author_and_note():
    user = get_user_model().objects.create_user("alice")
    sync = make_sync()
    version = versions.pin(sync, author=user, note="first")
    assert (version.number, version.author, version.note) == (1, user, "first")
    assert Sync.objects.get(pk=sync.pk).current_version == version


def test_snapshot_holds_everything_a_run_uses_and_no_secret():
    sync = make_sync()
    Connection.objects.update(secrets={"token": "hunter2"}, config={"token_url": "https://x"})
    found = versions.snapshot(sync)
    assert found["query"] == sync.query
    assert found["key_columns"] == ["id"]
    assert found["source"] == {"id": sync.source_id, "name": sync.source.name}
    assert [line["destination_field"] for line in found["mappings"]] == ["id", "email"]
    assert found["mappings"][0]["is_key"] is True
    assert set(found) == {
        "query", "key_columns", "mode", "detection", "cursor_column", "cursor_overlap_seconds", "on_mapping_error",
        "delete_guard_percent", "delete_guard_rows", "batch_records", "max_attempts", "retry_budget_seconds",
        "breaker_threshold", "source", "destination", "destination_object", "destination_options", "mappings",
    }  # fmt: skip
    assert "hunter2" not in str(found)


def test_pin_without_a_change_gives_the_same_version():
    sync = make_sync()
    assert versions.pin(sync) == versions.pin(sync)
    assert SyncVersion.objects.count() == 1


def test_pin_after_a_change_of_the_mapping_gives_a_new_version():
    sync = make_sync()
    first = versions.pin(sync)
    FieldMapping.objects.filter(sync=sync, column="email").update(is_required=True)
    second = versions.pin(sync)
    assert second.number == 2
    assert first.snapshot["mappings"][1]["is_required"] is False


def test_pin_reads_the_database_and_not_a_stale_object():
    sync = make_sync()
    stale = Sync.objects.get(pk=sync.pk)
    Sync.objects.filter(pk=sync.pk).update(max_attempts=9)
    assert versions.pin(stale).snapshot["max_attempts"] == 9


def test_going_back_to_an_older_state_is_a_version_of_its_own():
    sync = make_sync(max_attempts=3)
    versions.pin(sync)
    Sync.objects.filter(pk=sync.pk).update(max_attempts=4)
    versions.pin(sync)
    Sync.objects.filter(pk=sync.pk).update(max_attempts=3)
    assert versions.pin(sync).number == 3


def test_version_is_never_changed():
    version = versions.pin(make_sync())
    version.note = "rewritten"
    with pytest.raises(TypeError):
        version.save()


@pytest.mark.django_db(transaction=True)
def test_many_pins_at_once_make_one_version():
    sync = make_sync()
    start = threading.Barrier(5)
    made: list[int] = []

    def pin() -> None:
        try:
            start.wait()
            made.append(versions.pin(sync).pk)
        finally:
            connection.close()

    threads = [threading.Thread(target=pin) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 5
    assert len(set(made)) == 1
    assert SyncVersion.objects.count() == 1
