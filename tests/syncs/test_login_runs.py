"""Runs and the credential of their connection: ended logins stop all its syncs, a new credential reaches the next run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from dlq.models import DLQEntry
from syncs.models import AuditEvent, Connection, Run, Step, Sync
from syncs.services import execution, runs
from tests.contracts.servers.oauth import CLIENT_ID, CLIENT_SECRET, OAuth
from tests.installation import Installation, until
from tests.servers import Answer, Request, Server
from tests.syncs.objects import make_sync, queued
from tests.syncs.people import write_people
from tests.syncs.test_logins import log_in

ROWS = 4


@pytest.fixture
def oauth() -> Iterator[OAuth]:
    made = OAuth()
    with made.server:
        yield made


def two_syncs(folder: Path, connection: Connection) -> list[Sync]:
    path = folder / "warehouse.sqlite3"
    write_people(path, ROWS)
    name = connection.name
    source = Connection.objects.create(name=f"{name} source", role="source", kind="sqlite", config={"path": str(path)})
    return [make_sync(name=f"{name} {number}", source=source, destination=connection) for number in (1, 2)]


def logged_in(oauth: OAuth, **secrets: Any) -> Connection:
    """As after a login, with a token that the API does not take any more."""
    oauth.refresh = "refresh-0-of-the-test"
    kept = {"access_token": "stale-token-of-the-test", "expires_at": 4e9, "refresh_token": oauth.refresh, **secrets}
    kept |= {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    config = oauth.config(limits={"concurrency": 8})
    return Connection.objects.create(name="CRM", role="destination", kind="http", config=config, secrets=kept)


def work(sync: Sync) -> Run:
    run = queued(sync)
    claim = runs.claim(run_id=run.pk, worker="test")
    assert claim is not None
    execution.execute(claim)
    run.refresh_from_db()
    return run


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("how", ["grant withdrawn", "token refused after refresh", "never logged in"])
def test_ended_login_stops_every_sync_and_dead_letters_nothing(admin_client: Client, oauth: OAuth, tmp_path: Path, how: str):
    connection = logged_in(oauth)
    syncs = two_syncs(tmp_path, connection)
    if how == "grant withdrawn":
        oauth.revoke()
    elif how == "never logged in":
        Connection.objects.update(secrets={"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET})
    else:
        oauth.refuses_all = True
    first = work(syncs[0])
    assert (first.status, first.failure_type, first.dead_lettered_count) == ("failed", "auth", 0)
    connection.refresh_from_db()
    assert connection.state == "reauthorize"
    assert "Log in again on the connection's page" in connection.state_message
    calls = len(oauth.server.requests)
    second = work(syncs[1])
    assert (second.status, second.failure_code) == ("failed", "reauthorize")
    assert "log in again at the destination" in second.failure_message
    assert len(oauth.server.requests) == calls, "nothing was sent for it"
    assert not Step.objects.filter(run=second).exists()
    assert not DLQEntry.objects.exists()
    for sync in syncs:
        sync.refresh_from_db()
        assert (sync.status, sync.status_reason) == ("failing", "“CRM”: log in again at the destination.")
    html = admin_client.get(f"/admin/syncs/connection/{connection.pk}/").content.decode()
    assert "press “Log in at the destination”" in html

    oauth.refuses_all = False
    log_in(admin_client, connection)
    assert [work(sync).status for sync in syncs] == ["succeeded", "succeeded"]
    assert len(oauth.written) == 2 * ROWS
    acts = list(AuditEvent.objects.filter(target_type="connection").values_list("act", flat=True))
    assert acts == ["logged_in", "login_lost"]
    assert set(Sync.objects.values_list("status", flat=True)) == {"healthy"}


@pytest.mark.django_db(transaction=True)
def test_wrong_client_secret_is_no_ended_login(oauth: OAuth, tmp_path: Path):
    connection = logged_in(oauth)
    Connection.objects.update(secrets={**connection.secrets, "client_secret": "wrong-secret"})
    run = work(two_syncs(tmp_path, connection)[0])
    assert (run.status, run.failure_code) == ("failed", "invalid_client")
    connection.refresh_from_db()
    assert connection.state == "unchecked"
    assert oauth.refresh == "refresh-0-of-the-test"


class KeyedApi:
    """Takes one key at a time, and remembers which keys it was shown."""

    def __init__(self) -> None:
        self.key = "first-key-of-the-test"
        self.server = Server(self.answer)

    def answer(self, request: Request) -> Answer:
        is_good = request.headers.get("authorization") == f"Bearer {self.key}"
        return Answer.json({} if is_good else {"message": "no"}, 200 if is_good else 401)


SETUP = """
from pathlib import Path
from tests.contracts.servers.oauth import OAuth
from tests.syncs.test_login_runs import two_syncs
from syncs.models import Connection
connection = Connection.objects.create(name={name!r}, role="destination", kind="http", config={config!r}, secrets={secrets!r})
print(" ".join(str(sync.pk) for sync in two_syncs(Path({folder!r}), connection)))
"""
REQUEST = """
from syncs.models import Sync
from tests.syncs.objects import queued
print(" ".join(str(queued(sync).pk) for sync in Sync.objects.filter(pk__in={syncs!r})))
"""
ROTATE = """
from django.contrib.auth.models import User
from django.test import Client
from django.test.utils import setup_test_environment
from tests.syncs.admin_forms import posted
setup_test_environment()
client = Client()
client.force_login(User.objects.create_superuser("root"))
page = "/admin/syncs/connection/{pk}/change/"
answer = client.post(page, posted(client.get(page)) | {{"secret__token": {token!r}}})
print(answer.status_code)
"""


def set_up(redrive: Installation, name: str, config: dict[str, Any], secrets: dict[str, Any]) -> list[int]:
    folder = redrive.folder / name
    folder.mkdir()
    code = SETUP.format(name=name, config=config, secrets=secrets, folder=str(folder))
    return [int(pk) for pk in redrive.shell(code).splitlines()[-1].split()]


def both_runs(redrive: Installation, syncs: list[int]) -> list[str]:
    """How a run of each, requested together, ends."""
    made = [int(pk) for pk in redrive.shell(REQUEST.format(syncs=syncs)).splitlines()[-1].split()]

    def ended() -> list[str]:
        found = [redrive.run_status(pk) for pk in made]
        return found if not {"queued", "running"} & set(found) else []

    statuses: list[str] = until(ended, seconds=60, what="the end of the runs")
    return statuses


@pytest.mark.faults
@pytest.mark.once("sqlite")
def test_new_key_reaches_a_running_worker_and_two_workers_keep_a_rotating_login(oauth: OAuth):
    api = KeyedApi()
    kind = os.environ.get("REDRIVE_TEST_DB", "sqlite")
    with api.server, Installation(kind) as redrive:
        operation = {"method": "POST", "path": "/contacts"}
        objects = {"contacts": {"operations": {"upsert": operation}}}
        config = {"base_url": api.server.url, "auth": {"kind": "bearer"}, "objects": objects}
        keyed = set_up(redrive, "keyed", config, {"token": api.key})
        oauth.refresh = "refresh-0-of-the-test"
        stale = {"access_token": "stale-token-of-the-test", "expires_at": 4e9, "refresh_token": oauth.refresh}
        stale |= {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        rotating = set_up(redrive, "rotating", oauth.config(limits={"concurrency": 8}), stale)
        worker = redrive.start("retl_worker", "--workers", "2", "--tick-seconds", "0.5")

        assert both_runs(redrive, keyed) == ["succeeded", "succeeded"]
        api.key = "second-key-of-the-test"
        redrive.query("DELETE FROM syncs_deliveredrow")
        assert both_runs(redrive, keyed) == ["failed", "failed"]
        (connection,) = redrive.query("SELECT id FROM syncs_connection WHERE name = 'keyed'")[0]
        assert redrive.shell(ROTATE.format(pk=connection, token=api.key)).splitlines()[-1] == "302"
        assert both_runs(redrive, keyed) == ["succeeded", "succeeded"]
        assert redrive.query("SELECT count(*) FROM dlq_dlqentry")[0] == (0,)

        assert both_runs(redrive, rotating) == ["succeeded", "succeeded"]
        assert (oauth.grants, oauth.reused) == (["refresh_token"], 0)
        assert len(oauth.written) == 2 * ROWS
        assert worker.process.poll() is None, "one worker, from the beginning to the end"
