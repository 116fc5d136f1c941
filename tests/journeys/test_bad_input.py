"""What people get wrong: refused where it is typed, and where it got past that, at the start of the run, with a sentence that
names the thing and the way out. Never a traceback, never a half-made run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from django.test import Client
from django.urls import reverse

from dlq.models import DLQEntry
from syncs.choices import ConnectionRole, RunStatus, StepStatus
from syncs.models import Connection, FieldMapping, Step, Sync
from syncs.services import connections, execution, schedules
from syncs.services import syncs as sync_service
from tests.faults.api import Api, People
from tests.servers import Answer, Server
from tests.syncs.admin_forms import errors, posted
from tests.syncs.sources_support import postgres_config

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once("sqlite")]

Spoil = Callable[[People], None]
TOKEN = "a-token-of-the-test"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "random", SimpleNamespace(random=lambda: 0.03))


@pytest.fixture
def api() -> Iterator[Api]:
    api = Api()
    with api.server:
        yield api


@pytest.fixture
def people(tmp_path: Path, api: Api) -> People:
    return People(tmp_path, api, 30)


# -- ways to spoil a sync that was right


def sync(**values: Any) -> Spoil:
    def spoil(people: People) -> None:
        Sync.objects.filter(pk=people.sync.pk).update(**values)
        people.sync.refresh_from_db()

    return spoil


def line(field: str, **values: Any) -> Spoil:
    return lambda people: (FieldMapping.objects.filter(sync=people.sync, destination_field=field).update(**values), None)[1]


def more(**values: Any) -> Spoil:
    return lambda people: (FieldMapping.objects.create(sync=people.sync, position=9, **values), None)[1]


def source(kind: str = "sqlite", **config: Any) -> Spoil:
    def spoil(people: People) -> None:
        Connection.objects.filter(pk=people.sync.source_id).update(kind=kind, config=config)
        people.sync.refresh_from_db()

    return spoil


def destination(**changes: Any) -> Spoil:
    def spoil(people: People) -> None:
        Connection.objects.filter(pk=people.target.pk).update(config={**people.target.config, **changes})
        people.sync.refresh_from_db()

    return spoil


def no_mapping(people: People) -> None:
    FieldMapping.objects.filter(sync=people.sync).delete()


@dataclass(frozen=True)
class Case:
    """``field``: where the form shows it. ``words``: of the sentence, at save and at the run's start alike."""

    name: str
    spoil: Spoil
    field: str
    words: tuple[str, ...]


CLOSED = "127.0.0.1"
CASES = [
    Case("sql-misspelled", sync(query="SELEC id, name FROM people"), "query", ("SELECT",)),
    Case("sql-empty", sync(query="   "), "query", ("query",)),
    Case("sql-unknown-table", sync(query="SELECT id, name FROM persons"), "query", ("persons",)),
    Case("sql-unknown-column", sync(query="SELECT id, surname AS name FROM people"), "query", ("surname",)),
    Case("sql-unclosed", sync(query="SELECT id, name FROM people WHERE name = 'x"), "query", ("query",)),
    Case("sql-writes", sync(query="DELETE FROM people"), "query", ("SELECT",)),
    Case("sql-two-statements", sync(query="SELECT id, name FROM people; DROP TABLE people"), "query", ("one",)),
    Case("key-not-returned", sync(key_columns="uuid"), "key_columns", ("uuid", "id, name")),
    Case("key-none", sync(key_columns=" , "), "key_columns", ("column",)),
    Case("columns-doubled", sync(query="SELECT id, name, name FROM people"), "query", ("name", "AS")),
    Case("mapping-none", no_mapping, "mappings", ("map", "column")),
    Case("mapping-missing-column", line("name", column="surname"), "mappings.1.column", ("surname", "name")),
    Case("mapping-two-to-one", more(destination_field="name.first", column="name"), "mappings.2.destination_field", ("name",)),
    Case("mapping-template", line("name", kind="template", template="{{ name "), "mappings.1.template", ("emplate",)),
    Case("mapping-template-column", line("name", kind="template", template="{{ nick }}"), "mappings.1.template", ("nick",)),
    Case("mapping-type", line("name", type="decimal", options={"scale": "two"}), "mappings.1.options", ("scale",)),
    Case("object-unknown", sync(destination_object="deals"), "destination_object", ("deals", "contacts")),
    Case("mode-not-offered", sync(mode="delete"), "mode", ("delete",)),
    Case("cursor-not-returned", sync(detection="watermark", cursor_column="changed"), "cursor_column", ("changed",)),
    Case("warehouse-file-missing", source(path="/nowhere/warehouse.sqlite3"), "source", ("/nowhere/warehouse.sqlite3",)),
    Case("warehouse-file-unset", source(), "source", ("File",)),
    Case("warehouse-kind-unknown", source("oracle"), "source", ("oracle",)),
    Case(
        "warehouse-port-closed",
        source("postgresql", host=CLOSED, port=1, database="shop", user="reader"),
        "source",
        ("127.0.0.1", "port"),
    ),
    Case(
        "warehouse-host-unknown",
        source("postgresql", host="warehouse.invalid", database="shop", user="reader"),
        "source",
        ("warehouse.invalid",),
    ),
    Case("url-no-scheme", destination(base_url="crm.example.com"), "destination", ("base_url", "http")),
    Case("url-other-scheme", destination(base_url="ftp://crm.example.com"), "destination", ("base_url", "http")),
    Case("url-nonsense", destination(base_url="http://"), "destination", ("base_url",)),
    Case("url-with-password", destination(base_url="https://u:p4ssw0rd@crm.example.com"), "destination", ("base_url",)),
    Case("auth-unknown", destination(auth={"kind": "magic"}), "destination", ("auth", "magic")),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_wrong_set_up_is_refused_at_save_and_fails_a_run_with_the_same_sentence(
    people: People, api: Api, admin_client: Client, case: Case
):
    case.spoil(people)
    issues = sync_service.validate(people.sync)
    said = [issue for issue in issues if issue.field == case.field]
    assert said, [(issue.field, issue.message) for issue in issues]
    assert_says(said[0].message, case.words)
    assert_save_is_refused(admin_client, people.sync, case)
    assert_run_fails(people, api, admin_client, case.words)


def assert_says(message: str, words: tuple[str, ...]) -> None:
    assert [word for word in words if word.lower() not in message.lower()] == [], message
    for never in ("Traceback", "Error(", "Exception", "psycopg", "<class", TOKEN, "p4ssw0rd"):
        assert never not in message
    assert message.rstrip().endswith((".", "!", "?", "…")), message


def assert_save_is_refused(client: Client, sync: Sync, case: Case) -> None:
    """The form opens on what is stored, and saving it again is refused with the sentence in view."""
    url = reverse("admin:syncs_sync_change", args=(sync.pk,))
    page = client.get(url)
    assert page.status_code == 200
    answer = client.post(url, posted(page))
    assert answer.status_code == 200, "it was saved"
    said = errors(answer) + str(answer.context["adminform"].form.non_field_errors())
    assert [word for word in case.words if word.lower() not in said.lower()] == [], said
    assert Sync.objects.get(pk=sync.pk).current_version is None


def assert_run_fails(people: People, api: Api, client: Client, words: tuple[str, ...], *, calls: int = 0) -> None:
    """It ends at once, says why, sent nothing, left nothing in flight; its page and the sync's page show the sentence."""
    run = people.run()
    assert (run.status, run.accepted_count, run.dead_lettered_count) == (RunStatus.FAILED, 0, 0)
    assert run.pending_count == run.read_count
    assert run.finished_at is not None
    assert_says(run.failure_message, words)
    assert "unforeseen" not in run.failure_message
    assert api.calls == calls
    assert not DLQEntry.objects.exists()
    assert not Step.objects.filter(status=StepStatus.INFLIGHT).exists()
    page = client.get(reverse("admin:syncs_run_change", args=(run.pk,)))
    assert page.status_code == 200
    assert words[0].lower() in page.content.decode().lower()
    assert client.get(reverse("admin:syncs_sync_page", args=(people.sync.pk,))).status_code == 200


# -- what only the other side can tell


def test_wrong_secret_of_the_destination_stops_the_run_and_the_connection_test_says_so(
    people: People, api: Api, admin_client: Client
):
    refused = {"error": {"code": "invalid_token", "message": "The access token is not valid"}}
    api.before = lambda *_: Answer.json(refused, status=401)
    run = people.run()
    assert (run.status, run.failure_type, run.failure_code) == (RunStatus.FAILED, "auth", "invalid_token")
    assert "The access token is not valid" in run.failure_message
    assert (run.accepted_count, run.dead_lettered_count, run.pending_count) == (0, 0, 30)
    with Server(lambda request: Answer.json(refused, status=401)) as server:
        destination(base_url=server.url)(people)
        people.target.refresh_from_db()
        report = connections.check(people.target)
    assert not report.is_ok
    assert "401" in report.message
    assert TOKEN not in report.message + run.failure_message


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:1", ("127.0.0.1", "connection")),
        ("http://crm.invalid", ("crm.invalid", "resolved")),
    ],
    ids=["port-closed", "host-unknown"],
)
def test_unreachable_destination_stops_the_run_and_the_next_one_sends_everything(
    people: People, api: Api, admin_client: Client, url: str, words: tuple[str, ...]
):
    good = people.target.config
    destination(base_url=url)(people)
    assert_run_fails(people, api, admin_client, words)
    people.target.refresh_from_db()
    report = connections.check(people.target)
    assert not report.is_ok
    assert words[0].lower() in report.message.lower()
    Connection.objects.filter(pk=people.target.pk).update(config=good)
    people.sync.refresh_from_db()
    people.assert_all_delivered(people.run())


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://10.1.2.3", ("10.1.2.3", "RETL_ALLOWED_PRIVATE_NETWORKS")),
        ("http://[fd00::1]", ("fd00::1", "RETL_ALLOWED_PRIVATE_NETWORKS")),
        ("http://169.254.169.254/latest", ("169.254.169.254", "never a destination")),
    ],
)
def test_address_that_the_operator_does_not_allow_is_never_called(
    people: People, api: Api, admin_client: Client, address: str, words: tuple[str, ...]
):
    destination(base_url=address)(people)
    assert_run_fails(people, api, admin_client, words)


def test_secrets_under_another_key_fail_the_run_and_the_pages_still_open(
    people: People, api: Api, admin_client: Client, settings: Any
):
    run = people.request()
    settings.RETL = {**settings.RETL, "ENCRYPTION_KEYS": ["YW5vdGhlci1rZXktb2YtdGhlLXRlc3QtMzItYnl0ZXM="]}
    run = people.work(run)
    assert (run.status, run.pending_count, api.calls) == (RunStatus.FAILED, 0, 0)
    assert "RETL_ENCRYPTION_KEYS" in run.failure_message
    assert admin_client.get(reverse("admin:syncs_run_change", args=(run.pk,))).status_code == 200
    assert admin_client.get(reverse("admin:syncs_sync_changelist")).status_code == 200


# -- rows


def test_rows_without_a_key_are_set_aside_and_the_others_delivered(people: People, api: Api):
    people.sql("CREATE TABLE loose (id INTEGER, name TEXT)")
    people.sql("INSERT INTO loose SELECT id, name FROM people")
    people.sql("INSERT INTO loose VALUES (NULL, 'nobody'), (NULL, 'no one'), (5, 'name 5 again')")
    sync(query="SELECT id, name FROM loose")(people)
    run = people.run()
    assert (run.status, run.read_count, run.accepted_count, run.dead_lettered_count) == (RunStatus.PARTIAL, 33, 29, 4)
    assert api.held.keys() == set(range(1, 31)) - {5}
    found = DLQEntry.objects.all()
    assert {entry.error_type for entry in found} == {"invalid_key"}
    assert sorted(entry.error_code for entry in found) == ["doubled_key", "doubled_key", "null_key", "null_key"]
    assert {entry.source_values["name"] for entry in found} == {"nobody", "no one", "name 5", "name 5 again"}
    people.sql("DELETE FROM loose WHERE id IS NULL OR name = 'name 5 again'")
    after = people.run()
    assert (after.status, after.accepted_count) == (RunStatus.SUCCEEDED, 1)
    assert not DLQEntry.objects.live().exists()


def test_query_that_fails_in_the_middle_fails_the_run_with_balanced_counts_and_is_taken_up_again(tmp_path: Path, api: Api):
    people = People(tmp_path, api, 4000)
    broken = "SELECT id, CASE WHEN id = 3500 THEN json('{nope') ELSE name END AS name FROM people"
    sync(query=broken)(people)
    run = people.run()
    assert run.status == RunStatus.FAILED
    assert "malformed JSON" in run.failure_message
    assert 0 < run.accepted_count <= run.read_count < 4000
    assert run.pending_count == run.read_count - run.accepted_count
    assert not Step.objects.filter(status=StepStatus.INFLIGHT).exists()
    sync(query="SELECT id, name FROM people")(people)
    again = people.run()
    people.assert_all_delivered(again)
    assert again.unchanged_count == run.accepted_count
    assert all(not receipt.is_replay for receipt in api.receipts)


def test_mapping_error_that_is_to_fail_the_run_does_and_names_row_and_field(people: People, api: Api, admin_client: Client):
    people.sql("UPDATE people SET name = 'x' WHERE id = 3")
    line("name", type="integer")(people)
    sync(on_mapping_error="fail")(people)
    assert_run_fails(people, api, admin_client, ("Row 1", "name", "integer"))


# -- schedules


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"schedule_kind": "cron", "cron": "61 * * * *"}, "cron", ("15 6 * * 1-5",)),
        ({"schedule_kind": "cron", "cron": "every day"}, "cron", ("five fields",)),
        ({"schedule_kind": "cron", "cron": "0 6 31 2 *"}, "cron", ()),
        ({"timezone": "Berlin"}, "timezone", ("IANA", "Europe/Berlin")),
        ({"timezone": "UTC+2"}, "timezone", ("IANA",)),
    ],
)
def test_wrong_schedule_is_refused_at_save_and_stops_no_other_sync(
    people: People, admin_client: Client, values: dict[str, Any], field: str, words: tuple[str, ...]
):
    from django.utils import timezone

    sync(**values, next_run_at=timezone.now())(people)
    case = Case("schedule", lambda _: None, field, words)
    assert [issue.field for issue in sync_service.validate(people.sync)] == [field]
    assert_save_is_refused(admin_client, people.sync, case)
    schedules.start_due()
    assert admin_client.get(reverse("admin:syncs_sync_page", args=(people.sync.pk,))).status_code == 200
    assert admin_client.get(reverse("admin:syncs_sync_changelist")).status_code == 200


# -- a PostgreSQL warehouse


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("changes", "query", "words"),
    [
        ({}, "SELECT id, nme FROM people", ("nme",)),
        ({}, "SELECT FROM people", ("no columns",)),
        ({}, "SELECT id, id AS id, name FROM people", ("id", "AS")),
        ({}, "SELECT id, name FROM people; COMMIT; DROP TABLE people", ("one",)),
        ({}, "WITH gone AS (DELETE FROM people RETURNING id, name) SELECT * FROM gone", ("reads",)),
        ({}, "SELECT id, (1 / (id - 20))::text AS name FROM people", ("division",)),
        ({}, "SELECT id, pg_read_file('/etc/passwd') AS name FROM people", ("pg_read_file",)),
        ({"user": "nobody_here"}, "SELECT id, name FROM people", ("nobody_here",)),
        ({"database": "no_such_database"}, "SELECT id, name FROM people", ("no_such_database",)),
        ({"sslmode": "require"}, "SELECT id, name FROM people", ("SSL",)),
    ],
    ids=[
        "column",
        "no-column",
        "doubled",
        "two-statements",
        "writing-cte",
        "fails-on-rows",
        "reads-files",
        "user",
        "database",
        "tls",
    ],
)
def test_wrong_query_or_access_on_postgresql_fails_the_run_with_a_sentence(
    people: People, api: Api, admin_client: Client, postgres_url: str, changes: Any, query: str, words: tuple[str, ...]
):
    with psycopg.connect(postgres_url) as warehouse:
        warehouse.execute("CREATE TABLE people (id integer, name text)")
        warehouse.execute("INSERT INTO people SELECT n, 'name ' || n FROM generate_series(1, 30) AS n")
    Connection.objects.filter(pk=people.sync.source_id).update(
        role=ConnectionRole.SOURCE, kind="postgresql", config={**postgres_config(postgres_url), **changes}
    )
    sync(query=query)(people)
    assert_run_fails(people, api, admin_client, words)
    with psycopg.connect(postgres_url) as warehouse:
        row = warehouse.execute("SELECT count(*) FROM people").fetchone()
    assert row == (30,)
