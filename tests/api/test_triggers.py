"""Triggers: called by who holds the secret, and by nobody else."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from syncs import signatures
from syncs.choices import RunStatus, Trigger
from syncs.models import AuditEvent, Run, Sync, SyncTrigger, Team, TriggerCall
from syncs.services import syncs as sync_service
from syncs.services import triggering
from tests.api.kit import Caller, caller, person, said
from tests.factories import World

pytestmark = pytest.mark.django_db
GENERIC = (401, "unauthenticated")


@pytest.fixture
def sync(tmp_path: Path) -> Sync:
    return World(tmp_path, [("1", "Ada", 36)]).sync


@pytest.fixture
def trigger(sync: Sync) -> tuple[SyncTrigger, str]:
    return triggering.add(sync, name="dbt build", by=person("operator"), door="api")


def call(
    trigger: SyncTrigger | str,
    secret: str,
    body: Any = None,
    *,
    call_id: str = "msg_1",
    at: float | None = None,
    **headers: str,
) -> Any:
    """A signed call, as a sender by Standard Webhooks makes it. ``headers``: in place of the right ones."""
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    stamp = int(time.time() if at is None else at)
    given = {
        "webhook-id": call_id,
        "webhook-timestamp": str(stamp),
        "webhook-signature": signatures.signature(signatures.key_of(secret), call_id, stamp, data),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    address = trigger if isinstance(trigger, str) else triggering.address(trigger)
    kind = {"content_type": "application/json"} if data else {}
    return Caller().generic("POST", address, data, headers=given, **kind)


def test_signed_call_queues_a_run(sync: Sync, trigger: tuple[SyncTrigger, str]) -> None:
    answer = call(*trigger, {"full": True, "keys": ["1", "1"], "detail": "build 4711"})
    run = Run.objects.get()
    assert (answer.status_code, answer.json()) == (202, {"run_id": run.pk})
    assert answer["Location"] == f"/api/v1/runs/{run.pk}"
    assert (run.trigger, run.trigger_detail, run.requested_by) == (Trigger.WEBHOOK, "dbt build: build 4711", None)
    assert (run.options, run.is_short, run.sync) == ({"full": True, "keys": ["1"]}, True, sync)
    stored = SyncTrigger.objects.get()
    assert stored.last_outcome == f"Run {run.pk} was queued."
    assert stored.last_called_at is not None


def test_call_without_a_body_queues_a_usual_run(trigger: tuple[SyncTrigger, str]) -> None:
    assert call(*trigger).status_code == 202
    assert Run.objects.get().options == {}


def test_call_sent_again_hears_the_first_answer(trigger: tuple[SyncTrigger, str]) -> None:
    first = call(*trigger)
    Run.objects.update(status=RunStatus.CANCELLED, finished_at=timezone.now())
    again = call(*trigger, {"full": True}, at=time.time() - 30)
    assert (again.status_code, again.json(), again["Idempotency-Replayed"]) == (202, first.json(), "true")
    assert call(*trigger, call_id="msg_2").json() != first.json()
    assert Run.objects.count() == 2


def test_second_call_gets_the_run_that_waits(trigger: tuple[SyncTrigger, str]) -> None:
    first, second = call(*trigger), call(*trigger, call_id="msg_2")
    assert first.json() == second.json()
    assert (Run.objects.count(), TriggerCall.objects.count()) == (1, 2)


def test_whoever_does_not_sign_right_learns_nothing(trigger: tuple[SyncTrigger, str]) -> None:
    one, secret = trigger
    other = signatures.new_secret()
    wrong = [
        call(one, other),
        call(f"{triggering.address(one)[:-1]}_", secret),
        call(one, secret, webhook_signature=""),
        call(one, secret, webhook_signature="v1,AAAA v2,xyz é"),
        call(one, secret, webhook_id="msg_other"),
        call(one, secret, webhook_timestamp=str(int(time.time()) - 1)),
    ]
    assert {said(answer)[:2] for answer in wrong} == {GENERIC}
    assert len({json.dumps(answer.json()) for answer in wrong}) == 1
    assert {answer["WWW-Authenticate"] for answer in wrong} == {'Webhook-Signature realm="redrive"'}
    altered = Caller().generic("POST", triggering.address(one), b"{}", content_type="application/json")
    assert said(altered)[:2] == GENERIC
    assert not Run.objects.exists()


@pytest.mark.parametrize("seconds", [-301, 302, -90_000])
def test_call_of_another_time_is_refused(trigger: tuple[SyncTrigger, str], seconds: int) -> None:
    answer = call(*trigger, at=time.time() + seconds)
    assert said(answer)[:2] == GENERIC
    assert "5 minutes" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "headers", [{"webhook_id": ""}, {"webhook_id": "x" * 256}, {"webhook_timestamp": "soon"}, {"webhook_timestamp": "9" * 13}]
)
def test_headers_that_cannot_be_read_are_refused(trigger: tuple[SyncTrigger, str], headers: dict[str, str]) -> None:
    assert said(call(*trigger, **headers))[:2] == GENERIC


def test_large_body_is_refused_before_it_is_read(trigger: tuple[SyncTrigger, str]) -> None:
    assert said(call(*trigger, b"x" * (triggering.BODY_MAX + 1)))[:2] == (413, "too_large")
    assert said(call(*trigger, b"x" * triggering.BODY_MAX))[:2] == (400, "malformed")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"limit": 1}, "limit"),
        ({"full": "yes"}, "full"),
        ({"keys": []}, "keys"),
        ({"keys": [1]}, "keys"),
        ({"keys": ["x" * 256]}, "keys"),
        ({"keys": [" "]}, "keys"),
        ({"detail": "x" * 121}, "detail"),
    ],
)
def test_input_that_is_not_allowed_is_named(trigger: tuple[SyncTrigger, str], body: Any, field: str) -> None:
    status, code, issues = said(call(*trigger, body))
    assert (status, code) == (400, "invalid")
    assert field in {name.split("[")[0] for name in issues}
    assert not TriggerCall.objects.exists()


def test_form_is_refused(trigger: tuple[SyncTrigger, str]) -> None:
    one, secret = trigger
    data, stamp = b"full=1", int(time.time())
    given = {
        "webhook-id": "m",
        "webhook-timestamp": str(stamp),
        "webhook-signature": signatures.signature(signatures.key_of(secret), "m", stamp, data),
    }
    kind = "application/x-www-form-urlencoded"
    assert said(Caller().generic("POST", triggering.address(one), data, content_type=kind, headers=given))[0] == 415


def test_sync_that_does_not_run_is_said_and_the_id_can_be_used_again(sync: Sync, trigger: tuple[SyncTrigger, str]) -> None:
    by = person("operator")
    sync_service.pause(sync, by=by, reason="credentials")
    answer = call(*trigger)
    assert said(answer)[:2] == (409, "refused")
    assert "is paused" in SyncTrigger.objects.get().last_outcome
    sync_service.resume(sync, by=by)
    assert call(*trigger).status_code == 202
    Sync.objects.update(is_archived=True, archived_at=timezone.now())
    assert said(call(*trigger, call_id="msg_2"))[:2] == (409, "refused")
    Sync.objects.update(is_archived=False, archived_at=None)
    SyncTrigger.objects.update(is_enabled=False)
    assert said(call(*trigger, call_id="msg_3"))[:2] == (409, "refused")
    assert TriggerCall.objects.count() == 1


def test_calls_of_one_trigger_are_limited(trigger: tuple[SyncTrigger, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncs.api.calls.Calls.requests_per_minute", 2)
    for _ in range(2):  # the minute may change in between
        answers = [call(*trigger, call_id=f"msg_{number}") for number in range(3)]
        if answers[-1].status_code == 429:
            break
    assert answers[-1].status_code == 429
    assert int(answers[-1]["Retry-After"]) >= 1
    assert said(call(trigger[0], signatures.new_secret()))[:2] == GENERIC  # of the address, not of the trigger


def test_key_is_no_signature(trigger: tuple[SyncTrigger, str]) -> None:
    assert said(caller("admin").post(triggering.address(trigger[0]), {}))[:2] == GENERIC


# --- setting up


def test_trigger_is_added_and_its_secret_given_once(sync: Sync) -> None:
    client = caller("operator")
    address = f"/api/v1/syncs/{sync.pk}/triggers"
    answer = client.post(address, {"name": " dbt  build "})
    assert answer.status_code == 201
    made = answer.json()
    assert made["name"] == "dbt build"
    assert call(made["address"], made["secret"]).status_code == 202
    one = client.get(answer["Location"])
    assert one["ETag"] == answer["ETag"]
    listed = client.get(address).json()["data"]
    assert listed == [one.json()]
    assert "secret" not in listed[0]
    assert made["secret"] not in str(AuditEvent.objects.values())
    assert AuditEvent.objects.get().act == "created"
    calls = client.get(f"{answer['Location']}/calls").json()["data"]
    assert [(line["call_id"], line["run_id"]) for line in calls] == [("msg_1", Run.objects.get().pk)]


def test_trigger_is_edited_and_deleted(sync: Sync, trigger: tuple[SyncTrigger, str]) -> None:
    client, one = caller("operator"), trigger[0]
    address = f"/api/v1/syncs/{sync.pk}/triggers/{one.pk}"
    etag = client.get(address)["ETag"]
    assert said(client.patch(address, {"is_enabled": False}))[0] == 428
    answer = client.patch(address, {"is_enabled": False}, headers={"If-Match": etag})
    assert (answer.status_code, answer.json()["is_enabled"]) == (200, False)
    assert said(client.patch(address, {"name": "x"}, headers={"If-Match": etag}))[0] == 412
    assert said(client.patch(address, {"name": "  "}, headers={"If-Match": "*"}))[2].keys() == {"name"}
    assert said(client.patch(address, {"public_id": "x"}, headers={"If-Match": "*"}))[2].keys() == {"public_id"}
    assert client.delete(address, headers={"If-Match": answer["ETag"]}).status_code == 204
    assert said(call(*trigger))[:2] == GENERIC
    assert list(AuditEvent.objects.order_by("id").values_list("act", flat=True)) == ["created", "changed", "deleted"]


def test_secret_before_is_good_during_the_overlap(sync: Sync, trigger: tuple[SyncTrigger, str]) -> None:
    client, (one, old) = caller("operator"), trigger
    address = f"/api/v1/syncs/{sync.pk}/triggers/{one.pk}/rotate"
    new = client.post(address, {"overlap_hours": 2}).json()
    assert call(one, old).status_code == call(one, new["secret"], call_id="msg_2").status_code == 202
    SyncTrigger.objects.update(previous_until=timezone.now() - timedelta(seconds=1))
    assert said(call(one, old, call_id="msg_3"))[:2] == GENERIC
    triggering.forget(timezone.now())
    stored = SyncTrigger.objects.get()
    assert (stored.secrets, stored.previous_until) == ({"current": new["secret"]}, None)
    leaked = client.post(address, {"overlap_hours": 0}).json()
    assert said(call(one, new["secret"], call_id="msg_4"))[:2] == GENERIC
    assert call(one, leaked["secret"], call_id="msg_4").status_code == 202
    assert said(client.post(address, {"overlap_hours": 169}))[2].keys() == {"overlap_hours"}


def test_old_calls_are_forgotten(trigger: tuple[SyncTrigger, str]) -> None:
    call(*trigger)
    TriggerCall.objects.update(at=timezone.now() - triggering.REMEMBERED - timedelta(seconds=1))
    triggering.forget(timezone.now())
    assert not TriggerCall.objects.exists()


def test_trigger_of_another_team_is_not_there(sync: Sync, trigger: tuple[SyncTrigger, str]) -> None:
    Sync.objects.update(team=Team.objects.create(name="Finance"))
    client = caller("operator")
    base = f"/api/v1/syncs/{sync.pk}/triggers"
    answers = [
        client.get(base),
        client.post(base, {"name": "x"}),
        client.get(f"{base}/{trigger[0].pk}"),
        client.post(f"{base}/{trigger[0].pk}/rotate", {}),
    ]
    assert {said(answer)[0] for answer in answers} == {404}


def test_trigger_of_another_sync_is_not_there(sync: Sync, trigger: tuple[SyncTrigger, str], tmp_path: Path) -> None:
    other = World(tmp_path, []).sync
    assert said(caller("admin").get(f"/api/v1/syncs/{other.pk}/triggers/{trigger[0].pk}"))[0] == 404


def test_archived_sync_gets_no_trigger(sync: Sync) -> None:
    Sync.objects.update(is_archived=True, archived_at=timezone.now())
    assert said(caller("operator").post(f"/api/v1/syncs/{sync.pk}/triggers", {"name": "x"}))[:2] == (409, "refused")
