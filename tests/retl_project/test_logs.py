"""Lines of the log: ids of the run and the sync, nothing secret, no value of a row, one line per message."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import IntegrityError
from django.test import override_settings

from retl_project import logs
from syncs import log_context
from syncs.models import Run
from syncs.services import runs, worker
from tests.factories import World

TOKEN = "metrics-token-that-nobody-may-read"


@pytest.fixture(autouse=True)
def own_secrets() -> Iterator[None]:
    logs._redactor.cache_clear()
    with override_settings(RETL={**settings.RETL, "METRICS_TOKENS": (TOKEN,)}):
        yield
    logs._redactor.cache_clear()


def record(message: str, *args: Any, error: BaseException | None = None, **extra: Any) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error else None
    made = logging.LogRecord("syncs.services.worker", logging.ERROR, "worker.py", 1, message, args, info)
    made.__dict__.update(extra)
    return made


def as_json(made: logging.LogRecord) -> dict[str, Any]:
    line = logs.JsonLines().format(made)
    assert "\n" not in line
    read: dict[str, Any] = json.loads(line)
    return read


def as_line(made: logging.LogRecord) -> str:
    return logs.LineFormatter("{levelname} {name}: {message}", style="{").format(made)


def raised(message: str) -> BaseException:
    try:
        raise IntegrityError(message)
    except IntegrityError as error:
        return error


def test_json_line_names_the_run_and_the_sync():
    with log_context.working_on(run_id=17, sync_id=3):
        read = as_json(record("Run %s stopped.", 17, status_code=500, request=object(), payload={"name": "Ana"}))
    assert read.pop("time").endswith("+00:00")
    assert read.pop("process")
    assert read == {
        "level": "ERROR",
        "logger": "syncs.services.worker",
        "message": "Run 17 stopped.",
        "run_id": 17,
        "sync_id": 3,
        "status_code": 500,
    }
    assert "run_id" not in as_json(record("later"))


def test_line_names_the_run_and_stays_one_line():
    with log_context.working_on(run_id=17):
        assert as_line(record("a\nERROR root: forged")) == "ERROR syncs.services.worker: a\\nERROR root: forged [run_id=17]"


@pytest.mark.parametrize("secret", [TOKEN, settings.SECRET_KEY, settings.RETL["ENCRYPTION_KEYS"][0], "Bearer abc123def456"])
def test_secret_is_in_no_line(secret: str):
    error = raised(f"refused: {secret}")
    made = record("The call said %s.", f"Authorization: {secret}", error=error)
    kept = json.dumps(as_json(made)) + as_line(made)
    assert secret.removeprefix("Bearer ") not in kept
    assert "IntegrityError: refused: " in kept


@pytest.mark.parametrize(
    "quoted",
    [
        "duplicate key value\nDETAIL:  Key (email)=(ana@example.com) already exists.",
        "new row violates check\nDETAIL:  Failing row contains (1, Ana\nana@example.com).\nHINT:  none",
        'bad copy\nCONTEXT:  COPY people, line 1: "ana@example.com"',
        "(sqlite3.Error) no\n[SQL: INSERT INTO t VALUES (?)]\n[parameters: ('ana@example.com', 1)]",
    ],
)
def test_value_that_a_database_quotes_is_left_out(quoted: str):
    made = record("It failed: %s", quoted, error=raised(quoted))
    read = as_json(made)
    assert "ana@example.com" not in json.dumps(read) + as_line(made)
    assert "left out, it may hold values" in read["exception"]
    assert read["exception"].startswith("Traceback")


def test_trace_that_another_handler_kept_is_redacted_all_the_same():
    made = record("It failed.", error=raised(f"token {TOKEN}"))
    logging.Formatter().format(made)
    assert made.exc_text
    assert TOKEN in made.exc_text
    assert TOKEN not in as_line(made)
    logging.Formatter().format(made)
    assert TOKEN not in json.dumps(as_json(made))


def test_thread_takes_over_what_it_works_for():
    seen: list[Any] = []
    with log_context.working_on(run_id=1), log_context.working_on(sync_id=2):
        known = log_context.about()
        thread = threading.Thread(target=lambda: (log_context.take_over(known), seen.append(log_context.about())))
        thread.start()
        thread.join()
    assert seen == [{"run_id": 1, "sync_id": 2}]
    assert log_context.about() == {}


@pytest.mark.django_db(transaction=True)
def test_every_thread_of_a_run_logs_its_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The lines are asked for where the work is done: in the reading, the sending and the recording thread."""
    world = World(tmp_path, [(1, "Ann", 30)])
    seen: dict[str, Any] = {}

    def spy(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            seen[name] = (threading.current_thread().name.split("_")[0], dict(log_context.about()))
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, wrapped)

    from syncs.services.execution import _Execution
    from syncs.services.leases import LeaseKeeper
    from syncs.services.recorder import DatabaseRecorder

    spy(type(world.destination), "write")
    spy(DatabaseRecorder, "commit")
    spy(_Execution, "go")
    spy(LeaseKeeper, "_look")
    run = runs.request(sync=world.sync, trigger=Run._meta.get_field("trigger").default)
    claim = runs.claim(run_id=run.pk, worker="test")
    assert claim
    worker.execute(claim)
    ids = {"run_id": run.pk, "sync_id": world.sync.pk}
    assert seen.pop("_look")[1] == ids
    assert seen == {"write": ("send", ids), "commit": ("record", ids), "go": ("MainThread", ids)}


def started(log_format: str, code: str = "") -> str:
    """What a new process writes to standard error."""
    done = subprocess.run(
        [sys.executable, "-c", f"import django; django.setup()\n{code}"],
        cwd=settings.BASE_DIR,
        env={**os.environ, "LOG_FORMAT": log_format, "DJANGO_SETTINGS_MODULE": "retl_project.settings"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stderr


def test_unknown_format_is_refused_by_name():
    assert "LOG_FORMAT is “xml”. It can be line (for people) or json" in started("xml")


def test_every_line_of_django_is_one_json_object():
    lines = started("json", "import logging\nfor name in ('request', 'server'): logging.getLogger(f'django.{name}').error('x')")
    assert [json.loads(line)["logger"] for line in lines.splitlines()] == ["django.request", "django.server"]
