"""Evidence: whole, bounded, readable, and without secrets or values of people."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from dlq.choices import Door
from dlq.models import DLQEntry, DLQEvent
from dlq.services import evidence, evidence_bundle
from dlq.services.moves import ActRefusedError
from syncs.choices import StepKind, StepStatus
from syncs.models import Run, Step, Team
from tests.dlq.objects import make_entry, make_group, make_run, make_user
from tests.syncs.objects import make_sync

pytestmark = pytest.mark.django_db

SECRET = "canary & secret väl"
JANE = {"email": "jane.canary@example.com", "firstName": "Canaryjane", "phone": "+49 170 7654321", "amount": 1.50}
FILES = ["dead_letters.jsonl", "steps.jsonl", "attempts.jsonl", "summary.html", "manifest.json"]


@pytest.fixture
def ana() -> User:
    return make_user("view_dlqentry", "export_dlqentry", "view_errorgroup", "view_run", name="ana")


def attempt(**values: Any) -> dict[str, Any]:
    return {
        "number": 1, "started_at": "2026-11-23T10:00:00+00:00", "milliseconds": 12.5, "row_count": 2, "http_status": 422,
        "request_id": "req-77", "idempotency_key": "idem-1", "signal": "rejected", "request": "POST https://crm.test/contacts",
        "excerpt": "", "message": "", "wait_seconds": None, **values,
    }  # fmt: skip


def world(count: int = 2, steps: int = 3) -> Run:
    """A run with refused rows in step 2; its texts repeat values of people, and secrets."""
    sync = make_sync()
    sync.destination.secrets = {"token": SECRET, "nested": {"key": ["canary-key-9"]}}
    sync.destination.save()
    run = make_run(sync, failure_message=f"stopped by {SECRET}")
    for number in range(1, steps + 1):
        excerpt = json.dumps(
            {"errors": [{"email": "other.canary@example.com", "firstName": "Canarybob"}], "echo": JANE["firstName"]}
        )
        Step.objects.create(
            run=run, number=number, kind=StepKind.UPLOAD, status=StepStatus.SUCCEEDED, started_at=timezone.now(),
            finished_at=timezone.now(), row_count=2, accepted_count=1, dead_lettered_count=count if number == 2 else 0,
            message=f"{JANE['email']} was refused",
            attempts=[attempt(excerpt=excerpt[:-20] if number == 3 else excerpt), attempt(number=2, message=f"token={SECRET}")],
        )  # fmt: skip
    group = make_group(sync, title="<script>alert(1)</script> is not valid")
    for number in range(count):
        make_entry(
            run, group=group, step_number=2, row_key=f"{number}-{JANE['email']}", payload=json.dumps({**JANE, "n": number}),
            source_row=json.dumps({"MAIL": JANE["email"], "X": JANE["firstName"]}), note=f"asked {JANE['firstName']}",
            message=f"Property phone {JANE['phone']} of {JANE['firstName']} <img src=x onerror=alert(1)>\u202e",
            response_excerpt=json.dumps({"message": JANE["email"], "auth": SECRET}), request_id="canary-key-9",
        )  # fmt: skip
    return run


def opened(user: User, **given: object) -> dict[str, bytes]:
    scope = evidence.parse({name: str(value) for name, value in given.items()}, user=user)
    made = evidence_bundle.build(scope, by=user, reason="VENDOR-1", door=Door.ADMIN)
    with made.file, zipfile.ZipFile(made.file) as book:
        assert book.testzip() is None
        return {one.filename: book.read(one) for one in book.infolist()}


def lines(raw: bytes) -> list[Any]:
    return [json.loads(line) for line in raw.splitlines()]


def scopes(run: Run) -> list[dict[str, object]]:
    entry = DLQEntry.objects.filter(run=run)[0]
    return [{"run": run.pk}, {"run": run.pk, "step": 2}, {"group": entry.group_id}, {"entry": entry.pk}]


def test_bundle_of_a_run_holds_steps_attempts_and_dead_letters(ana: User) -> None:
    run = world()
    files = opened(ana, run=run.pk)
    assert list(files) == FILES
    assert [one["step"] for one in lines(files["steps.jsonl"])] == [1, 2, 3]
    attempts = lines(files["attempts.jsonl"])
    assert [(one["step"], one["number"]) for one in attempts] == [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2)]
    assert attempts[0]["request_id"] == "req-77"
    assert attempts[0]["idempotency_key"] == "idem-1"
    entries = lines(files["dead_letters.jsonl"])
    assert [one["id"] for one in entries] == list(DLQEntry.objects.order_by("pk").values_list("pk", flat=True))
    assert entries[0]["payload"] == {"email": "j***@e***.com", "firstName": "***", "phone": "+49*****21", "amount": 1.5, "n": 0}
    assert entries[0]["source_row"] == {"MAIL": "j***@e***.com", "X": "***"}
    assert entries[0]["http_status"] == 422


def test_manifest_names_each_file_with_its_digest(ana: User) -> None:
    files = opened(ana, run=world().pk)
    manifest = json.loads(files["manifest.json"])
    assert sorted(manifest["files"]) == sorted(FILES[:-1])
    for name, told in manifest["files"].items():
        assert told["sha256"] == hashlib.sha256(files[name]).hexdigest()
        assert told["bytes"] == len(files[name])
    assert manifest["files"]["attempts.jsonl"]["lines"] == 6
    assert manifest["dead_letters"] == {"included": 2, "total": 2}
    assert (manifest["made_by"], manifest["reason"]) == ("ana", "VENDOR-1")


def test_neither_secrets_nor_people_are_in_any_bundle(ana: User) -> None:
    run = world()
    for scope in scopes(run):
        files = opened(ana, **scope)
        text = b"\n".join(files.values()).decode()
        assert text
        for needle in ("canary", "Canary", "7654321", "v\u00e4l", "v\\u00e4l"):
            assert needle not in text, (scope, needle, text[max(0, text.find(needle) - 200) :][:300])
        assert "•••" in text


def test_summary_is_readable_and_runs_nothing(ana: User) -> None:
    text = opened(ana, run=world().pk)["summary.html"].decode()
    assert "<script" not in text
    assert "<img" not in text
    assert "onerror=alert" in text  # as a text
    assert "&lt;img" in text
    assert "\u202e" not in text
    assert 'http-equiv="Content-Security-Policy"' in text
    assert "src=" not in text.replace("src=x onerror", "")
    assert "req-77" in text
    assert "HTTP 422" in text


def test_scope_of_a_step_and_of_an_entry_is_just_that(ana: User) -> None:
    run = world()
    other = make_entry(run, step_number=3)
    files = opened(ana, run=run.pk, step=2)
    assert [one["step"] for one in lines(files["steps.jsonl"])] == [2]
    assert other.pk not in [one["id"] for one in lines(files["dead_letters.jsonl"])]
    files = opened(ana, entry=other.pk)
    assert [one["id"] for one in lines(files["dead_letters.jsonl"])] == [other.pk]
    assert [one["step"] for one in lines(files["steps.jsonl"])] == [3]


def test_bundle_is_bounded_and_says_what_it_left_out(ana: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "MAX_ENTRIES", 3)
    monkeypatch.setattr(evidence, "MAX_STEPS", 2)
    run = world(count=5, steps=6)
    manifest = json.loads(opened(ana, run=run.pk)["manifest.json"])
    assert manifest["dead_letters"] == {"included": 3, "total": 5}
    assert manifest["steps"] == {"included": 2, "total": 6}
    assert [one["step"] for one in lines(opened(ana, run=run.pk)["steps.jsonl"])] == [1, 2]  # the one with refused rows is in


def test_every_dead_letter_in_it_knows_that_it_was_taken_out(ana: User) -> None:
    run = world()
    opened(ana, run=run.pk)
    events = DLQEvent.objects.filter(kind="exported")
    assert events.count() == 2
    assert set(events.values_list("actor__username", "reason")) == {("ana", "VENDOR-1")}
    assert events[0].detail == {"format": "evidence", "run": str(run.pk)}


def test_huge_and_broken_texts_are_bounded(ana: User) -> None:
    run = make_run(make_sync())
    make_entry(run, payload=json.dumps({"x": "y" * 1_000_000}), source_row="no json", response_excerpt="[" * 100_000)
    files = opened(ana, run=run.pk)
    assert len(files["dead_letters.jsonl"]) < 60_000
    (entry,) = lines(files["dead_letters.jsonl"])
    assert "left out" in entry["payload"]
    assert "cannot be read as JSON" in entry["source_row"]


def test_bundle_survives_secrets_that_cannot_be_decrypted(ana: User, settings: Any) -> None:
    run = world()
    settings.RETL = {**settings.RETL, "ENCRYPTION_KEYS": ["b3RoZXItb3RoZXItb3RoZXItb3RoZXItb3RoZXItISE="]}
    assert list(opened(ana, run=run.pk)) == FILES


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"run": "x"},
        {"run": "1", "group": "1"},
        {"step": "1"},
        {"entry": "1", "step": "1"},
        {"run": "99999"},
        {"group": "9" * 30},
    ],
)
def test_bad_scope_is_refused_in_words(given: dict[str, str], ana: User) -> None:
    with pytest.raises(ActRefusedError):
        evidence.parse(given, user=ana)
    client = Client()
    client.force_login(ana)
    assert client.get(reverse("admin:dlq_dlqentry_evidence"), given).status_code == 400
    assert client.post(reverse("admin:dlq_dlqentry_evidence")).status_code == 400


def test_other_teams_are_not_there(ana: User) -> None:
    run = world()
    run.sync.team = Team.objects.create(name="theirs")
    run.sync.save()
    for scope in scopes(run):
        with pytest.raises(ActRefusedError, match="that you may see"):
            evidence.parse({name: str(value) for name, value in scope.items()}, user=ana)


def test_page_asks_and_only_a_post_makes_the_bundle(ana: User) -> None:
    run = world()
    client = Client()
    client.force_login(ana)
    url = f"{reverse('admin:dlq_dlqentry_evidence')}?run={run.pk}&step=2"
    page = client.get(url).content.decode()
    assert f"step 2 of run {run.pk}" in page
    assert not DLQEvent.objects.exists()
    assert client.post(url, {"reason": "x" * 300}).status_code == 400
    answer = client.post(url, {"reason": "T"})
    raw = b"".join(answer.streaming_content)
    assert answer["Content-Type"] == "application/zip"
    assert answer["Content-Disposition"].startswith(f'attachment; filename="evidence-step-2-run-{run.pk}-')
    assert "no-store" in answer["Cache-Control"]
    with zipfile.ZipFile(io.BytesIO(raw)) as book:
        assert book.namelist() == FILES


def test_evidence_needs_the_permission_to_export() -> None:
    run = world()
    client = Client()
    client.force_login(make_user("view_dlqentry"))
    url = f"{reverse('admin:dlq_dlqentry_evidence')}?run={run.pk}"
    assert client.get(url).status_code == 403
    assert client.post(url).status_code == 403


def test_pages_link_to_evidence() -> None:
    run = world()
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    entry = DLQEntry.objects.all()[0]
    url = reverse("admin:dlq_dlqentry_evidence")
    assert f'{url}?run={run.pk}"' in client.get(reverse("admin:syncs_run_change", args=(run.pk,))).content.decode()
    assert f"{url}?run={run.pk}&amp;step=2" in client.get(reverse("admin:syncs_run_change", args=(run.pk,))).content.decode()
    assert f"{url}?entry={entry.pk}" in client.get(reverse("admin:dlq_dlqentry_change", args=(entry.pk,))).content.decode()
    assert (
        f"{url}?group={entry.group_id}"
        in client.get(reverse("admin:dlq_errorgroup_change", args=(entry.group_id,))).content.decode()
    )


def test_cost_in_queries_does_not_grow_with_entries(ana: User, django_assert_max_num_queries: Any) -> None:
    run = world(count=60, steps=20)
    with django_assert_max_num_queries(20):
        opened(ana, run=run.pk)
    client = Client()
    client.force_login(ana)
    with django_assert_max_num_queries(12):
        client.get(f"{reverse('admin:dlq_dlqentry_evidence')}?run={run.pk}")
