"""Corrections of payloads through the API: tried, kept, sent, withdrawn; none is lost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import Permission

from dlq.choices import Door, EditState
from dlq.models import DLQEntry, PayloadEdit
from tests.api.kit import Caller, caller, person, said
from tests.api.test_entries import at
from tests.dlq.objects import make_entry, make_run
from tests.dlq.test_reveal import entry_with_everything, leaks
from tests.syncs.objects import make_sync

pytestmark = pytest.mark.django_db
OTHER_KEY = '{"id": 8, "plan": "x"}'


def corrected(entry: DLQEntry, **values: Any) -> str:
    return json.dumps({**json.loads(entry.payload), **values})


def plain_entry() -> DLQEntry:
    row = '{"id": 7, "plan": "gold"}'
    return make_entry(make_run(make_sync()), payload=row, source_row=row, field="plan")


def test_correction_is_kept_sent_and_never_lost() -> None:
    entry = plain_entry()
    client = caller("operator")
    etag = client.get(at(entry))["ETag"]
    body = {"payload": corrected(entry, plan="silver"), "reason": "VEND-1"}
    assert said(client.get(at(entry, "/correction")))[:2] == (404, "not_found")
    tried = client.post(at(entry, "/correction/check"), {"payload": body["payload"]}).json()
    assert tried["changes"] == [{"field": "plan", "kind": "changed", "before": '"gold"', "after": '"silver"'}]
    assert not PayloadEdit.objects.exists()
    assert said(client.put(at(entry, "/correction"), body))[:2] == (428, "precondition_required")
    kept = client.put(at(entry, "/correction"), body, headers={"If-Match": etag})
    assert kept.status_code == 200, kept.content
    assert kept.json()["changes"] == tried["changes"]
    other = {**body, "payload": corrected(entry, plan="bronze")}
    assert said(client.put(at(entry, "/correction"), other, headers={"If-Match": etag}))[:2] == (412, "precondition_failed")
    assert client.put(at(entry, "/correction"), other, headers={"If-Match": kept["ETag"]}).status_code == 200
    assert sorted(PayloadEdit.objects.values_list("state", flat=True)) == ["dropped", "ready"]
    sent = client.post(at(entry, "/correction/send"), {"reason": "VEND-1"})
    assert sent.status_code == 202, sent.content
    edit = PayloadEdit.objects.get(state=EditState.USED)
    assert (edit.used_run_id, edit.door) == (sent.json()["run_id"], Door.API)
    assert json.loads(edit.payload)["plan"] == "bronze"
    assert said(client.post(at(entry, "/correction/send"), {}))[:2] == (409, "refused")


def test_correction_is_withdrawn_by_its_etag() -> None:
    entry = plain_entry()
    client = caller("operator")
    etag = client.put(
        at(entry, "/correction"), {"payload": corrected(entry, plan="x"), "reason": "y"}, headers={"If-Match": "*"}
    )["ETag"]
    assert said(client.delete(at(entry, "/correction"), headers={"If-Match": '"other"'}))[:2] == (412, "precondition_failed")
    assert client.delete(f"{at(entry, '/correction')}?reason=wrong", headers={"If-Match": etag}).status_code == 204
    assert PayloadEdit.objects.get().state == EditState.DROPPED
    assert entry.events.get(reason="wrong").door == Door.API
    assert said(client.delete(at(entry, "/correction"), headers={"If-Match": "*"}))[:2] == (409, "refused")


@pytest.mark.parametrize(
    "payload",
    ["", "{", "[1]", '{"id": 7, "plan": "gold"}', OTHER_KEY, '{"id": 7, "id": 7}', '{"id": NaN}', 7, None, {}],
)
def test_correction_that_cannot_be_sent_is_refused_with_its_place(payload: Any) -> None:
    entry = plain_entry()
    client = caller("operator")
    if payload == OTHER_KEY:
        entry.sync.mappings.filter(destination_field="id").update(is_key=True)
    for method, tail, more in ((client.put, "/correction", {"reason": "x"}), (client.post, "/correction/check", {})):
        status, code, issues = said(method(at(entry, tail), {"payload": payload, **more}, headers={"If-Match": "*"}))
        assert (status, code, list(issues)) == (400, "invalid", ["payload"])
    assert not PayloadEdit.objects.exists()


def test_whoever_corrects_masked_values_may_see_them() -> None:
    entry = entry_with_everything()
    editor = person("viewer")
    editor.user_permissions.add(Permission.objects.get(codename="edit_dlqentry"))
    body = {"payload": corrected(entry, plan="x"), "reason": "y"}
    assert said(Caller(editor).put(at(entry, "/correction"), body, headers={"If-Match": "*"}))[:2] == (403, "forbidden")
    assert said(Caller(editor).post(at(entry, "/correction/check"), {"payload": body["payload"]}))[:2] == (403, "forbidden")
    kept = caller("operator").put(at(entry, "/correction"), body, headers={"If-Match": "*"})
    assert kept.status_code == 200
    assert leaks(kept.content.decode()) == []
