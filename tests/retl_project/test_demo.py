from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command

from retl_project.demo import journey, play, processes, setup, warehouse
from retl_project.demo.processes import Children, NotStartedError
from syncs.engine.mapping import MappingField, validate_mapping
from syncs.models import Connection, FieldMapping, Run, Sync
from syncs.services import connections, following
from tests import postgres
from tests.retl_project.crm import sandbox_crm

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "http://127.0.0.1:8055"


@pytest.fixture
def folder(tmp_path: Path, settings: Any) -> Path:
    """Where the demo keeps its files during one test."""
    settings.VAR_DIR = tmp_path
    return tmp_path / "demo"


# --- the warehouse


@pytest.fixture(scope="module")
def warehouse_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("warehouse") / "warehouse.sqlite3"
    assert warehouse.ensure_file(path) > 28_000
    return path


def test_warehouse_keeps_the_gaps_and_odd_characters_of_the_data(warehouse_file: Path):
    with sqlite3.connect(warehouse_file) as db:
        found = dict(db.execute("SELECT code, name FROM airports WHERE code IN ('SPGP', 'BIBD', 'PAAQ')").fetchall())
        gaps = db.execute("SELECT count(*) FROM airports WHERE city IS NULL AND subdivision IS NULL").fetchone()[0]
        empty = db.execute("SELECT count(*) FROM airports WHERE '' IN (iata, city, subdivision, local_code)").fetchone()[0]
    db.close()
    assert found == {
        "SPGP": "Gueppi\u00ad Airport",
        "BIBD": "Bíldudalur Airport",
        "PAAQ": 'Warren "Bud" Woods Palmer Municipal Airport',
    }
    assert gaps > 100
    assert empty == 0


def test_warehouse_file_that_exists_keeps_what_people_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(warehouse, "airport_rows", _few)
    path = tmp_path / "w.sqlite3"
    assert warehouse.ensure_file(path) == 50
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM airports WHERE code > '00FA'")
        left = db.execute("SELECT count(*) FROM airports").fetchone()[0]
    db.close()
    assert warehouse.ensure_file(path) == left < 50
    assert [item.name for item in tmp_path.iterdir()] == ["w.sqlite3"]


_all_rows = warehouse.airport_rows


def _few(limit: int | None = None) -> list[dict[str, Any]]:
    return _all_rows(50)


def test_half_built_warehouse_is_not_taken_for_a_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(rows: object) -> list[dict[str, Any]]:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(warehouse, "airport_rows", _few)
    with monkeypatch.context() as broken:
        broken.setattr(warehouse, "country_rows", fail)
        with pytest.raises(RuntimeError):
            warehouse.ensure_file(tmp_path / "w.sqlite3")
    assert not (tmp_path / "w.sqlite3").exists()
    assert warehouse.ensure_file(tmp_path / "w.sqlite3") == 50


@pytest.mark.postgres
def test_warehouse_in_postgresql_holds_the_same_rows(postgres_url: str):
    assert warehouse.load(postgres_url.replace("postgresql://", "postgresql+psycopg://"), limit=500) == 500
    with psycopg.connect(postgres_url) as db:
        found = db.execute(
            "SELECT code, latitude::text, is_commercial, updated_at FROM airports ORDER BY code LIMIT 1"
        ).fetchone()
        countries = db.execute("SELECT count(*), sum(airport_count) FROM countries").fetchone()
    assert found == ("00AA", "38.704022", False, warehouse.released_at())
    assert countries is not None
    assert countries[1] == 500


def test_region_of_a_country_is_where_most_of_its_airports_are():
    rows = [{"country": "FR", "timezone": zone} for zone in ("America/Cayenne", "Europe/Paris", "Europe/Paris")]
    (found,) = warehouse.country_rows(rows)
    assert (found["name"], found["region"], found["airport_count"]) == ("France", "Europe", 3)


# --- the set-up


def everything() -> dict[str, list[dict[str, Any]]]:
    """All rows of the console's own tables, and its users."""
    models = [*apps.get_app_config("syncs").get_models(), get_user_model()]
    return {model.__name__: list(model._default_manager.order_by("pk").values()) for model in models}


@pytest.mark.django_db
def test_setup_twice_changes_nothing(folder: Path):
    first = setup.prepare(crm_address=ADDRESS)
    before = everything()
    second = setup.prepare(crm_address=ADDRESS)
    assert everything() == before
    assert second.logins == first.logins
    assert len(before["Sync"]) == len(before["Connection"]) == 2


@pytest.mark.django_db
def test_setup_keeps_edits_and_follows_the_crms_address(folder: Path):
    demo = setup.prepare(crm_address=ADDRESS)
    FieldMapping.objects.filter(sync=demo.airports, destination_field="security_zone").delete()
    Sync.objects.filter(pk=demo.countries.pk).update(interval_minutes=5)
    Connection.objects.filter(name=setup.CRM).update(description="mine")
    setup.prepare(crm_address="http://127.0.0.1:9999")
    assert not FieldMapping.objects.filter(sync=demo.airports, destination_field="security_zone").exists()
    assert Sync.objects.get(pk=demo.countries.pk).interval_minutes == 5
    crm = Connection.objects.get(name=setup.CRM)
    assert (crm.description, crm.config["base_url"], setup.crm_port()) == ("mine", "http://127.0.0.1:9999", 9999)


@pytest.mark.django_db
def test_setup_makes_connections_that_are_valid(folder: Path):
    setup.prepare(crm_address=ADDRESS)
    assert {item.name: connections.validate(item) for item in Connection.objects.all()} == {setup.WAREHOUSE: [], setup.CRM: []}


@pytest.mark.django_db
def test_demo_leaves_out_what_somebody_paused_or_archived_and_says_so(folder: Path):
    demo = setup.prepare(crm_address=ADDRESS)
    Sync.objects.filter(pk=demo.countries.pk).update(is_paused=True)
    Sync.objects.filter(pk=demo.airports.pk).update(is_archived=True)
    said: list[str] = []
    outcome, problem = play._journey(demo, said.append)
    assert outcome is None
    assert "is paused. Resume it" in problem
    assert "is archived" in problem
    assert [line for line in said if "left out" in line and demo.countries.name in line]
    assert not Run.objects.exists()


@pytest.mark.django_db
def test_setup_schedules_both_syncs_hourly(folder: Path):
    setup.prepare(crm_address=ADDRESS)
    slots = Sync.objects.values_list("interval_minutes", "next_run_at")
    assert [minutes for minutes, _ in slots] == [60, 60]
    assert all(slot is not None for _, slot in slots)


@pytest.mark.django_db
def test_password_is_told_until_its_user_changes_it(folder: Path):
    first = setup.prepare(crm_address=ADDRESS)
    assert sorted(first.logins) == ["admin", "support"]
    assert first.admin.check_password(first.logins["admin"])
    assert len(set(first.logins.values())) == 2
    assert stat.S_IMODE((folder / "logins.json").stat().st_mode) == 0o600
    first.admin.set_password("another one")
    first.admin.save(update_fields=["password"])
    assert setup.prepare(crm_address=ADDRESS).logins == {"support": first.logins["support"]}


@pytest.mark.django_db
def test_support_user_works_dead_letters_off_and_edits_no_setup(folder: Path):
    setup.prepare(crm_address=ADDRESS)
    support = get_user_model().objects.get(username="support")
    allowed = ("syncs.view_sync", "syncs.pause_sync", "dlq.view_dlqentry", "dlq.reprocess_dlqentry", "dlq.discard_dlqentry")
    assert [name for name in allowed if not support.has_perm(name)] == []
    refused = (
        "syncs.run_sync",
        "syncs.change_sync",
        "syncs.change_connection",
        "syncs.delete_sync",
        "auth.change_user",
        "dlq.delete_dlqentry",
    )
    assert [name for name in refused if support.has_perm(name)] == []
    assert support.is_staff
    assert not support.is_superuser


@pytest.mark.parametrize("table", ["airports", "countries"])
def test_mapping_fits_the_warehouse(table: str):
    mapping = {"airports": setup.AIRPORT_MAPPING, "countries": setup.COUNTRY_MAPPING}[table]
    columns = [column.name for column in warehouse.metadata.tables[table].columns]
    assert validate_mapping([MappingField.from_snapshot(field) for field in mapping], columns) == []


# --- the command


def test_demo_outside_debug_is_refused(settings: Any):
    settings.DEBUG = False
    with pytest.raises(CommandError, match="runs only with DEBUG=1"):
        call_command("demo", "--once")


def test_json_without_once_is_refused(settings: Any):
    settings.DEBUG = True
    with pytest.raises(CommandError, match="goes with --once"):
        call_command("demo", "--json", stdout=StringIO())


def test_report_names_every_count():
    found = journey.Outcome(
        run_id=7,
        status="partial",
        read=1200,
        accepted=1100,
        unchanged=50,
        skipped=20,
        dead_lettered=30,
        pending=0,
        by_error_type={"validation": 20, "mapping": 10},
        seconds=2.0,
    )
    text = journey.report(Sync(name="A"), found)
    counts = {name.strip(): number for name, number in re.findall(r"^ +(.+?) {2,}([\d,]+)$", text, re.M)}
    assert counts == {
        "read": "1,200",
        "accepted": "1,100",
        "unchanged": "50",
        "skipped": "20",
        "dead-lettered": "30",
        "Validation": "20",
        "Mapping": "10",
    }
    assert "run 7 partial in 2.0 s   (600 rows/s)" in text


# --- the processes


def test_taken_port_gives_the_next_one():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert processes.free_port(port) > port
        with pytest.raises(NotStartedError, match="PORT=9000"):
            processes.free_port(port, tries=1)


def test_crm_that_runs_already_is_used(tmp_path: Path):
    state = tmp_path / "crm.sqlite3"
    with sandbox_crm(state=state) as crm, Children() as children:
        port = int(crm.address.rpartition(":")[2])
        assert processes.start_crm(children, state=state, preferred_port=port) == crm.address


def test_crm_of_another_demo_is_left_alone(tmp_path: Path):
    with sandbox_crm(state=tmp_path / "theirs.sqlite3") as crm, Children() as children:
        port = int(crm.address.rpartition(":")[2])
        address = processes.start_crm(children, state=tmp_path / "ours.sqlite3", preferred_port=port)
        assert address != crm.address
        assert processes.health(address) == {"status": "ok", "state": str(tmp_path / "ours.sqlite3"), "pid": pid_of(address)}


def pid_of(address: str) -> int:
    pid: int = requests.get(f"{address}/health", timeout=5).json()["pid"]
    return pid


def test_children_are_ended_even_when_they_will_not():
    stubborn = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    children = Children()
    child = children.start("stubborn", [sys.executable, "-c", stubborn], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    children.stop(seconds=0.1)
    assert child.returncode == -signal.SIGKILL


# --- the journey, as a person starts it


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A new console: its own folder and its own database, of the kind this suite runs on."""
    name = f"demo_{uuid.uuid4().hex[:10]}"
    values = {**os.environ, "REDRIVE_VAR": str(tmp_path / "var"), "PYTHONUNBUFFERED": "1"}
    if os.environ.get("DATABASE_URL"):
        values["DATABASE_URL"] = postgres.create_database(name)
    yield values
    if os.environ.get("DATABASE_URL"):
        postgres.drop_database(name)


def demo(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", "demo", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400, check=False)


def outcome_of(environment: dict[str, str]) -> dict[str, Any]:
    ended = demo(environment, "--once", "--json")
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stdout.strip().splitlines()) == 1
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


@pytest.mark.timeout(900)
def test_demo_twice_delivers_once_and_then_sends_nothing(environment: dict[str, str], tmp_path: Path):
    first = outcome_of(environment)
    assert first["read"] == first["accepted"] + first["dead_lettered"] > 28_000
    assert (first["unchanged"], first["skipped"], first["pending"], first["status"]) == (0, 0, 0, "partial")
    assert 0.01 < first["dead_lettered"] / first["read"] < 0.05
    assert sum(first["by_error_type"].values()) == first["dead_lettered"]
    assert set(first["by_error_type"]) == {
        "mapping",
        "missing_required",
        "field_permission",
        "duplicate_key",
        "validation",
        "reference_not_found",
    }
    state = tmp_path / "var" / "demo" / "crm.sqlite3"
    with sandbox_crm(state=state) as crm:
        held, receipts = crm.records("airports"), crm.receipts()
    assert len(held) == first["accepted"]
    assert held["EDDB"]["address"]["country"] == "DE"
    assert_one_key_per_receipt(receipts)

    second = outcome_of(environment)
    assert second["read"] == first["read"] == second["unchanged"] + second["skipped"]
    assert (second["accepted"], second["dead_lettered"], second["by_error_type"]) == (0, 0, {})
    assert (second["unchanged"], second["skipped"]) == (first["accepted"], first["dead_lettered"])
    with sandbox_crm(state=state) as crm:
        assert crm.receipts() == receipts


def assert_one_key_per_receipt(receipts: list[dict[str, Any]]) -> None:
    """No row was accepted under two idempotency keys."""
    keys: dict[tuple[str, str], set[str]] = {}
    for receipt in receipts:
        keys.setdefault((receipt["object"], receipt["key"]), set()).add(receipt["idempotency_key"])
    assert {len(found) for found in keys.values()} == {1}
    assert all("" not in found for found in keys.values())


@pytest.mark.timeout(900)
def test_interrupt_stops_everything_that_was_started(environment: dict[str, str], tmp_path: Path):
    (tmp_path / "var" / "demo").mkdir(parents=True)
    warehouse.load(f"sqlite:///{tmp_path}/var/demo/warehouse.sqlite3", limit=200)  # a small one: the journey is tested above
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "manage.py", "demo", "--port", str(port)]
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as running:
            said = read_until(running, "Ctrl-C")
            console, crm = re.findall(r"http://127\.0\.0\.1:\d+", said)[-2:]
            assert f"Port {port} is taken" in said
            assert requests.get(f"{console}/livez", timeout=10).text == "ok\n"
            passwords = dict(re.findall(r"user +(\w+) +password (\S+)", said))
            assert sorted(passwords) == ["admin", "support"]
            assert log_in(console, "support", passwords["support"])
            running.send_signal(signal.SIGINT)
            assert running.wait(90) == 0
    for address in (console, crm):
        with pytest.raises(requests.ConnectionError):
            requests.get(address, timeout=5)


def read_until(running: subprocess.Popen[str], word: str) -> str:
    said = ""
    assert running.stdout is not None
    for line in running.stdout:
        said += line
        if word in line:
            return said
    raise AssertionError(said)


def log_in(console: str, name: str, password: str) -> bool:
    with requests.Session() as session:
        page = session.get(f"{console}/admin/login/", timeout=30)
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token
        form = {"username": name, "password": password, "csrfmiddlewaretoken": token[1], "next": "/admin/"}
        answer = session.post(f"{console}/admin/login/", data=form, allow_redirects=False, timeout=30)
        return answer.status_code == 302 and session.get(f"{console}/admin/", timeout=30).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_run_that_a_worker_took_is_waited_for(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Another process claims first: the demo does not run it twice, and reports its end."""
    demo = setup.prepare(crm_address=ADDRESS)

    def nothing_to_claim(**_: object) -> None:
        ended = {"status": "succeeded", "started_at": demo.airports.created_at, "finished_at": demo.airports.created_at}
        Run.objects.filter(sync=demo.airports).update(**ended, read_count=3, unchanged_count=3)

    monkeypatch.setattr(following.runs, "claim", nothing_to_claim)
    found = journey.run_sync(demo.airports, by=demo.admin)
    assert (found.status, found.read, found.unchanged, found.seconds) == ("succeeded", 3, 3, 0.0)
