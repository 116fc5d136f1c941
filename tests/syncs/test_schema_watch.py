"""The daily reading of schemas, from the tick to the note of how it went."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from django_q.models import OrmQ

from syncs import tasks
from syncs.choices import SchemaOrigin
from syncs.models import SchemaSnapshot, Sync
from syncs.models.schema import SchemaWatch
from syncs.services import schema_watch, schemas, worker
from tests.syncs.schema_world import Target

pytestmark = pytest.mark.django_db


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target(tmp_path)


def due() -> int | None:
    SchemaWatch.objects.update(next_at=timezone.now() - timedelta(seconds=1), tried_at=timezone.now() - timedelta(days=1))
    return schema_watch.ring_due()


def test_tick_rings_for_an_object_that_was_never_read_and_the_task_reads_it(target: Target):
    worker.tick()
    (message,) = OrmQ.objects.all()
    assert (message.key, message.task["func"]) == ("fast", "syncs.tasks.refresh_schema")
    worker.tick()
    assert OrmQ.objects.count() == 1  # rung for already
    (watch_id,) = message.task["args"]
    tasks.refresh_schema(watch_id)
    assert schemas.current(target.connection, "people").number == 1
    watch = SchemaWatch.objects.get()
    assert (watch.problem, watch.failed_count) == ("", 0)
    assert timedelta(hours=23) < watch.next_at - timezone.now() < timedelta(hours=25)
    assert schema_watch.ring_due() is None


def test_next_day_it_is_read_again_and_the_change_found(target: Target):
    schema_watch.work(schema_watch.ring_due() or 0)
    target.sql("ALTER TABLE people ADD COLUMN note TEXT")
    schema_watch.work(due() or 0)
    assert schemas.current(target.connection, "people").number == 2


def test_doubled_message_reads_once(target: Target):
    watch_id = schema_watch.ring_due() or 0
    assert schema_watch.work(watch_id)
    assert not schema_watch.work(watch_id)
    assert not schema_watch.work(watch_id + 1)  # a watch that is gone


def test_objects_are_read_one_at_a_time_and_those_of_archived_syncs_are_not(target: Target):
    second = Sync.objects.create(
        name="Rows", source=target.sync.source, query="SELECT id FROM rows", key_columns="id",
        destination=target.connection, destination_object="rows",
    )  # fmt: skip
    Sync.objects.create(
        name="Gone", source=target.sync.source, query="SELECT id FROM rows", key_columns="id",
        destination=target.connection, destination_object="elsewhere", is_archived=True,
    )  # fmt: skip
    rung = [schema_watch.ring_due() for _ in range(3)]
    assert rung[2] is None
    assert set(SchemaWatch.objects.values_list("object_name", flat=True)) == {"people", second.destination_object}


def test_failure_is_noted_and_tried_again_ever_more_seldom(target: Target):
    target.sql("DROP TABLE people")
    waits = []
    watch_id = schema_watch.ring_due() or 0
    for _ in range(7):
        schema_watch.work(watch_id)
        watch = SchemaWatch.objects.get()
        waits.append(round((watch.next_at - timezone.now()).total_seconds() / 60))
        due()
    assert waits == [30, 60, 120, 240, 480, 1440, 1440]
    assert "There is no table “people”" in watch.problem
    target.sql("CREATE TABLE people (id TEXT)")
    SchemaWatch.objects.update(tried_at=None)
    schema_watch.work(watch_id)
    watch.refresh_from_db()
    assert (watch.problem, watch.failed_count) == ("", 0)


def test_destination_that_does_not_tell_is_no_failure(target: Target, monkeypatch: pytest.MonkeyPatch):
    from syncs.destinations.database_destination import DatabaseDestination

    monkeypatch.setattr(DatabaseDestination, "fields", lambda self: None)
    schemas.typed(target.connection, "people", [schemas.Field("id")], by=None, door="system")  # type: ignore[arg-type]
    schema_watch.work(schema_watch.ring_due() or 0)
    watch = SchemaWatch.objects.get()
    assert "Type them by hand" in watch.problem
    assert watch.failed_count == 0
    assert SchemaSnapshot.objects.get().origin == SchemaOrigin.TYPED


def test_asking_now_moves_the_daily_reading_on(target: Target):
    schema_watch.refresh(target.connection, "people", door="admin")
    assert schema_watch.ring_due() is None


def test_tick_costs_one_query_for_schemas_when_nothing_is_due(target: Target, django_assert_num_queries):
    schema_watch.refresh(target.connection, "people", door="admin")
    with django_assert_num_queries(1):
        schema_watch.ring_due()
