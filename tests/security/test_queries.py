"""What someone who may only edit syncs can make a warehouse or a template do: read one SELECT, and nothing else."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from django.test import Client

from syncs.engine.templates import compile_template
from syncs.engine.values import CoercionError
from syncs.models import Sync
from tests import seeds
from tests.security import walk
from tests.syncs.admin_forms import errors, posted
from tests.syncs.objects import make_connection
from tests.syncs.sources_support import postgres_config

SQLITE = (
    "DELETE FROM contacts",
    "SELECT 1 AS id; DROP TABLE contacts",
    "SELECT 1 AS id; COMMIT; CREATE TABLE stolen (a)",
    "SELECT 1 AS id) ; DELETE FROM contacts; --",
    "SELECT id FROM (SELECT 1 AS id) q; PRAGMA query_only = 0; DELETE FROM contacts",
    "PRAGMA writable_schema = 1",
    "ATTACH DATABASE '{folder}/attached.sqlite3' AS other",
    "VACUUM INTO '{folder}/attached.sqlite3'",
    "SELECT load_extension('{folder}/evil.so') AS id",
    "WITH gone AS (DELETE FROM contacts RETURNING id) SELECT id FROM gone",
    "INSERT INTO contacts (id) VALUES (999) RETURNING id",
)
POSTGRESQL = (
    "DELETE FROM contacts RETURNING id",
    "select 1 as id; commit; create table t()",
    "SELECT 1 AS id) q; COMMIT; DELETE FROM contacts; SELECT * FROM (SELECT 1 AS id",
    "WITH gone AS (DELETE FROM contacts RETURNING id) SELECT id FROM gone",
    "SELECT id INTO stolen FROM contacts",
    "SELECT set_config('transaction_read_only', 'off', false) AS id; DELETE FROM contacts",
    "COPY contacts TO PROGRAM 'touch /tmp/redrive-was-here'",
)

# A plan of it does nothing, so the form lets it pass; the read-only transaction does not.
WRITES_WHEN_READ = "SELECT nextval('numbers') AS id, '' AS name, '' AS email, '' AS city"


@pytest.fixture
def world(tmp_path: Path) -> SimpleNamespace:
    return walk.world(tmp_path)


@pytest.fixture
def editor(world: SimpleNamespace) -> Client:
    client = Client()
    client.force_login(seeds.user("eda", "syncs.view_sync", "syncs.change_sync"))
    return client


def at_every_door(client: Client, sync: Sync, query: str) -> None:
    """Refused by the form with a sentence; and where it got into the database all the same, by the preview."""
    address = f"/admin/syncs/sync/{sync.pk}/change/"
    data = posted(client.get(address))
    answer = client.post(address, {**data, "query": query})
    assert answer.status_code == 200, query
    assert "query:" in errors(answer), query
    at_the_preview(client, sync, query)


def at_the_preview(client: Client, sync: Sync, query: str) -> None:
    Sync.objects.filter(pk=sync.pk).update(query=query)
    answer = client.get(f"/admin/syncs/sync/{sync.pk}/preview/")
    assert answer.status_code == 200, query
    assert "problem" in answer.context, query


@pytest.mark.django_db
@pytest.mark.parametrize("query", SQLITE)
def test_sqlite_warehouse_is_only_read(world: SimpleNamespace, editor: Client, query: str):
    before = contents(world.folder / "warehouse.sqlite3")
    at_every_door(editor, world.sync, query.replace("{folder}", str(world.folder)))
    assert contents(world.folder / "warehouse.sqlite3") == before
    assert sorted(path.name for path in world.folder.iterdir() if "attached" in path.name) == []


def contents(path: Path) -> list[Any]:
    with sqlite3.connect(path) as warehouse:
        found = [*warehouse.execute("SELECT * FROM sqlite_master"), *warehouse.execute("SELECT * FROM contacts")]
    warehouse.close()
    return found


@pytest.mark.django_db
@pytest.mark.postgres
def test_postgresql_warehouse_is_only_read(world: SimpleNamespace, editor: Client, postgres_url: str):
    with psycopg.connect(postgres_url) as warehouse:
        warehouse.execute("CREATE TABLE contacts (id int PRIMARY KEY, name text, email text, city text)")
        warehouse.execute("INSERT INTO contacts SELECT n, 'x', 'y', 'z' FROM generate_series(1, 5) n")
        warehouse.execute("CREATE SEQUENCE numbers")
    source = make_connection(kind="postgresql", config=postgres_config(postgres_url))
    Sync.objects.filter(pk=world.sync.pk).update(source=source)
    for query in POSTGRESQL:
        at_every_door(editor, world.sync, query)
        Sync.objects.filter(pk=world.sync.pk).update(query="SELECT id, name, email, city FROM contacts")
    at_the_preview(editor, world.sync, WRITES_WHEN_READ)
    with psycopg.connect(postgres_url) as warehouse:
        names = "SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        assert warehouse.execute(names).fetchone() == ("contacts,contacts_pkey,numbers",)
        assert warehouse.execute("SELECT count(*) FROM contacts").fetchone() == (5,)
        assert warehouse.execute("SELECT is_called FROM numbers").fetchone() == (False,)
    assert not Path("/tmp/redrive-was-here").exists()


# -- templates

NEVER_REACHED = (
    "{{ name.__class__.__mro__ }}",
    "{{ name['__class__'] }}",
    "{{ items.__init__.__globals__ }}",
    "{{ name | map: '__class__' }}",
    "{{ items | map: '__class__' }}",
    "{% include '/etc/passwd' %}",
    "{% render '/etc/passwd' %}",
    "{{ settings.SECRET_KEY }}",
    "{{ name | attr: '__class__' }}",
    "{{ name.format.__globals__ }}",
    "{{ name | date: '%99999999d' }}",
)
ENDLESS = (
    "{% for a in (1..1000000000) %}x{% endfor %}",
    "{% for a in (1..999) %}{% for b in (1..999) %}{% for c in (1..999) %}x{% endfor %}{% endfor %}{% endfor %}",
    "{% assign s = 'xxxxxxxxxx' %}" + "{% assign s = s | append: s %}" * 40 + "{{ s }}",
    "{% assign s = 'x' %}" + "{% assign s = s | replace: 'x', 'xxxxxxxxxxxxxxxxxxxx' %}" * 20 + "{{ s }}",
    "{% assign n = 9 %}" + "{% assign n = n | times: n %}" * 40 + "{{ n }}",
    "{% capture s %}{% for a in (1..999) %}{{ name }}{{ name }}{% endfor %}{% endcapture %}" + "{{ s }}" * 300,
    "{{ (1..999999999) | join: ',' }}",
    "{{ 'x' | truncate: 10, name }}" * 300,
    "{% if " + "(" * 500 + "true" + ")" * 500 + " %}x{% endif %}",
)


def rendered(template: str) -> str:
    """Its text, or nothing where it was refused in words."""
    try:
        return compile_template(template, ["name", "items"])(("Ana", ["a", {"b": 1}])) or ""
    except (ValueError, CoercionError):
        return ""


@pytest.mark.parametrize("template", NEVER_REACHED)
def test_template_sees_values_and_nothing_behind_them(template: str):
    text = rendered(template)
    assert not any(word in text for word in ("class", "object", "root:", "builtin", "local-only", "function"))


@pytest.mark.parametrize("template", ENDLESS)
def test_template_without_an_end_is_stopped(template: str):
    began = time.process_time()
    text = rendered(template)
    assert time.process_time() - began < 3
    assert len(text) <= 100_000
