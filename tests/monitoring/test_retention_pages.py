"""Pages of retention: what they show, refuse and begin."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_q.models import OrmQ

from dlq.models import BulkOperation
from monitoring.choices import Retained
from monitoring.models import Purge
from monitoring.services.retention import passes, rules, work
from syncs.models import AuditEvent, Step
from tests.dlq.objects import make_entry, make_run
from tests.syncs.objects import make_sync

LIST = "/admin/monitoring/retentionrule/"
STEPS = f"{LIST}steps/change/"
PURGES = "/admin/monitoring/purge/"
OLD = timezone.now() - timedelta(days=1_000)


@pytest.fixture
def root(client: Client, db: None) -> Client:
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def steps(db: None) -> None:
    run = make_run(make_sync(), queued_at=OLD, started_at=OLD, finished_at=OLD)
    Step.objects.create(run=run, number=1, kind="query", status="succeeded", started_at=OLD)


def text(answer: Any) -> str:
    return " ".join(answer.content.decode().split())


@pytest.mark.usefixtures("steps")
def test_the_list_shows_every_kind_in_few_queries(root: Client):
    make_entry(status="resolved", last_failed_at=OLD)
    purge = passes.request(Retained.STEPS, by=None, door="cli", is_dry_run=True)
    work.advance(purge.pk, seconds=None)
    root.get(LIST)
    with CaptureQueriesContext(connection) as captured:
        html = text(root.get(LIST))
    assert len(captured) <= 12
    for kind in Retained:
        assert f"/{kind.value}/change/" in html
    assert "1 would go" in html
    with CaptureQueriesContext(connection) as captured:
        assert "Dry run" in text(root.get(PURGES))
    assert len(captured) <= 6


@pytest.mark.usefixtures("steps")
def test_a_rule_is_saved_refused_and_taken_back(root: Client):
    assert "At least 7: a run of last week must still show its calls" in text(root.get(STEPS))
    refused = root.post(STEPS, {"days": "3"})
    assert refused.status_code == 400
    assert "Choose at least 7." in text(refused)
    assert 'value="3"' in text(refused)
    assert root.post(STEPS, {"days": "30"}).status_code == 302
    assert rules.days()[Retained.STEPS] == 30
    html = text(root.get(STEPS))
    assert "90 → 30" in html
    root.post(STEPS, {"days": ""})
    assert rules.days()[Retained.STEPS] is None
    assert "30 → for ever" in text(root.get(STEPS))
    assert root.get(f"{LIST}nonsense/change/").status_code == 404


@pytest.mark.usefixtures("steps")
def test_counting_leads_to_deleting(root: Client):
    address = f"{LIST}steps/purge/"
    answer = root.post(address, {"act": "look", "days": "400"})
    looked = Purge.objects.get()
    assert answer["Location"] == f"{PURGES}{looked.pk}/change/"
    assert OrmQ.objects.count() == 1
    assert "Queued" in text(root.get(answer["Location"]))
    assert root.get(f"{PURGES}{looked.pk}/progress/").json()["is_active"]
    assert "going on already" in text(root.post(address, {"act": "purge"}))
    passes.answer(looked.pk)
    assert Step.objects.count() == 1
    html = text(root.get(answer["Location"]))
    assert "Delete what is older than 90 days" in html
    assert root.post(address, {"act": "purge"}).status_code == 302
    passes.answer(Purge.objects.latest("pk").pk)
    assert Step.objects.count() == 0
    acts = list(AuditEvent.objects.order_by("pk").values_list("act", "actor__username"))
    assert acts == [("purge_asked", "root"), ("purged", "root")]
    assert root.post(address, {"act": "explode"}).status_code == 404


def test_a_purge_is_stopped_by_a_button(root: Client):
    purge = passes.request(Retained.STEPS, by=None, door="cli", is_dry_run=True)
    root.post(f"{PURGES}{purge.pk}/stop/")
    purge.refresh_from_db()
    assert (purge.is_over, purge.message) == (True, "Stopped by root.")
    assert "It was over already" in text(root.post(f"{PURGES}{purge.pk}/stop/", follow=True))
    assert root.get(f"{PURGES}999/change/").status_code == root.get(f"{PURGES}{1 << 64}/change/").status_code == 404
    assert root.get(f"{PURGES}?after=x").status_code == 400
    assert "No older purges" in text(root.get(f"{PURGES}?after=1&kind=steps"))


# --- The command


@pytest.mark.usefixtures("steps")
def test_the_command_counts_and_deletes(capsys: pytest.CaptureFixture[str]):
    call_command("purge", "steps", "--dry-run", "--days", "500")
    assert "Steps and attempts of runs, before" in capsys.readouterr().out
    assert Step.objects.count() == 1
    call_command("purge")
    out = capsys.readouterr().out
    assert "Steps and attempts of runs" in out
    assert "1 deleted" in out
    assert "Audit log" not in out
    assert not Step.objects.exists()
    call_command("purge", "--rules")
    assert "audit                  for ever" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "There is no kind “nonsense”. Choose among steps"),
        (["--days", "30"], "--days goes with --dry-run and exactly one kind"),
        (["steps", "--days", "30"], "--days goes with --dry-run"),
        (["steps", "--dry-run", "--days", "two"], "not a number of days"),
        (["audit"], "Not everything was purged"),
    ],
)
@pytest.mark.django_db
def test_the_command_refuses_what_cannot_be(arguments: list[str], words: str):
    with pytest.raises(CommandError, match=words):
        call_command("purge", *arguments)


@pytest.mark.usefixtures("steps")
def test_pages_say_that_what_is_missing_was_old(root: Client):
    run = make_run(make_sync(), queued_at=OLD, started_at=OLD, finished_at=OLD)
    assert "Its steps are not kept any more" in text(root.get(f"/admin/syncs/run/{run.pk}/change/"))
    made = BulkOperation.objects.create(
        kind="discard", reason="x", status="finished", max_id=1, as_of=OLD, expected_count=2, is_frozen=True, member_count=2,
        done_count=2, token_digest="0" * 64, finished_at=OLD,
    )  # fmt: skip
    assert "is not kept any more" in text(root.get(f"/admin/dlq/bulkoperation/{made.pk}/change/"))
