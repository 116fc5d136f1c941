from __future__ import annotations

import threading
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from syncs.choices import RunStatus
from syncs.models import Run, Sync
from syncs.services import following, leases, worker
from tests.servers import Answer, Request, Server
from tests.syncs.objects import make_sync, queued
from tests.syncs.people import people_sync

REAL_WAIT = following.wait

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sync(tmp_path: Path, api: Server) -> Sync:
    return people_sync(tmp_path, api.url, count=5, name="People to CRM")


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else works here: take the run at once."""
    monkeypatch.setattr(following, "wait", lambda run: REAL_WAIT(run, patience=0))


def run_sync(*arguments: str) -> int:
    try:
        call_command("run_sync", *arguments)
    except SystemExit as error:
        return int(error.code or 0)
    return 0


# -- run_sync


def test_run_sync_queues_and_returns(sync: Sync, capsys: pytest.CaptureFixture[str]):
    assert run_sync("People to CRM") == 0
    run = Run.objects.get()
    assert (run.status, run.options, run.is_short) == (RunStatus.QUEUED, {}, False)
    assert capsys.readouterr().out == f"Run {run.pk} of “People to CRM” is queued.\n"


def test_run_sync_finds_the_name_in_any_case(sync: Sync):
    run_sync("people to crm")
    assert Run.objects.get().sync == sync


def test_run_sync_passes_its_options_on(sync: Sync):
    run_sync(sync.name, "--full", "--limit", "10")
    run_sync(sync.name, "--keys", "1, 2,,3")
    run_sync(sync.name, "--limit", "100000")
    assert [(run.options, run.is_short) for run in Run.objects.order_by("id")] == [
        ({"full": True, "limit": 10}, True),
        ({"keys": ["1", "2", "3"]}, True),
        ({"limit": 100000}, False),
    ]


def test_run_sync_wait_executes_and_prints_the_outcome(sync: Sync, api: Server, capsys: pytest.CaptureFixture[str]):
    assert run_sync(sync.name, "--wait") == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert "succeeded in" in line
    assert "5 read, 5 accepted, 0 unchanged, 0 skipped, 0 dead-lettered" in line
    assert len(api.requests) == 5
    assert run_sync(sync.name, "--wait") == 0
    assert "5 unchanged" in capsys.readouterr().out
    assert len(api.requests) == 5


def test_run_sync_wait_of_keys_sends_only_those(sync: Sync, api: Server):
    assert run_sync(sync.name, "--wait", "--keys", "2,4") == 0
    assert sorted(request.json()["id"] for request in api.requests) == ["2", "4"]


def test_run_sync_wait_ends_with_1_when_partial(sync: Sync, api: Server, capsys: pytest.CaptureFixture[str]):
    def picky(request: Request) -> Answer:
        return Answer.json({"message": "no"}, status=422 if request.json()["id"] == "3" else 200)

    api.handler = picky
    assert run_sync(sync.name, "--wait") == 1
    assert "4 accepted, 0 unchanged, 0 skipped, 1 dead-lettered" in capsys.readouterr().out


def test_run_sync_wait_ends_with_2_when_failed(sync: Sync, capsys: pytest.CaptureFixture[str]):
    Sync.objects.update(query="select nonsense from people")
    assert run_sync(sync.name, "--wait") == 2
    line = capsys.readouterr().out.splitlines()[-1]
    assert "failed" in line
    assert "nonsense" in line


def test_run_sync_wait_follows_the_run_of_another_worker(sync: Sync, api: Server, monkeypatch: pytest.MonkeyPatch):
    claimed_by: list[str] = []

    def elsewhere() -> None:
        try:
            worker.until_idle()
            claimed_by.append("elsewhere")
        finally:
            connection.close()

    other = threading.Thread(target=elsewhere)

    def patient(run: Run) -> Run:
        other.start()
        return REAL_WAIT(run, patience=60)

    monkeypatch.setattr(following, "wait", patient)
    assert run_sync(sync.name, "--wait") == 0
    other.join()
    assert claimed_by == ["elsewhere"]
    assert Run.objects.get().accepted_count == len(api.requests) == 5


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("Peple to CRM",), "Did you mean “People to CRM”?"),
        (("People to CRM", "--keys", " , "), "--keys names no row key"),
        (("People to CRM", "--limit", "0"), "must be at least 1"),
        (("People to CRM", "--limit", "many"), "invalid"),
    ],
)
def test_run_sync_refuses_bad_input_with_a_sentence(sync: Sync, arguments: tuple[str, ...], words: str):
    with pytest.raises(CommandError) as caught:
        call_command("run_sync", *arguments)
    assert words in str(caught.value)
    assert Run.objects.count() == 0


def test_run_sync_without_any_sync_says_so():
    with pytest.raises(CommandError, match="There is no sync yet"):
        call_command("run_sync", "anything")


def test_run_sync_of_a_paused_sync_says_what_to_do(sync: Sync):
    Sync.objects.update(is_paused=True)
    with pytest.raises(CommandError, match="Resume it") as caught:
        call_command("run_sync", sync.name)
    assert caught.value.returncode == 2


# -- retl_worker --once


def test_once_executes_what_is_queued_and_due(tmp_path: Path, api: Server, capsys: pytest.CaptureFixture[str]):
    from django.utils import timezone

    first = people_sync(tmp_path, api.url, count=2)
    due = make_sync(
        source=first.source,
        destination=first.destination,
        schedule_kind="interval",
        interval_minutes=5,
        next_run_at=timezone.now(),
    )
    queued(first)
    queued(first, options={"full": True})
    call_command("retl_worker", "--once")
    assert "3 runs executed, nothing is left to do" in capsys.readouterr().out
    assert set(Run.objects.values_list("status", flat=True)) == {RunStatus.SUCCEEDED}
    assert Run.objects.get(sync=due).trigger == "schedule"


def test_once_stops_at_a_drain_and_leaves_the_rest(tmp_path: Path, api: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(leases, "DRAIN", threading.Event())
    monkeypatch.setattr(worker, "DRAIN", leases.DRAIN)
    leases.DRAIN.set()
    queued(people_sync(tmp_path, api.url, count=2))
    call_command("retl_worker", "--once")
    assert Run.objects.get().status == RunStatus.QUEUED


@pytest.mark.parametrize("option", ["--tick-seconds", "--canary-seconds", "--canary-limit", "--drain-seconds"])
def test_worker_refuses_a_pause_of_nothing(option: str):
    with pytest.raises(CommandError, match="more than 0"):
        call_command("retl_worker", option, "0")
