"""Steps, calls and the log of a run through the API: whole, once, and without values of people."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from dlq.models import DLQEvent
from syncs.choices import Trigger
from syncs.models import Run, Step, Sync, Team
from syncs.services import runs
from tests import seeds
from tests.api.kit import Caller, caller, said
from tests.factories import World

pytestmark = pytest.mark.django_db


@pytest.fixture
def run() -> Run:
    made = seeds.run(seeds.sync(*seeds.connections()), "partial", refused=4)
    seeds.steps(made, 5)
    return made


@pytest.fixture
def live() -> Run:
    return seeds.run(seeds.sync(*seeds.connections()), "running", read=10)


def step(run: Run, number: int, status: str = "inflight", **values: Any) -> Step:
    now = timezone.now()
    return Step.objects.create(
        run=run, number=number, **{"kind": "upload", "status": status, "started_at": now, "row_count": 10, **values}
    )


def end(one: Step, **values: Any) -> None:
    at = timezone.now()
    Step.objects.filter(pk=one.pk).update(**{"status": "succeeded", "finished_at": at, "accepted_count": 10, **values})


def call(number: int, **values: Any) -> dict[str, Any]:
    return {
        "number": number, "started_at": timezone.now().isoformat(), "milliseconds": 5.0, "row_count": 10, "http_status": 200,
        "request_id": "", "idempotency_key": "k", "signal": "ok", "request": "", "excerpt": "", "message": "",
        "wait_seconds": None, **values,
    }  # fmt: skip


def get(client: Caller, run: Run, part: str, **query: Any) -> dict[str, Any]:
    answer = client.get(f"/api/v1/runs/{run.pk}/{part}", query)
    assert answer.status_code == 200, answer.content
    body: dict[str, Any] = answer.json()
    return body


class Follower:
    def __init__(self, run: Run, limit: int = 50) -> None:
        self.run, self.client, self.limit = run, caller("viewer"), limit
        self.cursor: dict[str, str] = {}
        self.is_over = False

    def ids(self) -> list[str]:
        """The lines that came since."""
        body = get(self.client, self.run, "log", limit=self.limit, **self.cursor)
        following = body["meta"]["page"]["next"]
        self.is_over = following is None
        self.cursor = {"cursor": following} if following else {}
        return [line["id"] for line in body["data"]]

    def all(self) -> Iterator[str]:
        while not self.is_over:
            yield from self.ids()


# --- steps


def test_steps_are_paged_and_filtered(run: Run) -> None:
    client = caller("viewer")
    first = get(client, run, "steps", limit=3)
    assert [one["number"] for one in first["data"]] == [1, 2, 3]
    rest = get(client, run, "steps", limit=9, cursor=first["meta"]["page"]["next"])
    assert [one["number"] for one in rest["data"]] == [4, 5, 6, 7]
    bad = get(client, run, "steps", has_refused="true")["data"]
    assert [(one["number"], one["attempt_count"], one["http_status"], one["status"]) for one in bad] == [(4, 2, 422, "partial")]
    assert [one["number"] for one in get(client, run, "steps", kind=["query", "finish"])["data"]] == [1, 7]
    assert said(client.get(f"/api/v1/runs/{run.pk}/steps", {"kind": "sleep"}))[2].keys() == {"kind"}


def test_step_tells_its_calls(run: Run) -> None:
    client = caller("viewer")
    body = get(client, run, "steps/4")
    assert [(one["number"], one["http_status"], one["wait_seconds"]) for one in body["attempts"]] == [
        (1, 429, 2.5),
        (2, 422, None),
    ]
    assert body["attempts"][1]["request_id"] == "req-422-2"
    assert "INVALID_PHONE" in body["attempts"][1]["excerpt"]
    for number in ("8", "99999999999999999", "0", "x"):
        assert said(client.get(f"/api/v1/runs/{run.pk}/steps/{number}"))[:2] == (404, "not_found")


def test_answers_are_masked(run: Run) -> None:
    cut = '{"email": "ana@example.com", "first_name": "Cana'
    calls = [
        call(1, row_count=2, excerpt='{"email": "ana@example.com", "first_name": "Canary", "code": "BAD"}'),
        call(2, row_count=2, excerpt=cut),
        call(3, row_count=1, excerpt="ana@example.com is taken", message="ana@example.com is taken"),
    ]
    Step.objects.filter(run=run, number=4).update(attempts=calls, message="ana@example.com is taken")
    client = caller("admin")
    found = [str(get(client, run, part)) for part in ("steps", "steps/4", "log")]
    assert all("ana@example.com" not in text and "Cana" not in text for text in found)
    assert "BAD" in found[1]


def test_page_of_the_console_hides_the_same(run: Run, admin_client: Client) -> None:
    calls = [call(1, row_count=1, excerpt="ana@example.com is taken", message="ana@example.com is taken")]
    Step.objects.filter(run=run, number=4).update(attempts=calls, message="ana@example.com is taken")
    summary = [{"type": "validation", "code": "BAD", "field": "phone", "message": "Phone '+49 170 1' is not valid", "count": 3}]
    Run.objects.update(error_summary=summary, failure_message="ana@example.com was refused")
    page = admin_client.get(f"/admin/syncs/run/{run.pk}/change/").content.decode()
    assert "is taken" in page
    assert "is not valid" in page
    assert "ana@example.com" not in page
    assert "170" not in page


# --- the log


def test_log_of_a_run_that_ended_is_whole(run: Run) -> None:
    body = get(caller("viewer"), run, "log")
    assert body["meta"]["page"]["next"] is None
    ids = [line["id"] for line in body["data"]]
    assert ids[:3] == ["queued", "started", "1"]
    assert ids[-2:] == ["7.end", "ended"]
    assert len(set(ids)) == len(ids) == 2 + 7 * 2 + 6 + 1
    times = [line["at"] for line in body["data"]]
    assert times == sorted(times)
    lines = {line["id"]: line for line in body["data"]}
    assert lines["4.1"]["level"] == "warning"
    assert "HTTP 429, rate limited" in lines["4.1"]["message"]
    assert "Waits 2.5 s" in lines["4.1"]["message"]
    assert lines["4.end"]["message"].startswith("Partial. 96 of 100 rows accepted, 4 dead-lettered. 4 rows refused")
    assert "4 dead-lettered" in lines["ended"]["message"]


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 7, 23, 500])
def test_log_is_the_same_in_pages_of_any_size(run: Run, limit: int) -> None:
    whole = [line["id"] for line in get(caller("viewer"), run, "log")["data"]]
    told = list(Follower(run, limit).all())
    assert sorted(told) == sorted(whole)
    assert len(set(told)) == len(told)


def test_follower_misses_nothing_whatever_the_order_of_the_steps(live: Run) -> None:
    follower = Follower(live)
    assert follower.ids() == ["queued", "started"]
    first, third = step(live, 1), step(live, 3)
    assert follower.ids() == ["1", "3"]
    assert follower.ids() == []
    second = step(live, 2)  # written after a later one
    end(third, attempts=[call(1)])
    Step.objects.filter(pk=first.pk).update(attempts=[call(1, http_status=503, signal="outage", wait_seconds=2)])
    assert sorted(follower.ids()) == ["1.1", "2", "3.1", "3.end"]
    end(second)
    end(first, attempts=[call(1), call(2), call(2)])  # two halves that went out together
    assert sorted(follower.ids()) == ["1.2", "1.2.2", "1.end", "2.end"]
    assert not follower.is_over
    Run.objects.filter(pk=live.pk).update(cancel_requested_at=timezone.now())
    assert follower.ids() == ["cancel"]
    step(live, 4, message="It goes out again.")
    Run.objects.filter(pk=live.pk).update(
        status="cancelled", finished_at=timezone.now(), lease_until=None, pending_count=0, read_count=10, accepted_count=10,
        unchanged_count=0,
    )  # fmt: skip
    assert follower.ids() == ["4", "4.end", "ended"]
    assert follower.is_over


def test_follower_is_told_when_to_look_again(live: Run) -> None:
    client = caller("viewer")
    Run.objects.filter(pk=live.pk).update(started_at=timezone.now() - timedelta(minutes=2))
    answer = client.get(f"/api/v1/runs/{live.pk}/log")
    assert 10 <= int(answer["Retry-After"]) <= 14
    cursor = answer.json()["meta"]["page"]["next"]
    other = seeds.run(live.sync, "succeeded")
    assert said(client.get(f"/api/v1/runs/{other.pk}/log", {"cursor": cursor}))[2].keys() == {"cursor"}
    assert said(client.get(f"/api/v1/runs/{live.pk}/log", {"after": "1"}))[2].keys() == {"after"}


def test_wait_is_one_line_and_a_run_without_steps_has_its_end(run: Run) -> None:
    Step.objects.filter(run=run).delete()
    step(run, 1, "succeeded", kind="wait", message="The request limit is used up. Waiting 30 s.")
    lines = get(caller("viewer"), run, "log")["data"]
    assert [(line["id"], line["event"]) for line in lines][2:] == [("1", "waiting"), ("ended", "ended")]
    Step.objects.all().delete()
    assert list(Follower(run, 1).all()) == ["queued", "started", "ended"]


@pytest.mark.django_db(transaction=True)
def test_log_of_a_real_run(tmp_path: Path) -> None:
    world = World(tmp_path, [(1, "Ana", 30), (2, "Bo", 31)])
    asked = runs.request(sync=world.sync, trigger=Trigger.API)
    follower = Follower(asked)
    assert follower.ids() == ["queued"]
    world.work(asked)
    told = list(follower.all())
    assert told[0] == "started"
    assert told[-1] == "ended"
    assert {"1", "1.end"} <= set(told)
    client = caller("viewer")
    assert "2 accepted" in get(client, asked, "log", limit=500)["data"][-1]["message"]


def test_lists_take_few_queries_however_many_steps(run: Run, django_assert_max_num_queries: Any) -> None:
    client = caller("viewer")
    seeds.steps(seeds.run(run.sync), 60)
    for part in ("steps", "log"):
        get(client, run, part)
        with django_assert_max_num_queries(10):
            get(client, run, part)


def test_steps_of_another_team_are_not_there(run: Run) -> None:
    Sync.objects.update(team=Team.objects.create(name="Ours"))
    client = caller("operator")
    for part in ("steps", "steps/1", "log"):
        assert said(client.get(f"/api/v1/runs/{run.pk}/{part}"))[:2] == (404, "not_found")


# --- evidence


def opened(answer: Any) -> dict[str, bytes]:
    assert answer.status_code == 200, answer.content
    with zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content))) as book:
        return {one.filename: book.read(one) for one in book.infolist()}


def test_evidence_is_the_masked_bundle_of_the_console(run: Run) -> None:
    seeds.entries(run, 3)
    Step.objects.filter(run=run, number=4).update(message="ana@example.com is taken")
    client = caller("support")
    answer = client.post(f"/api/v1/runs/{run.pk}/evidence", {"reason": "VENDOR-17"})
    assert answer["Content-Type"] == "application/zip"
    assert f"evidence-run-{run.pk}" in answer["Content-Disposition"]
    files = opened(answer)
    assert set(files) == {"dead_letters.jsonl", "steps.jsonl", "attempts.jsonl", "summary.html", "manifest.json"}
    assert len(files["dead_letters.jsonl"].splitlines()) == 3
    assert b"ana@example.com" not in b"".join(files.values())
    assert DLQEvent.objects.filter(kind="exported", door="api", reason="VENDOR-17").count() == 3
    only = opened(client.post(f"/api/v1/runs/{run.pk}/evidence", {"step": 4}))
    assert len(only["steps.jsonl"].splitlines()) == 1


def test_evidence_of_what_is_not_there_is_refused(run: Run) -> None:
    client = caller("support")
    address = f"/api/v1/runs/{run.pk}/evidence"
    assert said(client.post(address, {"step": 99}))[2].keys() == {"step"}
    assert said(client.post(address, {"step": "4"}))[2].keys() == {"step"}
    assert said(client.post(address, {"reason": "x" * 300}))[2].keys() == {"reason"}
    assert said(client.post("/api/v1/runs/99999/evidence", {}))[:2] == (404, "not_found")
    assert said(caller("viewer").post(address, {}))[:2] == (403, "forbidden")
    assert said(caller("support", "read").post(address, {}))[:2] == (403, "scope_missing")
