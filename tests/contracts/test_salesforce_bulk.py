"""Large upserts into Salesforce become jobs of Bulk API 2.0, whose lists of results have an order of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncs.choices import RunStatus
from syncs.records import Batch, BatchResult, Operation, Signal
from tests.contracts.harness import HttpWorld
from tests.contracts.http_tools import record, states
from tests.contracts.servers.salesforce import HARNESS, KEY
from tests.contracts.servers.salesforce_bulk import SalesforceBulk
from tests.contracts.vendor_tools import lines, opened, told
from tests.contracts.whole_sync import WholeSync

ROWS = [{KEY: f"k{number}", "email": f"k{number}@ok.test"} for number in range(4)]
JOB = "/services/data/v62.0/jobs/ingest"


def world(**changes: object):
    return opened(HARNESS, server=lambda: SalesforceBulk(**changes), settings={"bulk_above": 2})


def begun(world: HttpWorld, rows: list[dict]) -> tuple[Batch, BatchResult]:
    batch = Batch(Operation.UPSERT, [record(row[KEY], row) for row in rows], "a" * 32)
    return batch, world.destination.write(batch)


def ended(world: HttpWorld, rows: list[dict]) -> BatchResult:
    batch, result = begun(world, rows)
    for _ in range(5):
        if result.signal is not Signal.CONFIRMING:
            return result
        result = world.destination.confirm(batch, result.job)
    raise AssertionError("the job did not end")


def test_job_is_created_uploaded_closed_and_asked_after_until_it_ends():
    rows = [*ROWS[:2], {KEY: "k2", "email": 'a "b", c\n@ok.test', "note": None, "Account": {"Key__c": 7}}]
    with world() as opened:
        batch, result = begun(opened, rows)
        assert (result.signal, result.job.id, list(result.outcomes)) == (Signal.CONFIRMING, "7500", [])
        assert lines(opened) == [f"POST {JOB}", f"PUT {JOB}/7500/batches", f"PATCH {JOB}/7500"]
        uploaded = opened.server.requests[1].body.decode().splitlines()
        assert uploaded[:2] == [f"{KEY},email,note,Account.Key__c", "k0,k0@ok.test,,"]
        assert opened.server.requests[1].body.endswith(b'k2,"a ""b"", c\n@ok.test",#N/A,7\n')
        opened.server.requests.clear()
        for _ in range(2):
            assert opened.destination.confirm(batch, result.job).signal is Signal.CONFIRMING
        end = opened.destination.confirm(batch, result.job)
        assert [outcome.detail for outcome in end.outcomes] == ["created"] * 3
        assert [outcome.destination_id for outcome in end.outcomes] == ["003k0", "003k1", "003k2"]
        assert lines(opened)[-3:] == [
            f"GET {JOB}/7500",
            f"GET {JOB}/7500/successfulResults/",
            f"GET {JOB}/7500/unprocessedrecords/",
        ]


def test_another_destination_learns_how_the_job_ended():
    """As the worker does that takes over after a crash: the job's name is all it has."""
    with world() as opened:
        batch, result = begun(opened, ROWS)
        opened.elsewhere(opened.server.url)
        end = result
        while end.signal is Signal.CONFIRMING:
            end = opened.destination.confirm(batch, result.job)
        assert states(end) == ["written"] * 4


def test_failed_rows_are_found_by_the_external_id_and_typed_by_their_code():
    emails = ["a@ok.test", "bad", "c@ok.test", "dup@x.test", None]
    with world() as opened:
        result = ended(opened, [{KEY: f"k{number}", "email": email} for number, email in enumerate(emails)])
    assert states(result) == ["written", "rejected", "written", "rejected", "rejected"]
    assert [told(result.outcomes[place].error)[::2] for place in (1, 3, 4)] == [
        ("validation", "email"),
        ("duplicate_key", "email"),
        ("missing_required", "email"),
    ]
    assert result.outcomes[1].error.message.startswith("INVALID_EMAIL_ADDRESS:")


def test_rows_that_an_aborted_job_left_alone_are_sent_again():
    with world(stops_after=2) as opened:
        assert states(ended(opened, ROWS)) == ["written", "written", "not_attempted", "not_attempted"]


def test_row_in_no_list_of_results_is_unknown():
    with world(forgets=("k1",)) as opened:
        result = ended(opened, ROWS)
    assert states(result) == ["written", "unknown", "written", "written"]


def test_job_that_fails_for_a_column_stops_the_run_and_rejects_nobody():
    with world() as opened:
        result = ended(opened, [{**row, "colour": "red"} for row in ROWS])
    assert result.signal is Signal.CONFIG
    assert "Field name not found : colour" in result.error.message
    assert set(states(result)) <= {"not_attempted"}


def test_job_that_is_not_there_any_more_is_unknown():
    with world() as opened:
        batch, result = begun(opened, ROWS)
        opened.emulator.is_gone = True
        end = opened.destination.confirm(batch, result.job)
    assert (end.signal, set(states(end))) == (Signal.UNKNOWN, {"unknown"})
    assert "7500" in end.error.message


def test_fewer_records_go_out_by_collections():
    with world() as opened:
        assert states(begun(opened, ROWS[:2])[1]) == ["written", "written"]
        assert lines(opened) == [f"PATCH /services/data/v62.0/composite/sobjects/Contact/{KEY}"]


def test_up_to_the_limit_several_calls_carry_one_batch():
    rows = [{KEY: f"k{number}", "email": f"k{number}@ok.test"} for number in range(450)]
    rows[230]["email"] = "bad"
    with opened(HARNESS, settings={"bulk_above": 2000}) as world:
        assert (world.destination.capabilities.max_records, world.destination.capabilities.has_jobs) == (10_000, True)
        result = begun(world, rows)[1]
        assert [len(request.json()["records"]) for request in world.server.requests] == [200, 200, 50]
        assert len(world.stored()) == 449
    assert [place for place, state in enumerate(states(result)) if state != "written"] == [230]


@pytest.mark.django_db(transaction=True)
def test_whole_sync_by_a_job_delivers_all_but_the_bad_row(tmp_path: Path):
    rows = [{"id": f"k{number}", "email": f"k{number}@ok.test"} for number in range(6)]
    rows[2]["email"] = "bad"
    with world(wait="0") as opened:
        sync = WholeSync(
            tmp_path,
            rows,
            kind="salesforce",
            config=opened.harness.config(opened.server.url),
            secrets=HARNESS.secrets,
            destination_object="Contact",
            mapping={KEY: {"column": "id", "is_key": True}, "email": "email"},
        )
        run = sync.run()
        assert len(opened.emulator.jobs) == 1
        assert (run.status, run.accepted_count, run.dead_lettered_count) == (RunStatus.PARTIAL, 5, 1)
        assert sync.causes() == {"k2": ("validation", "email", 200)}
        assert len(opened.stored()) == 5
