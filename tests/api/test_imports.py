"""Corrections by a file over the API: looked at, kept together, refused by line and column; values of people stay masked."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from dlq.models import DLQEntry, DLQEvent, PayloadEdit
from syncs.models import Team
from tests.api.kit import Caller, caller, said
from tests.dlq.objects import make_entry, make_run
from tests.syncs.objects import make_sync

pytestmark = pytest.mark.django_db
PLACE = "/api/v1/imports"


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Path, db: None) -> Path:
    settings.RETL = {**settings.RETL, "EXPORT_DIR": str(tmp_path / "exports")}
    return tmp_path / "exports"


def entry(**values: Any) -> DLQEntry:
    payload = {"id": 7, "email": "jane@example.com", "city": "Kolen"}
    return make_entry(make_run(make_sync()), payload=json.dumps(payload), source_row="{}", **values)


def corrected(one: DLQEntry, **changes: Any) -> dict[str, str]:
    return {"id": str(one.pk), "payload": json.dumps(json.loads(one.payload) | changes)}


def table(*rows: dict[str, str]) -> str:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def post(client: Caller, body: str | bytes, kind: str = "text/csv", **headers: str) -> Any:
    return client.generic("POST", PLACE, body, content_type=kind, headers=headers)


def test_file_is_looked_at_then_kept(folder: Path) -> None:
    one, same = entry(), entry()
    client = caller("operator")
    answer = post(client, table(corrected(one, city="Köln"), corrected(same), {"id": "x", "payload": "{}"}))
    assert answer.status_code == 200, answer.content
    look = answer.json()
    assert (look["correction_count"], look["unchanged_count"], look["refused_count"]) == (1, 1, 1)
    assert look["corrections"] == [
        {
            "line": 2, "entry_id": one.pk, "row_key": one.row_key, "sync_id": one.sync_id,
            "changes": [{"field": "city", "before": '"Kolen"', "after": '"Köln"'}],
        }
    ]  # fmt: skip
    assert (look["refused"][0]["line"], look["refused"][0]["field"]) == (4, "id")
    assert not PayloadEdit.objects.exists()
    assert said(client.post(f"{PLACE}/keep", {"confirm": look["confirm"]}))[2].keys() == {"reason"}
    kept = client.post(f"{PLACE}/keep", {"confirm": look["confirm"], "reason": "REV-218"})
    assert kept.json() == {"kept_count": 1, "entry_ids": [one.pk]}
    edit = PayloadEdit.objects.get()
    assert (edit.entry, json.loads(edit.payload)["city"], edit.door, edit.created_by) == (one, "Köln", "api", client.user)
    event = DLQEvent.objects.get(kind="edited")
    assert (event.door, event.reason) == ("api", "REV-218")
    assert said(client.post(f"{PLACE}/keep", {"confirm": look["confirm"], "reason": "x"}))[2].keys() == {"confirm"}
    assert list(folder.iterdir()) == []


def test_corrections_are_sent_by_an_operation() -> None:
    one = entry()
    client = caller("operator")
    look = post(client, table(corrected(one, city="Köln"))).json()
    ids = client.post(f"{PLACE}/keep", {"confirm": look["confirm"], "reason": "x"}).json()["entry_ids"]
    plan = client.post("/api/v1/operations/plan", {"kind": "reprocess", "ids": ids, "look": False}).json()
    assert {"mode": "edited", "count": 1, "needs_acknowledgement": False} in plan["modes"]
    answer = client.post("/api/v1/operations", {"confirm": plan["confirm"], "mode": "edited"})
    assert (answer.status_code, answer.json()["mode"]) == (202, "edited")


def test_values_of_people_are_masked_whoever_asks() -> None:
    one = entry()
    look = post(caller("admin"), table(corrected(one, email="john@example.com"))).json()
    change = look["corrections"][0]["changes"][0]
    assert change["field"] == "email"
    assert "jane" not in change["before"]
    assert change["after"] == '"john@example.com"'


def test_workbook_is_read_too() -> None:
    one = entry()
    book = openpyxl.Workbook()
    assert book.active is not None
    for row in (["id", "payload"], list(corrected(one, city="Köln").values())):
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    assert post(caller("operator"), out.getvalue(), kind).json()["correction_count"] == 1


def test_what_changed_since_the_look_is_not_kept() -> None:
    one = entry()
    client = caller("operator")
    look = post(client, table(corrected(one, city="Köln"))).json()
    DLQEntry.objects.filter(pk=one.pk).update(status="queued")
    assert said(client.post(f"{PLACE}/keep", {"confirm": look["confirm"], "reason": "x"}))[:2] == (409, "refused")
    assert not PayloadEdit.objects.exists()


@pytest.mark.parametrize(
    "body", ["", "name\nx\n", "id\n1\n", "id,payload,payload.a\n", b"\xff\xfei\0d\0", b"PK\x03\x04nothing"]
)
def test_file_that_cannot_be_taken_is_refused(body: str | bytes) -> None:
    status, code, issues = said(post(caller("operator"), body))
    assert (status, code, set(issues)) == (400, "invalid", {"file"})


def test_body_of_another_kind_or_size_is_refused() -> None:
    client = caller("operator")
    assert said(post(client, '{"id": 1}', "application/json"))[:2] == (415, "unsupported_media_type")
    assert said(post(client, "x", "multipart/form-data"))[:2] == (415, "unsupported_media_type")
    assert said(post(client, "x" * 10_000_001))[:2] == (413, "too_large")
    answer = client.generic("POST", f"{PLACE}/keep", "id\n1\n", content_type="text/csv")
    assert said(answer)[:2] == (415, "unsupported_media_type")


def test_same_file_sent_again_is_looked_at_once() -> None:
    one = entry()
    client = caller("operator")
    first = post(client, table(corrected(one, city="Köln")), **{"Idempotency-Key": "abc"})
    again = post(client, table(corrected(one, city="Köln")), **{"Idempotency-Key": "abc"})
    assert again.json() == first.json()
    assert again["Idempotency-Replayed"] == "true"
    other = post(client, table(corrected(one, city="Bonn")), **{"Idempotency-Key": "abc"})
    assert said(other)[:2] == (422, "idempotency_key_reused")


def test_needs_the_right_and_both_scopes_and_stays_within_the_teams() -> None:
    theirs = make_entry(make_run(make_sync(team=Team.objects.create(name="Sales"))), payload='{"city": "Kolen"}')
    raw = table(corrected(theirs, city="Köln"))
    assert said(post(caller("support"), raw))[:2] == (403, "forbidden")
    assert said(post(caller("operator", "dlq:act"), raw))[:2] == (403, "scope_missing")
    assert said(post(caller("operator", "dlq:raw"), raw))[:2] == (403, "scope_missing")
    look = post(caller("operator"), raw).json()
    assert (look["correction_count"], look["confirm"], look["refused"][0]["field"]) == (0, None, "id")
    mine = post(caller("operator"), table(corrected(entry(), city="Köln"))).json()
    answer = caller("operator").post(f"{PLACE}/keep", {"confirm": mine["confirm"], "reason": "x"})
    assert said(answer)[2].keys() == {"confirm"}
