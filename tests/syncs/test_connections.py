from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection as database

from syncs.choices import ConnectionRole, ConnectionState
from syncs.errors import ConfigError
from syncs.models import Connection
from syncs.services import connections
from syncs.services.connections import ConnectionCredentials
from tests.servers import Answer, Server
from tests.syncs.objects import make_connection
from tests.syncs.people import people_api, people_source, write_people

pytestmark = pytest.mark.django_db


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(lambda request: Answer.json({"name": "me"})) as server:
        yield server


def test_check_of_a_source_stores_what_it_found(tmp_path: Path):
    write_people(tmp_path / "w.sqlite3", 1)
    source = people_source(tmp_path / "w.sqlite3")
    report = connections.check(source)
    stored = Connection.objects.get(pk=source.pk)
    assert report.is_ok, report.message
    assert (stored.state, stored.state_message) == (ConnectionState.OK, report.message)
    assert stored.checked_at is not None
    assert source.state == ConnectionState.OK


def test_check_of_a_source_that_is_not_there_says_so(tmp_path: Path):
    source = people_source(tmp_path / "missing.sqlite3")
    report = connections.check(source)
    assert not report.is_ok
    assert Connection.objects.get(pk=source.pk).state == ConnectionState.FAILING
    assert report.message
    assert not (tmp_path / "missing.sqlite3").exists()


def test_check_of_a_destination_writes_nothing(server: Server):
    destination = people_api(server.url)
    assert connections.check(destination).is_ok
    assert {request.method for request in server.requests} == {"GET"}


def test_check_of_a_destination_that_refuses_the_secret(server: Server):
    server.handler = lambda request: Answer.json({"error": "no"}, status=401)
    destination = people_api(server.url)
    report = connections.check(destination)
    assert not report.is_ok
    assert Connection.objects.get(pk=destination.pk).state == ConnectionState.FAILING


def test_check_of_an_unreachable_destination_is_a_report_and_no_traceback():
    assert not connections.check(people_api("http://127.0.0.1:9")).is_ok


def test_check_never_shows_what_a_driver_raised(
    monkeypatch: pytest.MonkeyPatch, server: Server, caplog: pytest.LogCaptureFixture
):
    def explode(*args: object, **kwargs: object) -> None:
        raise RuntimeError("postgresql://admin:hunter2@db")

    monkeypatch.setattr(connections, "open_destination", explode)
    report = connections.check(people_api(server.url))
    assert not report.is_ok
    assert "hunter2" not in report.message + caplog.text


def test_validate_names_fields_of_an_unsaved_connection():
    issues = connections.validate(Connection(role=ConnectionRole.SOURCE, kind="sqlite", config={}))
    assert [issue.field for issue in issues] == ["path"]


@pytest.mark.parametrize("role", list(ConnectionRole))
def test_validate_of_an_unknown_kind_names_the_kinds(role: ConnectionRole):
    (issue,) = connections.validate(Connection(role=role, kind="teleport"))
    assert issue.field == "kind"
    assert "Known:" in issue.message


def test_connection_of_the_other_role_is_refused(server: Server, tmp_path: Path):
    with pytest.raises(ConfigError, match="is a source, not a destination"):
        connections.open_destination(people_source(tmp_path / "w"), object_name="x", options={})
    with pytest.raises(ConfigError, match="is a destination, not a source"):
        connections.open_source(people_api(server.url))


# -- rotating tokens


def test_credentials_are_read_and_saved():
    saved = make_connection(secrets={"token": "a"})
    store = ConnectionCredentials(saved.pk)
    with store.locked() as locked:
        assert locked.secrets == {"token": "a"}
        locked.save({"token": "b"})
        assert locked.secrets == {"token": "b"}
    assert store.read() == {"token": "b"}


def test_saved_token_is_kept_though_the_refresh_fails_afterwards():
    """The old token is spent: losing the new one would lock us out."""
    store = ConnectionCredentials(make_connection(secrets={"token": "a"}).pk)

    def refresh() -> None:
        with store.locked() as locked:
            locked.save({"token": "b"})
            raise ConfigError("and then it broke")

    with pytest.raises(ConfigError, match="and then it broke"):
        refresh()
    assert store.read() == {"token": "b"}


def test_wrong_encryption_key_is_a_sentence(monkeypatch: pytest.MonkeyPatch):
    from cryptography.fernet import Fernet

    saved = make_connection(secrets={"token": "a"})
    monkeypatch.setitem(settings.RETL, "ENCRYPTION_KEYS", [Fernet.generate_key().decode()])
    with pytest.raises(ConfigError, match="RETL_ENCRYPTION_KEYS"):
        ConnectionCredentials(saved.pk).read()


@pytest.mark.django_db(transaction=True)
def test_only_one_worker_at_a_time_refreshes_and_the_next_sees_its_token():
    store = ConnectionCredentials(make_connection(secrets={"refreshes": 0}).pk)
    inside: list[int] = []
    most: list[int] = []

    def refresh(number: int) -> None:
        with store.locked() as locked:
            inside.append(number)
            most.append(len(inside))
            locked.save({"refreshes": locked.secrets["refreshes"] + 1})
            inside.remove(number)
        assert database.connection is None  # a sending thread keeps no connection open

    in_threads(6, refresh)
    assert store.read() == {"refreshes": 6}
    assert max(most) == 1


def in_threads(count: int, target: Callable[[int], None]) -> None:
    failures: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            target(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.django_db(transaction=True)
def test_refresh_does_not_lock_the_database_for_others():
    """While a vendor takes its time, runs must go on writing."""
    store = ConnectionCredentials(make_connection(secrets={"token": "a"}).pk)
    done: list[int] = []

    def write(number: int) -> None:
        try:
            done.append(Connection.objects.filter(pk=other.pk).update(description="written"))
        finally:
            database.close()

    other = make_connection()
    with store.locked():
        in_threads(1, write)
    assert done == [1]
