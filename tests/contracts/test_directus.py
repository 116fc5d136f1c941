"""Whole syncs into Directus, a server of somebody else's, by the http kind's settings alone (`make directus` installs it).

What it answers is in docs/http-destination.md: batches are all or nothing, errors name a code and mostly a field, a bad
timestamp is a 500, access tokens end and refresh tokens are good once.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from dlq.choices import EntryStatus
from dlq.models import DLQEntry
from syncs.choices import ConnectionState, RunStatus, Trigger
from syncs.models import Connection, Run, Step
from syncs.records import Batch, Operation
from syncs.services import connections, runs, worker
from tests import directus, postgres
from tests.contracts.http_tools import record
from tests.contracts.whole_sync import WholeSync
from tests.directus import Directus

pytestmark = [
    pytest.mark.thirdparty,
    pytest.mark.postgres,
    pytest.mark.once("sqlite"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not directus.is_installed(), reason="Directus is not installed: make directus"),
    pytest.mark.timeout(900),
]
DOCUMENTED = Path(__file__).parents[2] / "docs" / "http-destination.md"
TTL = 3  # seconds that an access token lives

MAPPING: dict[str, Any] = {
    "id": {"column": "id", "is_key": True},
    "email": "email",
    "city": "city",
    "age": {"column": "age", "type": "integer"},
    "joined_at": "joined_at",
    "score": {"column": "score", "type": "integer", "on_null": "omit"},
}
# Ends of row keys, what is wrong with the row, and what its dead letter must say: type, code, field, HTTP status, message.
FAULTS: dict[str, tuple[dict[str, Any], tuple[str, str, str, int], str]] = {
    "-03": ({"email": "nobody"}, ("validation", "FAILED_VALIDATION", "email", 400), 'field "email". Value has to contain "@"'),
    "-08": ({"email": "taken@x.test"}, ("duplicate_key", "RECORD_NOT_UNIQUE", "email", 400), 'for field "email" in collection'),
    "-11": ({"city": None}, ("missing_required", "FAILED_VALIDATION", "city", 400), 'field "city". Value can\'t be null'),
    "-17": ({"score": 9}, ("field_permission", "FORBIDDEN", "score", 403), "permission to access field"),
    "-21": ({"joined_at": "yesterday"}, ("validation", "INTERNAL_SERVER_ERROR", "", 500), "An unexpected error occurred."),
    "-26": ({"age": 900}, ("validation", "FAILED_VALIDATION", "age", 400), 'less than or equal to "150"'),
}


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    yield directus.new_database("directus_of_tests")
    postgres.drop_database("directus_of_tests")


@pytest.fixture(scope="module")
def server(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directus]:
    with directus.started(tmp_path_factory.mktemp("directus"), database=database, ACCESS_TOKEN_TTL=f"{TTL}s") as found:
        directus.prepare(found)
        found.call("POST", "/items/contacts", {"id": "first", "email": "taken@x.test", "city": "Berlin"})
        yield found


def settings(url: str, **changed: Any) -> dict[str, Any]:
    """The example of the documentation, word for word, at this address."""
    section = DOCUMENTED.read_text().partition("### Directus")[2]
    found: dict[str, Any] = json.loads(re.search(r"```json\n(.*?)```", section, re.S)[1])  # type: ignore[index]
    return {**found, "base_url": url, "limits": {**found["limits"], "deadline_seconds": 120}, **changed}


def whole_sync(folder: Path, url: str, prefix: str, count: int, *, faults: Any = FAULTS, **options: Any) -> WholeSync:
    rows = []
    for number in range(count):
        end = f"-{number:02}"
        row = {
            "id": prefix + end,
            "email": f"{prefix}{end}@x.test",
            "city": "Berlin",
            "age": number,
            "joined_at": None,
            "score": None,
        }
        rows.append({**row, **(faults[end][0] if end in faults else {})})
    defaults = {"config": settings(url), "secrets": {"token": directus.SYNC}, "destination_object": "new_contacts"}
    return WholeSync(folder, rows, mapping=MAPPING, **{**defaults, "mode": "insert", **options})


def told(sync: WholeSync) -> dict[str, tuple[str, str, str, int | None]]:
    return {key: (one.error_type, one.error_code, one.field, one.http_status) for key, one in sync.entries().items()}


def test_batches_with_bad_rows_leave_dead_letters_that_say_why_and_the_rest_is_there(server: Directus, tmp_path: Path):
    sync = whole_sync(tmp_path, server.url, "ins", 40, max_attempts=2)
    run = sync.run()
    assert (run.status, run.accepted_count, run.dead_lettered_count) == (RunStatus.PARTIAL, 34, 6)
    assert told(sync) == {f"ins{end}": cause for end, (_, cause, _) in FAULTS.items()}
    for end, (_, _, message) in FAULTS.items():
        assert message in sync.entries()[f"ins{end}"].message
    assert set(server.stored("ins")) == {f"ins-{number:02}" for number in range(40)} - {f"ins{end}" for end in FAULTS}
    again = sync.run()
    assert (again.unchanged_count, again.skipped_count, again.request_count) == (34, 6, 0)


def test_bad_timestamp_is_named_where_the_server_tells_it(server: Directus, tmp_path: Path):
    faults = {"-02": ({"joined_at": "2024-02-31"}, ("validation", "INTERNAL_SERVER_ERROR", "joined_at", 500), "")}
    sync = whole_sync(tmp_path, server.url, "adm", 8, faults=faults, secrets={"token": directus.ADMIN})
    run = sync.run()
    assert (run.accepted_count, run.dead_lettered_count) == (7, 1)
    assert not Step.objects.filter(run=run, kind="wait").exists()  # halved at once: nothing says that the server is down
    assert told(sync) == {"adm-02": faults["-02"][1]}
    assert "invalid input syntax for type timestamp" in sync.entries()["adm-02"].message


def test_upserts_create_update_and_resolve_what_was_corrected(server: Directus, tmp_path: Path):
    sync = whole_sync(tmp_path, server.url, "ups", 12, destination_object="contacts", mode="upsert")
    run = sync.run()
    assert (run.accepted_count, run.created_count, run.dead_lettered_count) == (9, 9, 3)
    assert told(sync) == {f"ups{end}": FAULTS[end][1] for end in ("-03", "-08", "-11")}
    sync.sql("UPDATE contacts SET city = 'Paris' WHERE id IN ('ups-00', 'ups-11')")
    after = sync.run()
    assert (after.accepted_count, after.created_count, after.updated_count, after.skipped_count) == (2, 1, 1, 2)
    assert {key for key, row in server.stored("ups").items() if row["city"] == "Paris"} == {"ups-00", "ups-11"}
    assert sync.entries(status=EntryStatus.RESOLVED).keys() == {"ups-11"}


def test_wrong_token_fails_the_run_and_no_row(server: Directus, tmp_path: Path):
    sync = whole_sync(tmp_path, server.url, "tok", 3, faults={})
    Connection.objects.filter(pk=sync.target.pk).update(secrets={"token": "some-other-token"})
    run = failed(sync)
    assert (run.status, run.failure_type) == (RunStatus.FAILED, "auth")
    assert not DLQEntry.objects.exists()
    assert server.stored("tok") == {}


def failed(sync: WholeSync) -> Run:
    run = runs.request(sync=sync.sync, trigger=Trigger.MANUAL)
    claim = runs.claim(run_id=run.pk, worker="test")
    assert claim is not None
    worker.execute(claim)
    run.refresh_from_db()
    return run


def test_rate_limit_slows_the_run_down_and_dead_letters_no_row(server: Directus, database: str, tmp_path: Path):
    limits = {"RATE_LIMITER_ENABLED": "true", "RATE_LIMITER_POINTS": "4", "RATE_LIMITER_DURATION": "2"}
    (tmp_path / "server").mkdir()
    with directus.started(tmp_path / "server", database=database, **limits) as limited:
        config = settings(limited.url)
        config["limits"]["max_records"] = 1
        sync = whole_sync(tmp_path, limited.url, "lim", 12, faults={}, config=config, max_attempts=1)
        run = sync.run()
    attempts = [attempt for step in Step.objects.filter(run=run, kind="upload") for attempt in step.attempts]
    refused = [attempt for attempt in attempts if attempt["http_status"] == 429]
    assert refused, "the server never said 429"
    assert (run.status, run.accepted_count) == (RunStatus.SUCCEEDED, 12)
    assert all(attempt["signal"] == "rate_limited" for attempt in refused)
    assert not DLQEntry.objects.exists()
    assert len(server.stored("lim")) == 12


# -- a login whose access tokens end and whose refresh tokens are good once


def login_auth(url: str) -> dict[str, Any]:
    section = DOCUMENTED.read_text().partition("### Directus")[2]
    found: dict[str, Any] = json.loads(re.search(r"```\n(\{.*?)```", section, re.S)[1])  # type: ignore[index]
    return {**found, "token_url": f"{url}/auth/refresh"}


def logged_in(server: Directus, folder: Path, prefix: str, count: int) -> WholeSync:
    token = server.login()["refresh_token"]
    config = settings(server.url, auth=login_auth(server.url))
    return whole_sync(folder, server.url, prefix, count, faults={}, config=config, secrets={"refresh_token": token})


def expired(server: Directus, connection: Connection) -> None:
    """Wait until the server takes the stored access token no more."""
    connection.refresh_from_db()
    token, deadline = connection.secrets["access_token"], time.monotonic() + 60
    while requests.get(f"{server.url}/users/me", headers={"Authorization": f"Bearer {token}"}, timeout=30).status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_token_that_ends_is_renewed_and_two_workers_never_lose_the_login(server: Directus, tmp_path: Path):
    sync = logged_in(server, tmp_path, "rot", 6)
    assert sync.run().accepted_count == 6
    expired(server, sync.target)
    before = sync.target.secrets["refresh_token"]
    meet, wrong = threading.Barrier(2), []

    def work(name: str) -> None:
        opened = connections.open_destination(sync.target, object_name="new_contacts", options={})
        try:
            for number in range(4):
                meet.wait(60)
                one = record(f"{name}{number}", {"id": f"{name}{number}", "email": f"{name}{number}@x.test", "city": "Rome"})
                result = opened.write(Batch(Operation.INSERT, [one], f"{name}{number}" * 8))
                if [outcome.state.value for outcome in result.outcomes] != ["written"]:
                    wrong.append(result)
                meet.wait(60)
                if name == "rotA":
                    expired(server, Connection.objects.get(pk=sync.target.pk))
        finally:
            opened.close()
            from django.db import connection

            connection.close()

    threads = [threading.Thread(target=work, args=(name,)) for name in ("rotA", "rotB")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(180)
    assert wrong == []
    assert len(server.stored("rotA")) == len(server.stored("rotB")) == 4
    sync.target.refresh_from_db()
    assert sync.target.secrets["refresh_token"] != before
    assert sync.target.state != ConnectionState.REAUTHORIZE
    assert connections.check(sync.target).is_ok


def test_login_that_was_ended_asks_for_a_person_and_dead_letters_no_row(server: Directus, tmp_path: Path):
    sync = logged_in(server, tmp_path, "out", 3)
    server.call("POST", "/auth/logout", {"refresh_token": Connection.objects.get(pk=sync.target.pk).secrets["refresh_token"]})
    expired(server, sync.target)
    run = failed(sync)
    assert (run.status, run.failure_type) == (RunStatus.FAILED, "auth")
    assert not DLQEntry.objects.exists()
    sync.target.refresh_from_db()
    assert sync.target.state == ConnectionState.REAUTHORIZE
    Connection.objects.filter(pk=sync.target.pk).update(
        secrets={"refresh_token": server.login()["refresh_token"]}, state=ConnectionState.UNCHECKED
    )
    assert sync.run().accepted_count == 3
