"""Status panel and history of a sync, and the page of its thresholds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from monitoring.models import StatusChange, SyncPolicy
from monitoring.services import evaluation, status_history, thresholds
from monitoring.services.threshold_words import THRESHOLDS
from syncs.models import AuditEvent, Sync, Team
from tests import seeds

pytestmark = pytest.mark.django_db
SEES = ("syncs.view_sync", "syncs.view_run", "monitoring.view_statuschange", "monitoring.view_syncpolicy")


@pytest.fixture
def sync() -> Sync:
    made = seeds.sync(*seeds.connections(), schedule_kind="interval", interval_minutes=60, next_run_at=timezone.now())
    Sync.objects.filter(pk=made.pk).update(created_at=timezone.now() - timedelta(days=90))
    for hours in (150, 100, 60, 30, 2):
        seeds.run(made, "failed" if hours == 60 else "succeeded", minutes_ago=hours * 60, failure_message="<b>gone</b>")
    return made


def client_of(*permissions: str, name: str = "vera") -> Client:
    client = Client()
    client.force_login(seeds.user(name, *SEES, *permissions))
    return client


@pytest.fixture
def operator() -> Client:
    return client_of("monitoring.change_syncpolicy")


def text(answer: Any) -> str:
    return answer.content.decode()


def url(sync: Sync) -> str:
    return f"/admin/monitoring/syncpolicy/{sync.pk}/change/"


def test_sync_page_says_what_speaks_against_it(sync: Sync, operator: Client):
    seeds.run(sync, "failed", failure_message="<b>gone</b>", minutes_ago=1)
    evaluation.judge(sync.pk)
    page = text(operator.get(f"/admin/syncs/sync/{sync.pk}/"))
    assert "The last run failed: &lt;b&gt;gone&lt;/b&gt;" in page
    assert f"/admin/monitoring/statuschange/sync/{sync.pk}/" in page
    stranger = client_of(name="stranger")
    seeds.User.objects.get(username="stranger").user_permissions.remove(
        *seeds.Permission.objects.filter(codename="view_statuschange")
    )
    assert 'id="status"' in page
    assert 'id="status"' not in text(stranger.get(f"/admin/syncs/sync/{sync.pk}/"))


def test_history_pages_by_age_and_tells_how_long(sync: Sync, operator: Client, django_assert_max_num_queries: Any):
    now = timezone.now()
    for number in range(120):
        before, after = ("healthy", "failing") if number % 2 else ("failing", "healthy")
        at = now - timedelta(hours=120 - number)
        StatusChange.objects.create(sync=sync, at=at, before=before, after=after, reason="", conditions=["late", "volume"])
    address = f"/admin/monitoring/statuschange/sync/{sync.pk}/"
    with django_assert_max_num_queries(12):
        first = operator.get(address)
    found = first.context["found"]
    assert len(found.lines) == 50
    assert "Late against the schedule, Volume" in text(first)
    older = operator.get(f"{address}?before={found.older}").context["found"]
    assert older.lines[0].lasted == timedelta(hours=1)
    assert not older.lines[0].is_current
    assert operator.get(f"{address}?before=x").status_code == 400
    with django_assert_max_num_queries(12):
        everything = operator.get("/admin/monitoring/statuschange/")
    assert everything.context["older"] == found.older
    assert [line.lasted for line in found.lines[:2]] == [pytest.approx(timedelta(hours=1), abs=timedelta(minutes=1))] * 2


def test_strip_covers_the_time_without_gaps(sync: Sync):
    now = timezone.now()
    sync.refresh_from_db()
    assert [(part.status, part.width) for part in status_history.strip(sync, now)] == [("unconfigured", 900.0)]
    for days, before, after in ((20, "unconfigured", "healthy"), (5, "healthy", "failing")):
        StatusChange.objects.create(sync=sync, at=now - timedelta(days=days), before=before, after=after)
    parts = status_history.strip(sync, now)
    assert [(part.status, round(part.width)) for part in parts] == [("unconfigured", 300), ("healthy", 450), ("failing", 150)]
    assert [round(one[3]) for one in status_history.shares(parts)] == [50, 33, 17]


def test_other_teams_learn_nothing(sync: Sync, operator: Client):
    Sync.objects.filter(pk=sync.pk).update(team=Team.objects.create(name="Others"))
    StatusChange.objects.create(sync=sync, before="healthy", after="failing")
    assert operator.get(f"/admin/monitoring/statuschange/sync/{sync.pk}/").status_code == 404
    assert operator.get(url(sync)).status_code == 404
    assert operator.post(url(sync), {"failures_to_fail": "2"}).status_code == 404
    assert sync.name not in text(operator.get("/admin/monitoring/statuschange/"))


def test_thresholds_are_saved_judged_and_audited(sync: Sync, operator: Client, django_capture_on_commit_callbacks: Any):
    seeds.run(sync, "failed", failure_message="gone", minutes_ago=1)
    evaluation.judge(sync.pk)
    with django_capture_on_commit_callbacks(execute=True):
        answer = operator.post(url(sync), {"failures_to_fail": "2", "error_rate_warn_percent": "0.250"}, follow=True)
    assert "Saved." in text(answer)
    policy = SyncPolicy.objects.get(sync=sync)
    assert (policy.failures_to_fail, float(policy.error_rate_warn_percent or 0), policy.dlq_depth_warn) == (2, 0.25, None)
    sync.refresh_from_db()
    assert sync.status == "degraded"
    event = AuditEvent.objects.get(act=thresholds.ACT)
    assert event.detail == {"failures_to_fail": [None, 2], "error_rate_warn_percent": [None, 0.25]}
    same = operator.post(url(sync), {"failures_to_fail": "2", "error_rate_warn_percent": "0.25"}, follow=True)
    assert "They were so already." in text(same)
    operator.post(url(sync), {"act": "reset", "failures_to_fail": "7"})
    assert SyncPolicy.objects.get(sync=sync).failures_to_fail is None
    assert AuditEvent.objects.filter(act=thresholds.ACT).count() == 2


def test_try_shows_last_week_with_other_thresholds_and_saves_nothing(sync: Sync, operator: Client):
    before = operator.get(url(sync)).context["page"].weeks
    assert [round(share[3]) for share in before[0][1].shares] == [80, 20]
    page = operator.post(url(sync), {"act": "try", "failures_to_fail": "2"}).context["page"]
    shown = {words: {one[0]: round(one[3]) for one in week.shares} for words, week in page.weeks}
    assert shown == {
        "With what is saved": {"healthy": 80, "failing": 20},
        "With what stands below, not saved yet": {"healthy": 80, "degraded": 20},
    }
    assert not SyncPolicy.objects.exists()


@pytest.mark.parametrize(
    ("typed", "field", "words"),
    [
        ({"failures_to_fail": "0"}, "failures_to_fail", "from 1 to 100"),
        ({"failures_to_fail": "two"}, "failures_to_fail", "“two” is no number"),
        ({"failures_to_fail": "1.5"}, "failures_to_fail", "a whole number"),
        ({"dlq_depth_warn": "-1"}, "dlq_depth_warn", "from 0 to"),
        ({"dlq_age_hours": "9" * 400}, "dlq_age_hours", "from 0 to"),
        ({"error_rate_warn_percent": "NaN"}, "error_rate_warn_percent", "from 0 to 100"),
        ({"error_rate_warn_percent": "0.0001"}, "error_rate_warn_percent", "at most 3 decimal places"),
        ({"error_rate_warn_percent": "30"}, "error_rate_warn_percent", "below degraded at 30"),
        ({"dlq_depth_warn": "50", "dlq_depth_fail": "40"}, "dlq_depth_fail", "Failing begins at 40"),
        ({"freshness_minutes": "59"}, "freshness_minutes", "it would be stale before each of them"),
        ({"window_hours": "\x00<b>"}, "window_hours", "is no number"),
    ],
)
def test_threshold_that_cannot_be_is_named_at_its_field(
    sync: Sync, operator: Client, typed: dict[str, str], field: str, words: str
):
    answer = operator.post(url(sync), typed)
    assert answer.status_code == 400
    assert list(answer.context["page"].problems) == [field]
    assert words in answer.context["page"].problems[field]
    assert "<b>" not in text(answer).split("<main")[-1].replace("<b>What", "")
    assert not SyncPolicy.objects.exists()


def test_thresholds_that_would_warn_nearly_always_say_so(sync: Sync, operator: Client):
    noisy = seeds.sync(sync.source, sync.destination, "Noisy")
    for hours in (160, 90, 20):
        seeds.run(noisy, "partial", refused=5, minutes_ago=hours * 60)
    answer = operator.post(url(noisy), {"failures_to_fail": "2"}, follow=True)
    assert "it would have been healthy for 0 % of the last 7 days" in text(answer)
    assert SyncPolicy.objects.filter(sync=noisy).exists()
    answer = operator.post(url(noisy), {"dlq_depth_warn": "10"}, follow=True)
    assert "The sync is judged by them from now on." in text(answer)


def test_thresholds_are_read_only_without_the_right(sync: Sync):
    reader = client_of()
    page = reader.get(url(sync))
    assert page.status_code == 200
    assert 'name="act"' not in text(page).split('class="rd-thresholds"')[-1]
    assert reader.post(url(sync), {"failures_to_fail": "2"}).status_code == 403


def test_thresholds_page_costs_few_queries(sync: Sync, operator: Client, django_assert_max_num_queries: Any):
    with django_assert_max_num_queries(24):
        operator.get(url(sync))


def test_every_threshold_is_a_column_and_has_its_default_in_words(sync: Sync):
    page = thresholds.page(sync, timezone.now())
    assert {field.name for field in SyncPolicy._meta.fields} - {"sync", "updated_at", "updated_by"} == set(THRESHOLDS)
    assert all(line.default for _title, lines in page.groups for line in lines)
