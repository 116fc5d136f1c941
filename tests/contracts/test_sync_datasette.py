"""Whole syncs into Datasette, a real server that refuses a batch whole and does not say whose fault it was."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dlq.choices import Door, EntryStatus
from dlq.models import DLQEntry
from dlq.services import entries as acts
from syncs.choices import RunStatus, StepStatus
from syncs.models import Step
from syncs.services import runs, worker
from tests.contracts.test_http_datasette import OBJECTS, TABLES
from tests.contracts.whole_sync import WholeSync
from tests.thirdparty import datasette

pytestmark = [pytest.mark.thirdparty, pytest.mark.django_db(transaction=True)]

ROWS = 250
MAPPING = {
    "external_id": {"column": "id", "is_key": True},
    "email": "email",
    "name": "name",
    "age": {"column": "age", "type": "integer"},
}
FAULTS = {"p005": {"email": None}, "p123": {"age": 999}, "p124": {"email": "taken@x.test"}, "p200": {"age": "old"}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, Path]]:
    with datasette(tmp_path_factory.mktemp("datasette"), TABLES) as started:
        yield started


@pytest.fixture
def stored(server: tuple[str, str, Path]) -> Callable[[], dict[str, tuple[Any, ...]]]:
    """What the table holds, but for the record that another system keeps there."""
    with sqlite3.connect(server[2]) as database:
        database.execute("delete from contacts")
        database.execute("insert into contacts values ('legacy', 'taken@x.test', 'Somebody else', 1)")
    database.close()

    def read() -> dict[str, tuple[Any, ...]]:
        with sqlite3.connect(server[2]) as database:
            rows = database.execute("select external_id, email, name, age from contacts where external_id <> 'legacy'")
            found = {row[0]: row[1:] for row in rows}
        database.close()
        return found

    return read


@pytest.fixture
def sync(server: tuple[str, str, Path], stored: Any, tmp_path: Path) -> WholeSync:
    config = {"base_url": server[0], "auth": {"kind": "bearer"}, "check": {"path": "/crm.json"}, "objects": OBJECTS}
    return WholeSync(
        tmp_path,
        people(),
        config=config,
        secrets={"token": server[1]},
        destination_object="contacts",
        mapping=MAPPING,
    )


def people() -> list[dict[str, Any]]:
    keys = [f"p{number:03}" for number in range(ROWS)]
    rows = {
        key: {"id": key, "email": f"{key}@x.test", "name": f"Zoë “{key}” O'Neil", "age": 30 + n % 9}
        for n, key in enumerate(keys)
    }
    return [{**row, **FAULTS.get(key, {})} for key, row in rows.items()]


def as_stored(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["email"], row["name"], row["age"]


def test_planted_faults_are_found_one_by_one_and_their_batch_mates_are_delivered(sync: WholeSync, stored: Any):
    run = sync.run()
    assert (run.status, run.accepted_count, run.dead_lettered_count) == (RunStatus.PARTIAL, ROWS - 4, 4)
    assert sync.causes() == {
        "p005": ("missing_required", "email", 400),
        "p123": ("validation", "age", 400),
        "p124": ("duplicate_key", "email", 400),
        "p200": ("mapping", "age", None),
    }
    assert stored() == {row["id"]: as_stored(row) for row in people() if row["id"] not in FAULTS}
    assert "NOT NULL" in sync.entries()["p005"].response_excerpt
    uploads = Step.objects.filter(run=run, kind="upload")
    assert sum(step.row_count for step in uploads) == ROWS - 1
    assert {step.status for step in uploads} == {StepStatus.PARTIAL, StepStatus.SUCCEEDED}
    second = sync.run()
    assert (second.status, second.unchanged_count, second.skipped_count, second.request_count) == ("succeeded", ROWS - 4, 4, 0)


def test_rows_fixed_in_the_warehouse_are_delivered_and_the_rest_reprocessed_in_vain(sync: WholeSync, stored: Any):
    sync.run()
    sync.sql("UPDATE contacts SET email = 'p005@x.test' WHERE id = 'p005'")
    sync.sql("UPDATE contacts SET age = 44 WHERE id = 'p200'")
    sync.sql("UPDATE contacts SET name = 'Renamed' WHERE id = 'p001'")
    run = sync.run()
    assert (run.status, run.accepted_count, run.unchanged_count, run.skipped_count) == (RunStatus.SUCCEEDED, 3, ROWS - 5, 2)
    assert (stored()["p005"][0], stored()["p200"][2], stored()["p001"][1]) == ("p005@x.test", 44, "Renamed")
    resolved = sync.entries(status=EntryStatus.RESOLVED)
    assert {key: entry.resolved_run_id for key, entry in resolved.items()} == {"p005": run.pk, "p200": run.pk}

    sync.sql("UPDATE contacts SET age = 99 WHERE id = 'p123'")
    result = acts.reprocess(DLQEntry.objects.live(), by=None, reason="p123 is fixed", door=Door.CLI)
    again = result.runs[0]
    claim = runs.claim(run_id=again.pk, worker="test")
    assert claim is not None
    worker.execute(claim)
    again.refresh_from_db()
    assert (again.status, again.accepted_count, again.dead_lettered_count) == (RunStatus.PARTIAL, 1, 1)
    assert stored()["p123"][2] == 99
    left = sync.entries()["p124"]
    assert (left.status, left.failure_count, left.attempt_count > 1) == (EntryStatus.OPEN, 2, True)


def test_field_that_the_table_lacks_is_schema_drift_and_names_the_field(sync: WholeSync, stored: Any):
    sync.sql("DELETE FROM contacts WHERE id > 'p004'")
    sync.sync.mappings.create(destination_field="nickname", column="name", position=9)
    run = sync.run()
    assert (run.accepted_count, run.dead_lettered_count) == (0, 5)
    assert set(sync.causes().values()) == {("schema_drift", "nickname", 400)}
    assert stored() == {}
    sync.sync.mappings.filter(destination_field="nickname").delete()
    after = sync.run()
    assert (after.status, after.accepted_count) == (RunStatus.SUCCEEDED, 5)
    assert not DLQEntry.objects.live().exists()
