"""The programs of docs/recipes.md, as they stand there, and the client that is made from the document."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.servers.basehttp import ServerHandler

from syncs.choices import RunStatus, Trigger
from syncs.models import Run, Tag
from syncs.services import syncs as sync_service
from syncs.services import triggering, worker
from tests.api.kit import key_of, person
from tests.factories import World

pytestmark = pytest.mark.django_db(transaction=True)
TEXT = (Path(settings.BASE_DIR) / "docs" / "recipes.md").read_text()
Play = Callable[[str], "str | int | None"]


@pytest.fixture(autouse=True)
def unkept(monkeypatch: pytest.MonkeyPatch) -> None:
    """One request for each connection: one that is kept would keep a thread of the server, and its way to the database."""
    real = ServerHandler.cleanup_headers

    def closing(handler: Any) -> None:
        handler.headers["Connection"] = "close"
        real(handler)

    monkeypatch.setattr(ServerHandler, "cleanup_headers", closing)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, [("1", "Ada", 36), ("2", "Bo", 40)])


@pytest.fixture
def play(world: World, live_server: Any, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Runs a recipe as a program of its own. While it waits, a worker works. Returns what it ended with."""
    monkeypatch.setattr(time, "sleep", lambda _seconds: worker.until_idle())
    monkeypatch.setenv("REDRIVE_URL", live_server.url)
    monkeypatch.setenv("REDRIVE_SYNC", str(world.sync.pk))
    monkeypatch.setenv("REDRIVE_KEY", key_of(person("operator")))

    def run(name: str) -> str | int | None:
        found = re.search(rf"^```python recipe={name}\n(.*?)^```$", TEXT, re.M | re.S)
        assert found is not None, name
        try:
            exec(compile(found[1], f"recipe {name}", "exec"), {"__name__": "__main__"})
        except SystemExit as end:
            return end.code
        return 0

    return run


# --- Airflow


def test_airflow_waits_for_the_end(play: Play, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "scheduled__2026-11-23")
    assert play("airflow") == 0
    run = Run.objects.get()
    assert (run.status, run.trigger, run.trigger_detail) == (RunStatus.SUCCEEDED, Trigger.API, "airflow scheduled__2026-11-23")
    assert f"Run {run.pk} succeeded: 2 read, 2 accepted, 0 refused" in capsys.readouterr().out
    assert play("airflow") == 0  # the task is tried again
    assert Run.objects.count() == 1


def test_airflow_fails_on_too_many_dead_letters(play: Play, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.sql("INSERT INTO people VALUES (NULL, 'nobody', 1)")
    assert "1 rows were refused, 0 are allowed" in str(play("airflow"))
    monkeypatch.setenv("REDRIVE_MOST_DEAD_LETTERS", "1")
    assert play("airflow") == 0


def test_airflow_fails_when_the_run_does(play: Play, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "scheduled__2026-11-23")
    world.sql("ALTER TABLE people RENAME TO gone")
    assert "failed:" in str(play("airflow"))
    world.sql("ALTER TABLE gone RENAME TO people")
    assert play("airflow") == 0  # the next try runs again
    assert Run.objects.count() == 2
    monkeypatch.delenv("AIRFLOW_CTX_DAG_RUN_ID")
    sync_service.pause(world.sync, by=person("operator"), reason="")
    assert str(play("airflow")).startswith("409: ")


# --- dbt


@pytest.fixture
def dbt(world: World, live_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """What ``dbt build`` leaves behind."""
    trigger, secret = triggering.add(world.sync, name="dbt", by=person("operator"), door="api")
    monkeypatch.setenv("REDRIVE_TRIGGER", live_server.url + triggering.address(trigger))
    monkeypatch.setenv("REDRIVE_TRIGGER_SECRET", secret)
    monkeypatch.setenv("DBT_TARGET_PATH", str(tmp_path))

    def built(*statuses: str) -> None:
        results = [{"unique_id": f"model.shop.m{number}", "status": status} for number, status in enumerate(statuses)]
        text = json.dumps({"metadata": {"invocation_id": "0a1b2c"}, "results": results})
        (tmp_path / "run_results.json").write_text(text)

    return built


def test_dbt_starts_the_sync_and_waits(play: Play, dbt: Callable[..., None], capsys: Any) -> None:
    dbt("success", "pass", "skipped")
    assert play("dbt") == 0
    run = Run.objects.get()
    assert (run.status, run.trigger, run.trigger_detail) == (RunStatus.SUCCEEDED, Trigger.WEBHOOK, "dbt: dbt build 0a1b2c")
    assert f"Run {run.pk} succeeded: 0 rows were refused" in capsys.readouterr().out
    assert play("dbt") == 0
    assert Run.objects.count() == 1


def test_dbt_needs_no_key_to_start(play: Play, dbt: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDRIVE_KEY")
    dbt("success")
    assert play("dbt") == 0
    assert Run.objects.get().status == RunStatus.QUEUED


def test_dbt_that_failed_starts_nothing(play: Play, dbt: Callable[..., None]) -> None:
    dbt("success", "error", "fail")
    assert "model.shop.m1, model.shop.m2" in str(play("dbt"))
    assert not Run.objects.exists()


# --- the client


@pytest.fixture(scope="module")
def module(tmp_path_factory: Any) -> Iterator[ModuleType]:
    """``redrive_client``, made from the document of this product."""
    path = tmp_path_factory.mktemp("client") / "redrive_client.py"
    call_command("api_client", output=path, verbosity=0)
    spec = importlib.util.spec_from_file_location("redrive_client", path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules["redrive_client"] = made
    spec.loader.exec_module(made)
    yield made
    del sys.modules["redrive_client"]


def test_client_does_what_the_page_shows(module: ModuleType, play: Play, capsys: Any) -> None:
    assert play("client") == 0
    run = Run.objects.get()
    assert (run.options, run.trigger) == ({"full": True}, Trigger.API)
    said = capsys.readouterr().out.splitlines()
    assert said == [f"{run.pk} queued", f"{run.pk} {run.sync.name}", "invalid name"]
    assert Tag.objects.get().name == "ledger"


def test_client_follows_pages_and_waits_at_the_limit(
    module: ModuleType, live_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Tag.objects.bulk_create(Tag(name=f"t{number}") for number in range(7))
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    client = module.Client(live_server.url, key_of(person("viewer")), attempts=2)
    assert [tag["name"] for tag in client.every(client.tags_list, limit=3)] == [f"t{number}" for number in range(7)]
    monkeypatch.setitem(settings.RETL, "API_REQUESTS_PER_MINUTE", 1)
    with pytest.raises(module.ApiError) as refused:
        [client.tags_list() for _ in range(3)]
    assert refused.value.status == 429
    assert len(waited) == 1
    assert 1 <= waited[0] <= 60


def test_client_says_who_is_not_let_in(module: ModuleType, live_server: Any) -> None:
    with pytest.raises(module.ApiError) as refused:
        module.Client(live_server.url, "rd_wrong").tags_list()
    assert (refused.value.status, refused.value.code) == (401, "unauthenticated")


def test_client_calls_a_trigger(module: ModuleType, world: World, live_server: Any) -> None:
    trigger, secret = triggering.add(world.sync, name="job", by=person("operator"), door="api")
    address = live_server.url + triggering.address(trigger)
    first = module.call_trigger(address, secret, {"full": True}, call_id="one")
    assert module.call_trigger(address, secret, call_id="one") == first == {"run_id": Run.objects.get().pk}
    with pytest.raises(module.ApiError):
        module.call_trigger(address, triggering.signatures.new_secret())
