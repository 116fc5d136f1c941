"""The first page: what needs attention and what to do, figures over time, filters, the wall screen, and what teams may see."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from dlq.models import ErrorGroup, GroupDay, GroupHour
from dlq.services.group_counters import whole_hour
from monitoring.models import DepthHour, Incident, IncidentSync, SyncWatch
from syncs.models import Run, Sync, Tag, Team
from syncs.services import periods
from tests import seeds

pytestmark = pytest.mark.django_db
HOME = "/admin/"
FAILED = 40  # rows of one group in this hour


@pytest.fixture
def data() -> Any:
    made = seeds.console(run_count=2)
    for pk in Run.objects.filter(finished_at__isnull=False).values_list("pk", flat=True):
        periods.add(pk)
    group = ErrorGroup.objects.get(sync=made.syncs[0])
    now = timezone.now()
    GroupHour.objects.create(group=group, hour=whole_hour(now), failed_count=FAILED)
    GroupDay.objects.create(group=group, day=now.date(), failed_count=FAILED)
    return made


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def ana(data: Any) -> Client:
    return client_of(data.ana)


def tiles(answer: Any) -> dict[str, str]:
    return {tile.label: tile.value for tile in answer.context["tiles"]}


def test_figures_lead_to_lists_that_show_them(ana: Client, data: Any):
    answer = ana.get(HOME)
    found = tiles(answer)
    accepted = sum(Run.objects.filter(finished_at__isnull=False).values_list("accepted_count", flat=True))
    assert found == {
        "Failing syncs": "2",
        "Open incidents": "0",
        "Open dead letters": "586",
        "Dead-lettered": str(FAILED),
        "Rows accepted": f"{accepted:,}",
        "Failed run": "1",
    }
    for tile in answer.context["tiles"]:
        if tile.url:
            assert "could not be read" not in ana.get(tile.url).content.decode(), tile
    chart = answer.context["rows_chart"]
    assert chart.legend[0].value == f"{accepted:,}"
    assert sum(int(cells[0].replace(",", "")) for _name, cells in chart.rows) == accepted


def test_attention_says_why_and_what_to_do_first(ana: Client, data: Any):
    churn, revoked, airports = data.syncs[:3]
    group = ErrorGroup.objects.get(sync=churn)
    for sync, condition, cause, more in (
        (churn, "permission", f"sync:{churn.pk}:permission", {"group_id": group.pk}),
        (revoked, "credential", f"connection:{data.destination.pk}:auth", {}),
        (airports, "drift", f"sync:{airports.pk}:drift", {}),
    ):
        findings = [{"condition": condition, "level": "fail", "text": "x", "cause": cause, **more}]
        SyncWatch.objects.update_or_create(sync=sync, defaults={"judged_at": timezone.now(), "findings": findings})
    answer = ana.get(HOME)
    lines = answer.context["attention"]
    assert [(one["line"].name, one["step"]) for one in lines] == [
        (churn.name, "Look at the error"),
        (revoked.name, "Log in again"),
        (airports.name, "See what changed"),
    ]
    assert lines[1]["step_url"] == f"/admin/syncs/connection/{data.destination.pk}/change/"
    assert "The last 3 runs failed: the token was revoked." in answer.content.decode()
    assert all(ana.get(one["step_url"]).status_code == 200 for one in lines)


def test_page_costs_at_most_twelve_queries(data: Any, django_assert_max_num_queries: Any):
    names = ("syncs.view_sync", "syncs.view_run", "dlq.view_dlqentry", "monitoring.view_incident")
    user = seeds.user("mia", *names)
    team = Team.objects.create(name="Others")
    Sync.objects.filter(pk=data.syncs[9].pk).update(team=team)
    client = client_of(user)
    for address in (HOME, f"{HOME}?period=90d&owner={data.ana.pk}&wall=1"):
        with django_assert_max_num_queries(12):
            assert client.get(address).status_code == 200


def test_every_period_adds_up_what_it_covers(ana: Client, data: Any):
    for period in ("24h", "7d", "30d", "90d", "1y"):
        answer = ana.get(f"{HOME}?period={period}")
        assert tiles(answer)["Dead-lettered"] == str(FAILED), period
        assert answer.context["types_chart"].legend[0].value == str(FAILED), period
        assert len(answer.context["noisy_groups"]) == 1, period


def test_filters_narrow_every_figure_and_stay_in_the_address(ana: Client, data: Any):
    data.syncs[0].tags.add(Tag.objects.create(name="churn"))
    answer = ana.get(f"{HOME}?tag=churn&period=30d")
    assert tiles(answer)["Open dead letters"] == "174"
    assert {line.name for line in answer.context["dashboard"].lines} == {data.syncs[0].name}
    assert answer.context["filter"].query() == "?tag=churn&period=30d"
    assert answer.context["filter"].chips == [("Tag: churn", "?period=30d")]
    assert tiles(ana.get(f"{HOME}?owner={data.bo.pk}"))["Open dead letters"] == "0"
    names = {line.name for line in ana.get(f"{HOME}?connection={data.other.pk}&owner=none").context["dashboard"].lines}
    assert names == {"Lifetime value to Billing"}


UNREADABLE = [
    ("tag=nowhere", "Tag: there is no “nowhere”"),
    ("owner=0%20OR%201", "Owner: there is no “0 OR 1”"),
    ("period=9y", "Period: there is no “9y”. Known: 24h"),
    ("conection=1", "no filter called “conection”"),
]


def test_filter_that_cannot_be_read_shows_nothing_and_says_why(ana: Client):
    for query, sentence in UNREADABLE:
        answer = ana.get(f"{HOME}?{query}&wall=1")
        assert answer.status_code == 400, query
        assert sentence in answer.content.decode(), query
        assert "tiles" not in answer.context, query


def test_wall_screen_loads_itself_again_and_has_no_menu(ana: Client):
    html = ana.get(f"{HOME}?wall=1&period=24h").content.decode()
    assert '<noscript><meta http-equiv="refresh" content="60"></noscript>' in html
    assert 'id="rd-wall" data-seconds="60"' in html
    assert 'class="rd-nav"' not in html
    assert 'href="?period=24h"' in html  # the way back keeps the period


def test_person_of_one_team_learns_nothing_of_another(data: Any):
    """Neither lines nor sums nor choices; of a shared incident only his own sync."""
    theirs = Team.objects.create(name="Theirs")
    hidden, seen = data.syncs[0], data.syncs[2]
    hidden.tags.add(Tag.objects.create(name="hidden-tag"))
    Sync.objects.filter(pk=hidden.pk).update(team=theirs)
    shared, own = (
        Incident.objects.create(cause=f"connection:{n}:auth", condition="credential", severity="page", title=f"Incident {n}")
        for n in (1, 2)
    )
    for incident, sync in ((shared, hidden), (shared, seen), (own, hidden)):
        IncidentSync.objects.create(incident=incident, sync=sync)
    DepthHour.objects.create(sync=hidden, hour=whole_hour(timezone.now()), open_count=99)
    user = seeds.viewer()
    user.user_permissions.add(seeds.Permission.objects.get(codename="view_incident"))
    answer = client_of(user).get(f"{HOME}?period=24h")
    html = answer.content.decode()
    for secret in (hidden.name, "hidden-tag", "Incident 2"):
        assert secret not in html, secret
    assert tiles(answer)["Open dead letters"] == "412"
    assert tiles(answer)["Dead-lettered"] == "0"
    assert [one["names"] for one in answer.context["incidents"]] == [[seen.name]]
    assert max(point.depth for point in answer.context["dashboard"].depth) == 0
    assert client_of(user).get(f"{HOME}?tag=hidden-tag").status_code == 400


def test_depth_and_oldest_age_are_drawn_up_to_now(ana: Client, data: Any, time_machine: Any):
    now = datetime(2026, 11, 23, 14, 20, tzinfo=UTC)
    time_machine.move_to(now, tick=False)
    since = now - timedelta(hours=30)
    for hours, depth in ((3, 10), (1, 700)):
        DepthHour.objects.create(
            sync=data.syncs[0], hour=whole_hour(now) - timedelta(hours=hours), open_count=depth, oldest_failed_at=since
        )
    answer = client_of(data.bo).get(f"{HOME}?period=24h")
    numbers = dict(answer.context["depth_chart"].rows)
    assert numbers["now"] == ["586"]
    assert (numbers["23 Nov 11:00"], numbers["23 Nov 12:00"], numbers["23 Nov 13:00"]) == (["10"], ["10"], ["700"])
    assert dict(answer.context["age_chart"].rows)["23 Nov 13:00"] == ["1 d 4 h"]


def test_late_syncs_and_ages_of_the_last_good_run(ana: Client, data: Any):
    late = data.syncs[5]
    Run.objects.filter(sync=late, status="running").delete()
    Sync.objects.filter(pk=late.pk).update(next_run_at=timezone.now() - timedelta(hours=3))
    answer = ana.get(HOME)
    assert [one["line"].name for one in answer.context["behind"]] == [late.name]
    assert "A scheduled run has not started." in answer.content.decode()
    counted = {age["label"]: age["count"] for age in answer.context["freshness"]}
    assert sum(counted.values()) == 9  # the paused one is not waited for
    assert counted["Never"] == 1


def test_person_without_rights_is_told_so(data: Any):
    html = client_of(User.objects.create_user("nobody", is_staff=True)).get(HOME).content.decode()
    assert "Your account has no rights here" in html
    assert "Churn scores" not in html


def test_empty_console_invites(admin_client: Client):
    html = admin_client.get(HOME).content.decode()
    for sentence in ("Nothing needs attention", "No run ended in this time", "No row was refused", "No open incident"):
        assert sentence in html


def test_hostile_names_and_reasons_are_text(ana: Client, data: Any):
    Sync.objects.filter(pk=data.syncs[0].pk).update(name="<img src=x onerror=alert(1)>", status_reason="\u202e<b>evil")
    html = ana.get(HOME).content.decode()
    assert "<img src=x" not in html
    assert "<b>evil" not in html
    assert "\u202e" not in html
