"""The pages of one sync and one run, and the acts behind their buttons."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from syncs.models import FieldMapping, Run, Sync, SyncVersion
from syncs.services import overview, versions
from tests import seeds

pytestmark = pytest.mark.django_db


@pytest.fixture
def data(tmp_path: Path) -> Any:
    return seeds.console(str(seeds.warehouse(tmp_path / "warehouse.sqlite3")), run_count=5)


@pytest.fixture
def ana(data: Any) -> Client:
    client = Client()
    client.force_login(data.ana)
    return client


@pytest.fixture
def vera(data: Any) -> Client:
    client = Client()
    client.force_login(seeds.viewer())
    return client


def url(name: str, *args: object) -> str:
    return reverse(f"admin:syncs_{name}", args=args)


def text(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


# --- one sync
def test_every_sync_page_opens_within_its_queries(ana: Client, data: Any, django_assert_max_num_queries: Any):
    for sync in data.syncs:
        with django_assert_max_num_queries(12):
            assert sync.name in text(ana, url("sync_page", sync.pk))


def test_failing_sync_says_why_since_when_and_what_to_do(ana: Client, data: Any):
    html = text(ana, url("sync_page", data.syncs[1].pk))
    assert "Failing: The last 3 runs failed: the token was revoked." in html
    assert "Renew the credentials on the connection page" in html
    assert f"Run {data.failed.pk}" in html


def test_sync_page_shows_errors_mapping_firings_and_versions(ana: Client, data: Any):
    answer = ana.get(url("sync_page", data.syncs[2].pk))
    html = answer.content.decode()
    assert [line["group"].open_count for line in answer.context["groups"]] == [260, 120, 32]
    assert "address.city" in html
    assert len(answer.context["firings"]) == 5
    assert "First version" in html
    assert len(answer.context["bars"]) == 6


def test_paused_sync_offers_resume_and_no_firings(ana: Client, data: Any):
    answer = ana.get(url("sync_page", data.syncs[3].pk))
    html = answer.content.decode()
    assert "Resume</button>" in html
    assert "Run now" not in html
    assert answer.context["firings"] == []


def test_unreadable_schedule_does_not_break_the_page(ana: Client, data: Any):
    Sync.objects.filter(pk=data.syncs[5].pk).update(schedule_kind="cron", cron="99 * * * *", timezone="Mars/Olympus")
    assert "Cron 99 * * * *" in text(ana, url("sync_page", data.syncs[5].pk))


def test_hostile_texts_are_escaped(ana: Client, data: Any):
    bad = "<script>alert(1)</script>"
    Sync.objects.filter(pk=data.syncs[0].pk).update(name=bad, status_reason=bad)
    Run.objects.filter(pk=data.failed.pk).update(failure_message=bad, reason=bad)
    pages = (url("sync_changelist"), url("sync_page", data.syncs[0].pk), url("run_change", data.failed.pk), "/admin/")
    for address in pages:
        html = text(ana, address)
        assert bad not in html
    assert "&lt;script&gt;alert(1)" in text(ana, url("sync_page", data.syncs[0].pk))


def test_run_pause_resume_from_the_page(ana: Client, data: Any):
    sync = data.syncs[6]
    answer = ana.post(url("sync_act", sync.pk, "run"), follow=True)
    run = Run.objects.get(sync=sync, status="queued")
    assert (run.requested_by, run.trigger, run.version_id) == (data.ana, "manual", sync.current_version_id)
    assert f"run {run.pk}</a> is queued" in answer.content.decode()
    ana.post(url("sync_act", sync.pk, "pause"), {"reason": "the token is rotated"})
    sync.refresh_from_db()
    assert (sync.is_paused, sync.pause_reason) == (True, "the token is rotated")
    refused = ana.post(url("sync_act", sync.pk, "run"), follow=True)
    assert "is paused. Resume it, then run it." in refused.content.decode()
    ana.post(url("sync_act", sync.pk, "resume"))
    sync.refresh_from_db()
    assert not sync.is_paused
    assert sync.next_run_at is not None


def test_acts_want_post_a_right_and_a_known_name(ana: Client, vera: Client, data: Any):
    pk = data.syncs[6].pk
    assert ana.get(url("sync_act", pk, "run")).status_code == 405
    assert ana.post(url("sync_act", pk, "explode")).status_code == 404
    assert ana.post(url("sync_act", 99_999, "run")).status_code == 404
    for name in ("run", "pause", "resume"):
        assert vera.post(url("sync_act", pk, name)).status_code == 403
    assert not Run.objects.filter(status="queued").exists()


def test_act_without_csrf_token_is_refused(data: Any):
    client = Client(enforce_csrf_checks=True)
    client.force_login(data.ana)
    assert client.post(url("sync_act", data.syncs[6].pk, "run")).status_code == 403
    assert not Run.objects.filter(status="queued").exists()


def test_viewer_sees_no_acting_button(vera: Client, data: Any):
    for address in (url("sync_page", data.syncs[0].pk), url("run_change", data.live.pk), url("run_change", data.failed.pk)):
        html = text(vera, address)
        for word in ("Run now", ">Pause<", "Edit</a>", "Cancel run", "Run again"):
            assert word not in html


def test_run_permission_alone_lets_run_but_not_edit(data: Any):
    client = Client()
    client.force_login(seeds.user("otto", "syncs.view_sync", "syncs.run_sync", "syncs.pause_sync"))
    html = text(client, url("sync_page", data.syncs[0].pk))
    assert "Run now" in html
    assert "Edit</a>" not in html
    assert client.post(url("sync_act", data.syncs[0].pk, "run")).status_code == 302


def test_deletes_that_the_guard_stopped_can_be_approved(ana: Client, vera: Client, data: Any):
    sync = data.syncs[7]
    Sync.objects.filter(pk=sync.pk).update(mode="mirror", status="failing", status_reason="The delete guard stopped this run.")
    seeds.run(sync, "failed", minutes_ago=1, failure_code="delete_guard", failure_message="The delete guard stopped this run.")
    assert "Approve these deletes" in text(ana, url("sync_page", sync.pk))
    assert "Approve these deletes" not in text(vera, url("sync_page", sync.pk))
    assert vera.post(url("sync_act", sync.pk, "approve")).status_code == 403
    ana.post(url("sync_act", sync.pk, "approve"))
    sync.refresh_from_db()
    assert sync.approved_delete_count is not None
    assert "Approve these deletes" not in text(ana, url("sync_page", sync.pk))
    refused = ana.post(url("sync_act", data.syncs[6].pk, "approve"), follow=True)
    assert "is not in mirror mode" in refused.content.decode()


# --- preview
def test_preview_shows_payload_verdict_and_mapping_error_and_writes_nothing(ana: Client, data: Any):
    sync = data.syncs[2]
    Sync.objects.filter(pk=sync.pk).update(query="SELECT id, name, email, city, age FROM contacts")
    FieldMapping.objects.create(sync=sync, position=9, destination_field="age", column="age", type="integer")
    before = (Run.objects.count(), SyncVersion.objects.count())
    answer = ana.get(url("sync_preview", sync.pk))
    html = answer.content.decode()
    assert len(answer.context["preview"].rows) == 20
    assert dict(answer.context["counts"]) == {"create": 19, "refuse": 1}
    assert "address.city" in html
    assert "NULL" in html
    assert "young" in html
    assert (Run.objects.count(), SyncVersion.objects.count()) == before


def test_preview_of_a_broken_query_names_the_field(ana: Client, data: Any):
    Sync.objects.filter(pk=data.syncs[2].pk).update(query="SELECT id FROM nowhere")
    html = text(ana, url("sync_preview", data.syncs[2].pk))
    assert "The preview could not be made" in html
    assert "nowhere" in html


# --- versions
def test_old_version_is_compared_with_the_current_one(ana: Client, data: Any):
    sync = data.syncs[2]
    Sync.objects.filter(pk=sync.pk).update(query="SELECT 1 AS id")
    FieldMapping.objects.filter(sync=sync, destination_field="email").delete()
    versions.pin(sync, author=data.bo)
    answer = ana.get(url("sync_version", sync.pk, 1))
    changed = {line.name for line in answer.context["settings"] if line.is_changed}
    assert changed == {"query"}
    assert {line.name for line in answer.context["mappings"] if line.is_changed} == {"email"}
    assert "Removed" in answer.content.decode()
    assert ana.get(url("sync_version", sync.pk, 77)).status_code == 404


# --- one run
def test_run_pages_open_within_their_queries(ana: Client, data: Any, django_assert_max_num_queries: Any):
    for run in (data.partial, data.failed, data.live):
        with django_assert_max_num_queries(12):
            text(ana, url("run_change", run.pk))


@pytest.mark.parametrize("status", ["queued", "skipped", "cancelled"])
def test_run_without_steps_opens(ana: Client, data: Any, status: str):
    run = seeds.run(data.syncs[6], status, reason="Run 1 was still running when this slot came.")
    if status == "skipped":
        Run.objects.filter(pk=run.pk).update(finished_at=timezone.now())
    assert f"Run {run.pk}" in text(ana, url("run_change", run.pk))


def test_counts_of_a_run_add_up_on_its_page(ana: Client, data: Any):
    for run in (data.partial, data.failed, data.live):
        answer = ana.get(url("run_change", run.pk))
        assert sum(part["count"] for part in answer.context["parts"]) == answer.context["total"] == run.read_count
        widths = sum(part["width"] for part in answer.context["parts"])
        assert widths == pytest.approx(600, abs=0.1)


def test_failed_run_says_what_to_do(ana: Client, data: Any):
    html = text(ana, url("run_change", data.failed.pk))
    assert "Authentication: the run could not go on" in html
    assert "401 invalid_grant" in html
    assert "Renew the credentials" in html


def test_step_shows_every_attempt(ana: Client, data: Any):
    html = text(ana, url("run_change", data.partial.pk))
    for found in ("Attempt 2", "req-429-1", "9f2c7d11aa90", "413 ms", "Then waited", "INVALID_PHONE", "rate limited"):
        assert found in html


def test_errors_of_a_run_link_to_its_dead_letters(ana: Client, data: Any):
    answer = ana.get(url("run_change", data.partial.pk))
    links = [line["url"] for line in answer.context["errors"]]
    assert f"run={data.partial.pk}" in links[0]
    assert "error_type=validation" in links[0]
    assert "260" in ana.get(links[0]).content.decode()


def test_run_with_thousands_of_steps_shows_both_ends_and_any_page(ana: Client, data: Any, django_assert_max_num_queries: Any):
    run = seeds.run(data.syncs[6], read=120_000, minutes_ago=3)
    seeds.steps(run, 1_198)
    with django_assert_max_num_queries(12):
        answer = ana.get(url("run_change", run.pk))
    steps = answer.context["steps"]
    assert (len(steps.head), len(steps.tail), steps.hidden, steps.count) == (100, 100, 1_000, 1_200)
    middle = ana.get(url("run_change", run.pk) + "?from=601")
    numbers = [row["step"].number for row in middle.context["head"]]
    assert numbers == list(range(601, 701))
    assert "?from=701" in middle.content.decode()
    assert ana.get(url("run_change", run.pk) + "?from=x").status_code == 404
    assert "no step from that number" in text(ana, url("run_change", run.pk) + "?from=5000")


def test_step_bars_share_the_axis_of_the_run(ana: Client, data: Any):
    rows = ana.get(url("run_change", data.partial.pk)).context["head"]
    starts = [row["box"].x for row in rows]
    assert starts == sorted(starts)
    assert rows[0]["box"].x == 0
    assert rows[-1]["box"].x + rows[-1]["box"].width == pytest.approx(240, abs=0.5)


def test_progress_fragment_follows_the_run(ana: Client, data: Any):
    address = url("run_progress", data.live.pk)
    first = ana.get(address).json()
    assert first["is_active"] is True
    assert "5,500" in first["html"]
    Run.objects.filter(pk=data.live.pk).update(accepted_count=3_000)
    assert "6,500" in ana.get(address).json()["html"]
    assert ana.get(url("run_progress", 99_999)).status_code == 404


def test_progress_needs_the_right_to_view(data: Any):
    client = Client()
    client.force_login(seeds.user("nobody"))
    assert client.get(url("run_progress", data.live.pk)).status_code == 403
    assert Client().get(url("run_progress", data.live.pk)).status_code == 302


def test_progress_estimates_by_the_last_complete_run(data: Any):
    now = timezone.now()
    sync = seeds.sync(data.source, data.destination, "Fresh")
    seeds.run(sync, read=10_000, minutes_ago=90)
    live = seeds.run(sync, "running", read=2_000, started_at=now - timedelta(seconds=10))
    found = overview.progress(live, now=now)
    assert (found.settled, found.estimate, found.rate) == (2_000, 10_000, 200.0)
    assert found.eta == timedelta(seconds=40)
    Run.objects.filter(pk=live.pk).update(read_count=12_000)
    live.refresh_from_db()
    assert overview.progress(live, now=now).estimate == 12_000


def test_progress_of_a_first_run_promises_nothing(data: Any):
    live = seeds.run(seeds.sync(data.source, data.destination, "Fresh"), "running", read=2_000, minutes_ago=1)
    found = overview.progress(live)
    assert (found.estimate, found.eta) == (0, None)


def test_cancel_asks_a_live_run_and_ends_a_queued_one(ana: Client, vera: Client, data: Any):
    assert vera.post(url("run_act", data.live.pk, "cancel")).status_code == 403
    answer = ana.post(url("run_act", data.live.pk, "cancel"), follow=True)
    data.live.refresh_from_db()
    assert data.live.cancel_requested_by == data.ana
    assert "Asked to stop" in answer.content.decode()
    assert "nothing to cancel" in ana.post(url("run_act", data.live.pk, "cancel"), follow=True).content.decode()
    queued = seeds.run(data.syncs[6], "queued")
    ana.post(url("run_act", queued.pk, "cancel"))
    queued.refresh_from_db()
    assert queued.status == "cancelled"


def test_run_again_repeats_the_options(ana: Client, data: Any):
    done = seeds.run(data.syncs[6], options={"full": True, "limit": 10})
    answer = ana.post(url("run_act", done.pk, "again"))
    again = Run.objects.get(sync=data.syncs[6], status="queued")
    assert again.options == {"full": True, "limit": 10}
    assert answer.headers["Location"] == url("run_change", again.pk)


def test_reprocess_is_not_run_again_from_here(ana: Client, data: Any):
    done = seeds.run(data.syncs[6], trigger="reprocess")
    assert "Run again" not in text(ana, url("run_change", done.pk))
    assert ana.post(url("run_act", done.pk, "again")).status_code == 404


def test_runs_cannot_be_changed_or_deleted(ana: Client, data: Any):
    pk = data.failed.pk
    assert ana.post(url("run_change", pk), {"status": "succeeded"}).status_code == 405
    assert ana.post(url("run_delete", pk), {"post": "yes"}).status_code == 403
    assert ana.get(url("run_add")).status_code == 404
    assert ana.get(url("run_change", "99999")).status_code == 404
    assert ana.get("/admin/syncs/run/abc/change/").status_code == 404
