"""The sync, run and connection lists: what they show, what they cost, and that a wrong filter never widens them."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from syncs.models import Run, Sync
from tests import seeds

pytestmark = pytest.mark.django_db
SYNCS, RUNS, CONNECTIONS = (f"/admin/syncs/{name}/" for name in ("sync", "run", "connection"))


@pytest.fixture
def data() -> Any:
    return seeds.console(run_count=4)


@pytest.fixture
def ana(data: Any) -> Client:
    client = Client()
    client.force_login(data.ana)
    return client


def page(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.mark.parametrize("url", [SYNCS, RUNS, CONNECTIONS, "/admin/"])
def test_list_costs_at_most_twelve_queries(ana: Client, url: str, django_assert_max_num_queries: Any):
    with django_assert_max_num_queries(12):
        page(ana, url)


def test_list_cost_does_not_grow_with_rows(ana: Client, data: Any, django_assert_max_num_queries: Any):
    for number in range(25):
        sync = seeds.sync(data.source, data.destination, f"More {number}", owner=data.bo)
        seeds.run(sync, minutes_ago=number + 1)
    with django_assert_max_num_queries(12):
        page(ana, SYNCS)
    with django_assert_max_num_queries(12):
        page(ana, RUNS)


def test_sync_list_starts_with_what_fails_and_says_why(ana: Client):
    html = page(ana, SYNCS)
    order = [
        html.index(name) for name in ("Churn scores to Adwise", "Airports to Sandbox CRM", "Accounts to Billing", "Invoices")
    ]
    assert order == sorted(order)
    assert "Error rate 8.2 % is over the 2 % budget." in html
    assert "daily at 02:00" in html
    assert "Europe/Berlin" in html


def test_sync_list_links_open_dead_letters_by_number(ana: Client, data: Any):
    html = page(ana, SYNCS)
    link = (
        reverse("admin:dlq_dlqentry_changelist")
        + f"?sync={data.syncs[2].pk}&amp;status=open&amp;status=queued&amp;status=inflight"
    )
    assert f'<a href="{link}">412</a>' in html
    assert ana.get(link.replace("&amp;", "&")).status_code == 200


def test_sync_list_filters_by_status_destination_and_owner(ana: Client, data: Any):
    html = page(ana, f"{SYNCS}?status=failing&status=paused&owner={data.ana.pk}&destination={data.other.pk}")
    assert "Accounts to Billing" in html
    assert "Churn scores" not in html
    assert "Status: Paused" in html


def test_sync_list_search_leaves_out_the_rest(ana: Client):
    html = page(ana, f"{SYNCS}?q=airports")
    assert "Airports to Sandbox CRM" in html
    assert "Invoices to Ledgerly" not in html


def test_archived_sync_is_not_listed(ana: Client, data: Any):
    Sync.objects.filter(pk=data.syncs[5].pk).update(is_archived=True)
    assert "Contacts to Sandbox CRM" not in page(ana, SYNCS)


BAD_FILTERS = [
    (SYNCS, "status=broken", "Status: there is no “broken”"),
    (SYNCS, "owner=99999", "Owner: there is no “99999”"),
    (SYNCS, "destination=1%20OR%201=1", "Destination: there is no “1 OR 1=1”"),
    (SYNCS, "name__startswith=x", "no filter called “name__startswith”"),
    (SYNCS, "p=77", "There is no page 77"),
    (RUNS, "status=failed&status=nonsense", "Status: there is no “nonsense”"),
    (RUNS, "sync=abc", "Sync: there is no “abc”"),
    (RUNS, "since=yesterday", "no period “yesterday”"),
    (RUNS, "from=23/11/2026", "“23/11/2026” is no time"),
    (RUNS, "from=2026-11-23T10:00&to=2026-11-23T09:00", "ends before it starts"),
    (RUNS, "since=24h&from=2026-11-23", "not both"),
    (RUNS, "before=-1", "“-1” is no place in this list"),
    (RUNS, "before=9999999999999999999999", "is no place in this list"),
    (RUNS, "sync__owner__password__startswith=a", "no filter called"),
    (CONNECTIONS, "state=lost", "State: there is no “lost”"),
]


@pytest.mark.parametrize(("url", "query", "sentence"), BAD_FILTERS)
def test_wrong_filter_shows_nothing_and_says_why(ana: Client, url: str, query: str, sentence: str):
    html = page(ana, f"{url}?{query}")
    assert sentence in html
    assert "result_list" not in html


def test_wrong_filter_lets_an_action_act_on_nothing(ana: Client, data: Any):
    chosen = {"action": "pause_selected", "_selected_action": [data.syncs[5].pk], "select_across": "1"}
    ana.post(f"{SYNCS}?status=broken", chosen)
    assert not Sync.objects.get(pk=data.syncs[5].pk).is_paused


def test_run_list_pages_without_offset_or_gap(ana: Client, data: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("syncs.admin.runs.RunAdmin.list_per_page", 10)
    seen: list[int] = []
    url = RUNS
    while url:
        cl = ana.get(url).context["cl"]
        seen += [run.pk for run in cl.result_list]
        url = RUNS + cl.older_link if cl.older_link else ""
    assert seen == list(Run.objects.order_by("-id").values_list("pk", flat=True))


def test_run_list_keeps_filters_on_the_next_page(ana: Client, data: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("syncs.admin.runs.RunAdmin.list_per_page", 2)
    cl = ana.get(f"{RUNS}?sync={data.syncs[6].pk}&status=succeeded").context["cl"]
    following = ana.get(RUNS + cl.older_link).context["cl"]
    assert {run.sync_id for run in following.result_list} == {data.syncs[6].pk}
    assert not {run.pk for run in following.result_list} & {run.pk for run in cl.result_list}


def test_run_list_does_not_count_beyond_the_cap(ana: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("syncs.console.changelist.COUNT_CAP", 5)
    assert "More than 5 runs" in page(ana, RUNS)


def test_run_list_filters_by_time(ana: Client, data: Any):
    pks = {run.pk for run in ana.get(f"{RUNS}?since=1h").context["cl"].result_list}
    assert {data.partial.pk, data.failed.pk, data.live.pk} <= pks
    assert all(pk >= data.partial.pk for pk in pks)


def test_actions_run_pause_and_resume_the_selection(ana: Client, data: Any):
    pks = [data.syncs[6].pk, data.syncs[7].pk]
    ana.post(SYNCS, {"action": "pause_selected", "_selected_action": pks})
    assert Sync.objects.filter(pk__in=pks, is_paused=True).count() == 2
    answer = ana.post(SYNCS, {"action": "run_selected", "_selected_action": [pks[0]]}, follow=True)
    assert "is paused. Resume it, then run it." in answer.content.decode()
    ana.post(SYNCS, {"action": "resume_selected", "_selected_action": pks})
    assert not Sync.objects.filter(pk__in=pks, is_paused=True).exists()
    ana.post(SYNCS, {"action": "run_selected", "_selected_action": pks})
    queued = Run.objects.filter(status="queued", sync__in=pks)
    assert queued.count() == 2
    assert {run.requested_by_id for run in queued} == {data.ana.pk}


def test_viewer_sees_lists_without_acts(data: Any):
    client = Client()
    client.force_login(seeds.viewer())
    html = page(client, SYNCS)
    assert "Churn scores to Adwise" in html
    for word in ("Run now", "New sync", "action-select"):
        assert word not in html
    client.post(SYNCS, {"action": "pause_selected", "_selected_action": [data.syncs[6].pk]})
    assert not Sync.objects.get(pk=data.syncs[6].pk).is_paused


@pytest.mark.parametrize("url", [SYNCS, RUNS, CONNECTIONS])
def test_staff_without_rights_is_refused(data: Any, url: str):
    client = Client()
    client.force_login(User.objects.create_user("nobody", is_staff=True))
    assert client.get(url).status_code == 403


def test_background_queue_has_no_pages(admin_client: Client):
    assert admin_client.get("/admin/django_q/").status_code == 404
