"""Destinations that lie, vanish, dawdle and send us elsewhere: each ends in the outcome that was promised, over whole runs."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dlq.choices import EntryStatus
from dlq.models import DLQEntry
from syncs.choices import RunStatus, StepStatus
from syncs.models import Run, Step
from syncs.services import execution
from tests.faults.api import BATCH, KEYED, Api, People
from tests.servers import Answer, Request, Server

pytestmark = pytest.mark.django_db(transaction=True)

SEED = int(os.environ.get("REDRIVE_SEED", "20261123"))
ROWS = 60


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The jitter of back-off falls low every time: waits of milliseconds, by the same rule."""
    monkeypatch.setattr(execution, "random", SimpleNamespace(random=lambda: 0.03))


@pytest.fixture
def api() -> Iterator[Api]:
    api = Api()
    with api.server:
        yield api


@pytest.fixture
def make(tmp_path: Path, api: Api) -> Callable[..., People]:
    return lambda rows=ROWS, **values: People(tmp_path, api, rows, **values)


def once(answer: Callable[[Request], Answer]) -> Callable[..., Any]:
    """The first call of each content is answered this way, every repeat properly."""
    seen: set[str] = set()

    def behave(request: Request, *_: Any) -> Answer | None:
        key = request.headers["idempotency-key"]
        if key in seen:
            return None
        seen.add(key)
        return answer(request)

    return behave


def lost_once(fault: Answer) -> Callable[..., Answer]:
    """Carried out, and then the first answer of each content is lost in this way."""
    behave = once(lambda _: fault)

    def after(request: Request, records: list[dict[str, Any]], answer: Answer) -> Answer:
        return behave(request) or answer

    return after


def repeats(api: Api) -> dict[str, int]:
    """Idempotency key -> how often it came, for those that came more than once."""
    calls = Counter(request.headers["idempotency-key"] for request in api.server.requests)
    return {key: count for key, count in calls.items() if count > 1}


def assert_same_bytes(api: Api) -> None:
    """Every repeat of a key carries the very same body."""
    bodies: dict[str, set[bytes]] = {}
    for request in api.server.requests:
        bodies.setdefault(request.headers["idempotency-key"], set()).add(request.body)
    assert {len(found) for found in bodies.values()} == {1}


# -- answers 200 with errors inside


def test_errors_inside_a_200_dead_letter_those_rows_alone(make: Any, api: Api):
    people = make()
    api.bad = {
        7: {"code": "INVALID_NAME", "message": "name: 'name 7' is not valid", "field": "name"},
        18: {"code": "DUP", "message": "already exists", "field": "id"},
    }
    run = people.run()
    assert (run.status, run.accepted_count, run.dead_lettered_count) == (RunStatus.PARTIAL, ROWS - 2, 2)
    assert api.held.keys() == set(range(1, ROWS + 1)) - {7, 18}
    said = {key: (e.error_type, e.error_code, e.field, e.http_status) for key, e in people.entries().items()}
    assert said == {7: ("validation", "INVALID_NAME", "name", 200), 18: ("duplicate_key", "DUP", "id", 200)}
    assert '"INVALID_NAME"' in people.entries()[7].response_excerpt
    assert repeats(api) == {}


def test_200_whose_body_says_no_for_the_whole_batch_is_never_taken_for_a_yes(make: Any, api: Api):
    """It names no row and no number of results: nobody can say, so it is repeated, and then the run stops."""
    people = make()
    api.before = lambda *_: Answer.json({"error": {"code": "E_DB", "message": "deadlock"}})
    run = people.run()
    assert (run.status, run.failure_code, run.pending_count) == (RunStatus.FAILED, "breaker", ROWS)
    assert not DLQEntry.objects.exists()
    api.before = None
    people.assert_all_delivered(people.run())


def test_rows_called_too_many_inside_a_200_are_sent_again_and_never_dead_lettered(make: Any, api: Api):
    people = make(20, locator={**KEYED, "status": "status"}, max_attempts=2)
    refusals = Counter[int]()

    def limited(request: Request, records: list[dict[str, Any]]) -> Answer | None:
        results = []
        for record in records:
            if record["id"] % 2 or refusals[record["id"]] >= 4:
                api.held[record["id"]] = record
                results.append({"id": record["id"], "ok": True})
            else:
                refusals[record["id"]] += 1
                error = {"code": "RATE", "message": "too many requests"}
                results.append({"id": record["id"], "ok": False, "status": 429, "error": error})
        return Answer.json({"results": results}, headers={"Retry-After": "0"})

    api.before = limited
    people.assert_all_delivered(people.run())
    assert set(refusals.values()) == {4}


# -- fewer results than records


def test_fewer_results_at_first_are_asked_for_again_under_the_same_key(make: Any, api: Api):
    people = make()
    behave = once(lambda _: Answer())

    def after(request: Request, records: Any, answer: Answer) -> Answer:
        if behave(request) is None:
            return answer
        return Answer.json({"results": [{"id": record["id"], "ok": True} for record in records[:-1]]})

    api.after = after
    people.assert_all_delivered(people.run())
    assert set(repeats(api).values()) == {2}
    assert len(repeats(api)) == ROWS // BATCH
    assert_same_bytes(api)


def test_row_that_no_answer_ever_mentions_is_dead_lettered_as_unknown_outcome(make: Any, api: Api):
    people = make(locator=KEYED)
    people.sent_apart = {25}

    def after(request: Request, records: Any, answer: Answer) -> Answer:
        return Answer.json({"results": [{"id": record["id"], "ok": True} for record in records if record["id"] != 25]})

    api.after = after
    run = people.run()
    assert (run.status, run.accepted_count, run.dead_lettered_count) == (RunStatus.PARTIAL, ROWS - 1, 1)
    (entry,) = DLQEntry.objects.all()
    assert (entry.row_key, entry.error_type, entry.error_code) == ("25", "unknown_outcome", "unaccounted")
    assert 25 not in people.accepted()


def test_results_that_never_add_up_stop_the_run_and_flood_no_dead_letters(make: Any, api: Api):
    people = make(4000)
    api.after = lambda request, records, answer: Answer.json({"results": [{"ok": True}]})
    run = people.run()
    assert (run.status, run.failure_code, run.failure_type) == (RunStatus.FAILED, "breaker", "unknown_outcome")
    assert (run.accepted_count, run.dead_lettered_count, run.pending_count) == (0, 0, run.read_count)
    assert run.read_count <= 2000, "an outage must not draw the whole table into it"
    assert people.accepted() == set()
    api.after = None
    run = people.run()
    people.assert_all_delivered(run)
    assert_same_bytes(api)


# -- closes the connection after accepting; loses answers


@pytest.mark.parametrize("fault", ["close", "cut", "garbage"])
def test_lost_answers_are_repeated_with_the_same_key_and_bytes(make: Any, api: Api, fault: str):
    people = make()
    api.after = lost_once(Answer.json({"results": []}, fault=fault))
    run = people.run()
    people.assert_all_delivered(run)
    assert len(repeats(api)) == ROWS // BATCH
    assert_same_bytes(api)
    assert run.retry_count == ROWS // BATCH
    attempts = [attempt for step in Step.objects.filter(run=run, kind="upload") for attempt in step.attempts]
    assert Counter(attempt["signal"] for attempt in attempts) == {"unknown": 6, "ok": 6}


def test_destination_that_always_hangs_up_stops_the_run_and_the_next_one_repeats_the_same_calls(make: Any, api: Api):
    people = make()
    api.after = lambda *_: Answer(fault="close")
    run = people.run()
    assert (run.status, run.failure_code) == (RunStatus.FAILED, "breaker")
    assert (run.accepted_count, run.dead_lettered_count, run.pending_count) == (0, 0, run.read_count)
    lost = {request.headers["idempotency-key"] for request in api.server.requests}
    in_flight = Step.objects.filter(run=run, status=StepStatus.INFLIGHT)
    assert {send["idempotency_key"] for step in in_flight for send in step.sends} == lost
    assert len(lost) >= 3
    api.after = None
    before = len(api.server.requests)
    people.assert_all_delivered(people.run())
    again = {request.headers["idempotency-key"] for request in api.server.requests[before:]}
    assert again >= lost
    assert_same_bytes(api)
    assert not Step.objects.filter(status=StepStatus.INFLIGHT).exists()


def test_insert_whose_answer_is_lost_is_left_to_a_person_and_not_sent_twice(make: Any, api: Api):
    people = make(30, mode="insert")
    calls = iter(range(100))
    api.after = lambda request, records, answer: Answer(fault="close") if next(calls) == 1 else answer
    run = people.run()
    assert (run.status, run.accepted_count, run.dead_lettered_count) == (RunStatus.PARTIAL, 20, BATCH)
    found = people.entries()
    assert {entry.error_type for entry in found.values()} == {"unknown_outcome"}
    assert all("may have been written" in entry.message for entry in found.values())
    assert Counter(receipt.id for receipt in api.receipts) == dict.fromkeys(range(1, 31), 1)
    again = people.run()
    assert (again.unchanged_count, again.skipped_count, again.request_count) == (20, BATCH, 0)


def test_answers_lost_at_random_lose_no_row(make: Any, api: Api):
    people = make(600, max_attempts=8)
    chance = random.Random(SEED)
    faults = [
        Answer(fault="close"),
        Answer.json({}, fault="cut"),
        Answer(fault="garbage"),
        Answer(status=502),
        Answer(status=503),
    ]

    def unlucky(*_: Any) -> Answer | None:
        return chance.choice(faults) if chance.random() < 0.15 else None

    api.before = unlucky
    api.after = lambda request, records, answer: unlucky() or answer
    run = people.run()
    people.assert_all_delivered(run)
    assert_same_bytes(api)
    lost = sum(1 for receipt in api.receipts if receipt.is_replay)
    print(f"seed {SEED}: {api.calls} calls, {run.retry_count} repeats, {lost} rows carried out twice, each under one key")
    assert lost > 20


# -- drips


def test_answer_that_drips_is_given_up_at_the_deadline_and_repeated(make: Any, api: Api):
    people = make(20, limits={"deadline_seconds": 0.6})
    api.after = lost_once(Answer.json({"results": [{"ok": True}] * BATCH}, fault="drip", interval=1.0))
    started = time.monotonic()
    run = people.run()
    people.assert_all_delivered(run)
    assert time.monotonic() - started < 30
    assert_same_bytes(api)
    attempts = [attempt for step in Step.objects.filter(run=run, kind="upload") for attempt in step.attempts]
    dripped = [attempt for attempt in attempts if attempt["signal"] == "unknown"]
    assert len(dripped) == 2
    assert all(500 < attempt["milliseconds"] < 5000 for attempt in dripped)


def test_destination_that_always_drips_its_headers_stops_the_run_in_bounded_time(make: Any, api: Api):
    people = make(limits={"deadline_seconds": 0.3}, max_attempts=2)
    api.after = lambda request, records, answer: Answer(fault="drip_headers", interval=1.0)
    started = time.monotonic()
    run = people.run()
    assert time.monotonic() - started < 30
    assert (run.status, run.failure_code, run.failure_type) == (RunStatus.FAILED, "breaker", "timeout")
    assert (run.accepted_count, run.dead_lettered_count) == (0, 0)
    assert "deadline" in run.failure_message


# -- redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_not_followed_and_names_the_setting(make: Any, api: Api, status: int):
    people = make(30)
    with Server() as elsewhere:
        api.before = lambda *_: Answer(status=status, headers={"Location": f"{elsewhere.url}/stolen"})
        run = people.run()
        assert elsewhere.requests == []
    assert run.status == RunStatus.FAILED
    assert "redirect" in run.failure_message
    assert "base_url" in run.failure_message
    assert (run.accepted_count, run.dead_lettered_count, run.pending_count) == (0, 0, run.read_count)
    assert not Step.objects.filter(status=StepStatus.INFLIGHT).exists()


# -- one row that the destination cannot stand


def test_row_that_makes_the_destination_fail_is_found_and_its_mates_are_delivered(make: Any, api: Api):
    people = make()

    def choke(request: Request, records: list[dict[str, Any]]) -> Answer | None:
        return Answer(status=500) if any(record["id"] == 33 for record in records) else None

    api.before = choke
    run = people.run()
    assert (run.status, run.accepted_count, run.dead_lettered_count) == (RunStatus.PARTIAL, ROWS - 1, 1)
    (entry,) = DLQEntry.objects.all()
    assert (entry.row_key, entry.error_type, entry.is_permanent) == ("33", "destination_unavailable", False)
    assert (entry.http_status, entry.attempt_count) == (500, entry.attempt_count)
    assert entry.attempt_count >= 3
    again = people.run()
    assert (again.dead_lettered_count, again.unchanged_count) == (1, ROWS - 1)
    assert DLQEntry.objects.get().failure_count == 2
    api.before = None
    third = people.run()
    entry.refresh_from_db()
    assert (entry.status, entry.resolved_run_id, third.accepted_count) == (EntryStatus.RESOLVED, third.pk, 1)
    assert len(api.held) == ROWS


# -- the connection's own faults


def test_token_revoked_in_the_middle_stops_the_run_and_the_next_one_goes_on(make: Any, api: Api):
    people = make(200)
    calls = iter(range(10_000))
    api.before = lambda *_: Answer.json({"error": {"code": "EXPIRED"}}, status=401) if next(calls) >= 5 else None
    run = people.run()
    assert (run.status, run.failure_type) == (RunStatus.FAILED, "auth")
    assert (run.accepted_count, run.dead_lettered_count) == (5 * BATCH, 0)
    assert run.pending_count == run.read_count - 5 * BATCH > 0
    assert people.accepted() == api.held.keys()
    assert not DLQEntry.objects.exists()
    assert "a-token-of-the-test" not in run.failure_message
    api.before = None
    again = people.run()
    people.assert_all_delivered(again)
    assert (again.unchanged_count, again.accepted_count) == (5 * BATCH, 150)
    assert repeats(api).keys() <= {r.headers["idempotency-key"] for r in api.server.requests}
    assert all(not receipt.is_replay for receipt in api.receipts)


@pytest.mark.parametrize("status", [404, 405, 415])
def test_wrong_address_stops_the_run_instead_of_filling_the_dead_letters(make: Any, api: Api, status: int):
    people = make()
    api.before = lambda *_: Answer.json({"error": {"message": "no route"}}, status=status)
    run = people.run()
    assert (run.status, run.dead_lettered_count, run.accepted_count) == (RunStatus.FAILED, 0, 0)
    assert "no route" in run.failure_message


# -- too large


def test_batch_that_is_too_large_is_halved_and_a_row_that_is_too_large_is_dead_lettered(make: Any, api: Api):
    people = make()
    people.sql("UPDATE people SET name = ? WHERE id = 44", "x" * 5000)

    def limited(request: Request, records: Any) -> Answer | None:
        if len(request.body) <= 200:
            return None
        return Answer.json({"error": {"code": "TOO_BIG", "message": "body too large"}}, status=413)

    api.before = limited
    run = people.run()
    assert (run.status, run.accepted_count, run.dead_lettered_count) == (RunStatus.PARTIAL, ROWS - 1, 1)
    (entry,) = DLQEntry.objects.all()
    assert (entry.row_key, entry.error_type, entry.http_status) == ("44", "too_large", 413)
    assert api.held.keys() == set(range(1, ROWS + 1)) - {44}


# -- outages and rate limits


def test_outage_in_the_middle_is_waited_for(make: Any, api: Api):
    people = make(200, max_attempts=6)
    calls = iter(range(10_000))
    api.before = lambda *_: Answer(status=503) if 4 <= next(calls) < 14 else None
    people.assert_all_delivered(people.run())
    assert all(not receipt.is_replay for receipt in api.receipts)


def test_rate_limit_slows_the_run_down_and_dead_letters_nothing(make: Any, api: Api):
    people = make(200, max_attempts=1)
    calls = iter(range(10_000))
    limit = Answer.json({"error": {"message": "slow down"}}, status=429, headers={"Retry-After": "1"})
    api.before = lambda *_: limit if next(calls) in (3, 4, 5, 9, 10) else None
    run = people.run()
    people.assert_all_delivered(run)
    waits = Step.objects.filter(run=run, kind="wait")
    assert all("slow down" in step.message for step in waits)
    assert waits.exists()


@pytest.mark.parametrize("body", [b"<html><h1>Welcome</h1></html>", b"", b'{"results": "all of them"}', b"[]", b"\xff\xfe\x00"])
def test_answer_that_cannot_be_read_is_never_taken_for_a_yes(make: Any, api: Api, body: bytes):
    people = make(30)
    api.before = lambda *_: Answer(status=200, body=body)
    run: Run = people.run()
    assert (run.status, run.accepted_count, run.dead_lettered_count) == (RunStatus.FAILED, 0, 0)
    assert people.accepted() == set()
    api.before = None
    people.assert_all_delivered(people.run())
