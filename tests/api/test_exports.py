"""Exports over the API: planned or asked for directly, masked unless somebody may and says why, downloaded by who asked."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

from dlq.choices import ExportStatus
from dlq.models import DLQEvent, Export
from dlq.services import exports
from syncs.models import AuditEvent, Team
from tests.api.kit import Caller, caller, said
from tests.dlq.objects import make_entries, make_entry, make_group, make_run
from tests.syncs.objects import make_sync

pytestmark = pytest.mark.django_db
PLACE = "/api/v1/exports"


@pytest.fixture(autouse=True)
def small(settings: Any, tmp_path: Path, db: None) -> None:
    settings.RETL = {**settings.RETL, "EXPORT_DIR": str(tmp_path / "exports"), "EXPORT_STREAM_ROWS": 5}


def entries(count: int) -> None:
    run = make_run(make_sync())
    make_entries(count, run, make_group(run.sync))


def ready(client: Caller, **values: Any) -> dict[str, Any]:
    """An export that a worker has written."""
    answer = client.post(PLACE, {"filter": {}, "format": "csv", **values})
    assert answer.status_code == 202, answer.content
    assert answer["Location"] == f"{PLACE}/{answer.json()['id']}"
    assert (answer.json()["status"], answer.json()["file"], answer.json()["sha256"]) == ("queued", None, None)
    assert exports.work(answer.json()["id"])
    found: dict[str, Any] = client.get(answer["Location"]).json()
    return found


def body(answer: Any) -> bytes:
    assert answer.status_code == 200, answer.content
    return b"".join(answer.streaming_content)


def test_export_is_written_by_a_worker_and_downloaded() -> None:
    entries(7)
    client = caller("support")
    made = ready(client, columns=["id", "row_key", "payload"], reason="for the vendor")
    assert (made["status"], made["is_over"], made["row_count"], made["columns"]) == (
        "ready",
        True,
        7,
        ["id", "row_key", "payload"],
    )
    assert (made["filter"], made["chosen_count"]) == ({"status": ["open"]}, None)
    answer = client.get(made["file"])
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["Content-Disposition"].startswith('attachment; filename="dead-letters-')
    assert answer["Cache-Control"] == "no-store"
    raw = body(answer)
    assert hashlib.sha256(raw).hexdigest() == made["sha256"]
    rows = list(csv.DictReader(io.StringIO(raw.decode())))
    assert len(rows) == 7
    assert "@example.test" not in raw.decode()
    assert set(DLQEvent.objects.values_list("kind", "door", "reason")) == {("exported", "api", "for the vendor")}


def test_plan_is_held_to_what_it_froze() -> None:
    entries(2)
    client = caller("support")
    plan = client.post(f"{PLACE}/plan", {"filter": {"status": ["open"]}}).json()
    assert (plan["count"], plan["is_large"], plan["most_at_once"]) == (2, False, 5)
    entries(3)
    answer = client.post(PLACE, {"confirm": plan["confirm"], "format": "jsonl"})
    assert answer.status_code == 202
    assert client.post(PLACE, {"confirm": plan["confirm"], "format": "jsonl"}).json()["id"] == answer.json()["id"]
    exports.work(answer.json()["id"])
    assert client.get(answer["Location"]).json()["row_count"] == 2
    assert said(caller("support").post(PLACE, {"confirm": plan["confirm"], "format": "csv"}))[2].keys() == {"confirm"}
    both = {"confirm": plan["confirm"], "filter": {}, "format": "csv"}
    assert said(client.post(PLACE, both))[2].keys() == {"filter"}


@pytest.mark.parametrize("format", ["csv", "json", "jsonl", "xlsx"])
def test_few_are_downloaded_at_once_and_many_are_not(format: str) -> None:
    entries(5)
    client = caller("support")
    answer = client.post(f"{PLACE}/download", {"filter": {}, "format": format, "columns": ["id", "payload"]})
    raw = body(answer)
    if format == "json":
        assert answer["Content-Type"] == "application/json"
        assert len(json.loads(raw)) == 5
    assert not Export.objects.exists()
    assert DLQEvent.objects.filter(kind="exported", door="api").count() == 5
    entries(1)
    assert said(client.post(f"{PLACE}/download", {"filter": {}, "format": format}))[:2] == (409, "refused")


def test_unmasked_values_need_right_scope_and_reason() -> None:
    entries(1)
    raw = {"filter": {}, "format": "csv", "is_raw": True}
    assert said(caller("support").post(PLACE, {**raw, "reason": "x"}))[:2] == (403, "forbidden")
    assert said(caller("operator", "read", "dlq:act").post(PLACE, {**raw, "reason": "x"}))[:2] == (403, "scope_missing")
    operator = caller("operator")
    assert said(operator.post(PLACE, raw))[2].keys() == {"reason"}
    made = ready(operator, is_raw=True, reason="REV-218")
    assert "@example.test" in body(operator.get(made["file"])).decode()
    assert operator.user
    reading = Caller(operator.user, "read")
    assert reading.get(f"{PLACE}/{made['id']}").json()["file"] is None
    assert said(reading.get(f"{PLACE}/{made['id']}/file"))[:2] == (403, "scope_missing")
    event = AuditEvent.objects.get(act="begun", target_type="export")
    assert (event.door, event.actor, event.detail["raw"], event.detail["reason"]) == ("api", operator.user, True, "REV-218")


def test_file_is_deleted_once_and_then_is_not_there() -> None:
    entries(1)
    client = caller("support")
    made = ready(client)
    assert client.delete(made["file"]).status_code == 204
    assert said(client.get(made["file"]))[:2] == (404, "not_found")
    assert said(client.delete(made["file"]))[:2] == (404, "not_found")
    assert client.get(f"{PLACE}/{made['id']}").json()["status"] == "expired"


def test_export_that_is_not_ready_has_no_file_and_can_be_cancelled() -> None:
    entries(1)
    client = caller("support")
    here = client.post(PLACE, {"filter": {}, "format": "csv"})["Location"]
    assert said(client.get(f"{here}/file"))[:2] == (409, "refused")
    assert said(client.delete(f"{here}/file"))[:2] == (409, "refused")
    assert client.post(f"{here}/cancel").json()["status"] == "cancelled"
    assert said(client.post(f"{here}/cancel"))[:2] == (409, "refused")
    assert said(client.get(f"{here}/file"))[:2] == (404, "not_found")
    events = AuditEvent.objects.filter(target_type="export").order_by("pk")
    assert list(events.values_list("act", "door")) == [("begun", "api"), ("cancelled", "api")]


def test_exports_are_their_makers_own() -> None:
    team = Team.objects.create(name="Sales")
    make_entry(make_run(make_sync(team=team)))
    entries(1)
    mine, other, boss = caller("operator"), caller("operator"), caller("admin")
    made = ready(mine)
    assert made["row_count"] == 1  # not the one of the other team
    for client in (other, caller("support")):
        assert client.get(PLACE).json()["data"] == []
        assert said(client.get(f"{PLACE}/{made['id']}"))[:2] == (404, "not_found")
        assert said(client.get(made["file"]))[:2] == (404, "not_found")
        assert said(client.post(f"{PLACE}/{made['id']}/cancel"))[:2] == (404, "not_found")
    assert body(boss.get(made["file"]))  # who may export unmasked, of every team
    assert said(other.post(PLACE, {"filter": {"sync": [team.syncs.get().pk]}, "format": "csv"}))[2].keys() == {"filter.sync"}


def test_list_is_filtered_and_takes_few_queries(django_assert_max_num_queries: Any) -> None:
    entries(1)
    client = caller("support")
    for _ in range(4):
        client.post(PLACE, {"filter": {}, "format": "csv"})
    Export.objects.filter(pk=Export.objects.latest("pk").pk).update(status=ExportStatus.FAILED)
    with django_assert_max_num_queries(10):
        assert len(client.get(PLACE).json()["data"]) == 4
    assert len(client.get(PLACE, {"status": "failed"}).json()["data"]) == 1
    assert len(client.get(f"{PLACE}?status=failed&status=queued&limit=2").json()["data"]) == 2
    assert said(client.get(PLACE, {"status": "lost"}))[2].keys() == {"status"}


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"format": "pdf"}, "format"),
        ({"columns": ["secret"]}, "columns[0]"),
        ({"is_raw": "yes"}, "is_raw"),
        ({"colour": 1}, "colour"),
    ],
)
def test_wish_that_cannot_be_met_is_refused_by_its_field(values: dict[str, Any], field: str) -> None:
    entries(1)
    answer = caller("operator").post(PLACE, {"filter": {}, "format": "csv", **values})
    assert [name.replace(".0", "[0]") for name in said(answer)[2]] == [field]
    assert said(caller("operator").post(PLACE, {"format": "csv"}))[2].keys() == {"filter"}
