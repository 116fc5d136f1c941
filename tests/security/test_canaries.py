"""Planted secrets, real failures, and a search through everything that stays or is shown: none of them may turn up."""

from __future__ import annotations

import base64
import io
import json
import logging
import sqlite3
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

import pytest
from django.conf import settings
from django.db import connection as database
from django.test import Client
from django.urls import reverse

from dlq.models import DLQEntry
from dlq.services import export
from dlq.services.export import ExportFormat
from syncs.choices import Trigger
from syncs.models import Connection, FieldMapping, Run, Sync
from syncs.services import runs, worker
from tests import seeds
from tests.faults.api import POSITION
from tests.servers import Answer, Request, Server
from tests.syncs.objects import make_connection

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once("sqlite")]

# Plain words on purpose: nothing about them looks like a token, so only knowing that they are secret can mask them.
TOKEN, PASSWORD, URL_PASSWORD, API_KEY = "canary bearer alba", "canary+basic/bruno", "canary-url carla", "canary&key=dora"
OAUTH_SECRET, REDIRECT_TOKEN = "canary oauth emil", "canaryRedirect7Zq9Lx2Vb5Nm8Kd3Hs6Tp1Wc"
CANARIES = (TOKEN, PASSWORD, URL_PASSWORD, API_KEY, OAUTH_SECRET, REDIRECT_TOKEN)


def forms(secret: str) -> set[str]:
    """How a secret may look after it went through an address, JSON, a header."""
    encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
    return {
        secret,
        quote(secret, safe=""),
        quote_plus(secret),
        quote(secret),
        json.dumps(secret)[1:-1],
        encoded,
        secret.replace("&", "&amp;"),
    }


def needles() -> set[str]:
    own = {settings.SECRET_KEY, *settings.RETL["ENCRYPTION_KEYS"]}
    return {form for secret in CANARIES for form in forms(secret)} | own


def leaks(where: str, text: str) -> list[str]:
    return [f"{where}: {needle} in …{text[max(0, text.find(needle) - 80) :][:200]}…" for needle in needles() if needle in text]


def database_texts() -> Iterator[tuple[str, str]]:
    """Every column of every table of the application's database."""
    with database.cursor() as cursor:
        for table in database.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {database.ops.quote_name(table)}")
            names = [column[0] for column in cursor.description]
            for row in cursor.fetchall():
                yield from ((f"{table}.{name}", str(value)) for name, value in zip(names, row, strict=True))


class Echo:
    """An API that gives back whatever it was sent, in the ways that careless ones do."""

    def __init__(self) -> None:
        self.way = "echo_500"
        self.server = Server(self.answer)

    def answer(self, request: Request) -> Answer:
        said = {"headers": request.headers, "query": request.query, "body": request.body.decode("utf-8", "replace")}
        match self.way:
            case "echo_500":
                return Answer.json({"error": {"code": f"E {request.headers}", "message": f"failed for {said}"}}, 500)
            case "unauthorized":
                why = f"invalid credentials {request.headers.get('authorization')} {request.query}"
                return Answer.json({"error": {"message": why}}, 401, headers={"WWW-Authenticate": f'Basic realm="{why}"'})
            case "redirect":
                place = f"http://127.0.0.1:9/next?access_token={REDIRECT_TOKEN}&api_key={quote(API_KEY)}"
                return Answer.json({"see": place}, 307, headers={"Location": place})
            case "accepted":
                return Answer.json({"results": [{"ok": True} for _ in request.json()["records"]], "echo": said})
        error = {
            "code": f"BAD {request.headers.get('authorization')}",
            "field": str(request.query)[:200],
            "message": f"no: {said}",
        }
        return Answer.json({"results": [{"ok": False, "error": error} for _ in request.json()["records"]]}, 207)


WAYS = ("echo_500", "unauthorized", "redirect", "refused", "accepted")
AUTHS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "bearer": ({"kind": "bearer"}, {"token": TOKEN}),
    "basic": ({"kind": "basic", "username": "someone"}, {"password": PASSWORD}),
    "query": ({"kind": "api_key", "place": "query", "name": "key"}, {"api_key": API_KEY}),
    "oauth2": ({"kind": "oauth2_client_credentials"}, {"client_secret": OAUTH_SECRET, "client_id": "us"}),
}


@pytest.fixture
def echo() -> Iterator[Echo]:
    echo = Echo()
    with echo.server:
        yield echo


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("django.db.backends").setLevel(logging.INFO)  # debug SQL holds what is written, ciphertext included
    return caplog


def target(url: str, auth: str) -> Connection:
    how, secrets = AUTHS[auth]
    if auth == "oauth2":
        how = {**how, "token_url": f"{url}/token"}
    call = {
        "path": "/people",
        "per_call": "batch",
        "body": {"list_at": "records"},
        "locator": POSITION,
        "error": {"code": "error.code", "message": "error.message"},
        "idempotency": {"kind": "header"},
    }
    config = {
        "base_url": url,
        "auth": how,
        "check": {"path": "/me"},
        "limits": {"deadline_seconds": 5},
        "objects": {"people": {"operations": {"upsert": call}}},
    }
    return make_connection("destination", name=f"API {auth}", config=config, secrets=secrets)


def people(folder: Path, source: Connection | None, destination: Connection) -> Sync:
    path = folder / "warehouse.sqlite3"
    if not path.exists():
        with sqlite3.connect(path) as warehouse:
            warehouse.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT)")
            warehouse.executemany("INSERT INTO people VALUES (?, ?)", [(n, f"name {n}") for n in range(1, 4)])
        warehouse.close()
    sync = Sync.objects.create(
        name=f"people to {destination.name} {Sync.objects.count()}",
        source=source or make_connection(config={"path": str(path)}),
        query="SELECT id, name FROM people",
        key_columns="id",
        destination=destination,
        destination_object="people",
        max_attempts=1,
        retry_budget_seconds=1,
    )
    FieldMapping.objects.create(sync=sync, destination_field="id", column="id", type="integer", is_key=True)
    FieldMapping.objects.create(sync=sync, destination_field="name", column="name", position=1)
    return sync


def run(sync: Sync) -> Run:
    run = runs.request(sync=sync, trigger=Trigger.MANUAL)
    claim = runs.claim(run_id=run.pk, worker="test")
    assert claim is not None
    worker.execute(claim)
    run.refresh_from_db()
    return run


def seen_by_an_admin(client: Client) -> Iterator[tuple[str, str]]:
    """The pages on which a failure may show, after the buttons that may cause one were pressed."""
    lists = ("syncs/connection/", "syncs/sync/", "syncs/run/", "dlq/dlqentry/?status=any", "dlq/errorgroup/")
    addresses = ["/admin/", *(f"/admin/{one}" for one in lists)]
    for connection in Connection.objects.all():
        page = reverse("admin:syncs_connection_change", args=(connection.pk,))
        tested = client.post(f"/admin/syncs/connection/{connection.pk}/test/", follow=True)
        yield f"test of {connection}", tested.content.decode()
        addresses += [page, page.replace("change", "history"), page.replace("change", "delete")]
    for sync in Sync.objects.all():
        addresses += [f"/admin/syncs/sync/{sync.pk}/{end}" for end in ("", "preview/", "change/", "versions/1/")]
    addresses += [reverse("admin:syncs_run_change", args=(run.pk,)) for run in Run.objects.all()]
    for entry in DLQEntry.objects.all():
        addresses.append(reverse("admin:dlq_dlqentry_change", args=(entry.pk,)))
        addresses += [reverse("admin:dlq_dlqentry_text", args=(entry.pk, part)) for part in ("payload", "row", "response")]
    for address in addresses:
        answer = client.get(address)
        assert answer.status_code == 200, address
        yield address, answer.content.decode()


def exported(form: ExportFormat) -> str:
    """Every text of the file, unmasked; a workbook is taken out of its archive."""
    file = io.BytesIO()
    export.write(file, DLQEntry.objects.order_by("pk"), export.Plan(form, export.all_columns(), is_raw=True))
    if form != ExportFormat.XLSX:
        return file.getvalue().decode()
    with zipfile.ZipFile(file) as book:
        return "".join(book.read(name).decode() for name in book.namelist())


def assert_nothing_leaked(said: pytest.LogCaptureFixture) -> None:
    client = Client()
    client.force_login(seeds.user("root", is_superuser=True))
    found = [leak for where, text in seen_by_an_admin(client) for leak in leaks(where, text)]
    for form in ExportFormat:
        found += leaks(f"export {form}", exported(form))
    found += [leak for where, text in database_texts() for leak in leaks(where, text)]
    formatter = logging.Formatter()
    found += [leak for record in said.records for leak in leaks(f"log {record.name}", formatter.format(record))]
    assert found == []


@pytest.mark.parametrize("auth", AUTHS)
def test_api_that_echoes_what_it_is_sent_leaks_nothing(
    tmp_path: Path, echo: Echo, said: pytest.LogCaptureFixture, auth: str, capfd: pytest.CaptureFixture[str]
):
    sync = people(tmp_path, None, target(echo.server.url, auth))
    ended = set()
    for way in WAYS:
        echo.way = way
        ended.add(run(sync).status)
    if auth != "oauth2":  # its token request fails before any row is sent
        assert DLQEntry.objects.exists()
        assert len(ended) > 1
    sent = str([(r.headers, r.query, r.body) for r in echo.server.requests])
    secret = next(iter(AUTHS[auth][1].values()))
    assert any(form in sent for form in {*forms(secret), base64.b64encode(f"someone:{secret}".encode()).decode()})
    assert_nothing_leaked(said)
    assert leaks("output", "".join(capfd.readouterr())) == []


def test_host_that_does_not_answer_leaks_nothing(tmp_path: Path, said: pytest.LogCaptureFixture):
    for auth in ("bearer", "query"):
        assert run(people(tmp_path, None, target("http://127.0.0.1:9", auth))).status == "failed"
    assert_nothing_leaked(said)


@pytest.mark.parametrize("kind", ["postgresql", "sqlalchemy"])
def test_warehouse_that_refuses_the_password_leaks_nothing(tmp_path: Path, said: pytest.LogCaptureFixture, kind: str):
    config: dict[str, Any] = {"host": "127.0.0.1", "port": 9, "database": "dw", "user": "us"}
    secrets = {"password": URL_PASSWORD}
    if kind == "sqlalchemy":
        config = {"url": "postgresql+psycopg://us@127.0.0.1:9/dw"}
    source = make_connection(name="Warehouse", kind=kind, config=config, secrets=secrets)
    assert run(people(tmp_path, source, target("http://127.0.0.1:9", "bearer"))).status == "failed"
    assert_nothing_leaked(said)


@pytest.mark.postgres
def test_real_postgresql_that_refuses_the_login_leaks_nothing(
    tmp_path: Path, said: pytest.LogCaptureFixture, postgres_url: str
):
    place = urlsplit(postgres_url)
    config = {"host": place.hostname, "port": place.port, "database": place.path[1:], "user": "nobody_here"}
    source = make_connection(name="Warehouse", kind="postgresql", config=config, secrets={"password": URL_PASSWORD})
    assert run(people(tmp_path, source, target("http://127.0.0.1:9", "bearer"))).status == "failed"
    assert_nothing_leaked(said)
