"""The list of error groups and the page of one, through the browser's door: what they show, refuse and never do."""

from __future__ import annotations

import html
import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from dlq.choices import Door, GroupState
from dlq.models import DLQEntry, ErrorGroup, FingerprintRule, GroupDay, GroupEvent
from dlq.services import group_acts
from dlq.services.moves import ActRefusedError
from syncs.models import Sync, Team
from tests.dlq.group_world import group_of, rejected, store
from tests.dlq.objects import client_of, make_entries, make_entry, make_group, make_run, make_user
from tests.syncs.objects import make_sync

pytestmark = pytest.mark.django_db

LIST = "/admin/dlq/errorgroup/"
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "\u202egnp.exe\u2066\u200b",
    "{% csrf_token %}{{ request }}",
    "' onmouseover='alert(1)",
]


def page_url(group: ErrorGroup) -> str:
    return reverse("admin:dlq_errorgroup_change", args=(group.pk,))


def act(client: Client, group: ErrorGroup, name: str, **values: str) -> Any:
    return client.post(reverse("admin:dlq_errorgroup_act", args=(group.pk,)), {"act": name, **values}, follow=True)


def titles(response: Any) -> list[str]:
    return re.findall(r"group-[a-z0-9]+\.", response.content.decode())


def shown(response: Any) -> list[str]:
    """Each group once, in order."""
    return list(dict.fromkeys(titles(response)))


def group(sync: Sync, name: str, **values: Any) -> ErrorGroup:
    return make_group(sync, **{"title": f"group-{name}.", "open_count": 1, "total_count": 1, **values})


# --- the list


def test_list_counts_and_leads_to_the_group_and_its_entries(root: Client) -> None:
    run = make_run(make_sync())
    mine = make_group(run.sync, title="Value … is not valid")
    make_entries(7, run, mine)
    make_group(run.sync, title="Settled")
    text = root.get(LIST).content.decode()
    assert "Value … is not valid" in text
    assert "Settled" not in text
    assert page_url(mine) in text
    link = re.search(r'href="([^"]+group=[^"]+)"', text)
    assert link
    found = root.get(link.group(1).replace("&amp;", "&")).content.decode()
    assert len(re.findall(r'class="rd-key"', found)) == 7
    assert "Settled" in root.get(f"{LIST}?show=all").content.decode()


@pytest.mark.parametrize(
    "bad",
    [
        "show=x", "sync=x", "sync=999999", "foo=1", "after=1", "state=done", "error_type=nope", "owner=somebody", "sort=oldest",
        "sort=most&after=2026-11-23T09:30%2B00:00_1", "after=99_1", "show=open&show=all", "q=a&q=b", "q=" + "x" * 201, "q=%00",
        "owner=me&owner=none", "sync=1%20or%201", "state=open&state=junk",
    ],
)  # fmt: skip
def test_a_filter_that_cannot_be_read_is_refused_and_shows_nothing(root: Client, bad: str) -> None:
    group(make_sync(), "a")
    page = root.get(f"{LIST}?{bad}")
    assert page.status_code == 400
    assert not titles(page)
    assert "cannot be read" in page.content.decode()


@pytest.mark.parametrize(
    "odd", ["sort=most&after=999999999999999999_1", "after=0001-01-01T00:00:00%2B00:00_1", "owner=99999999"]
)
def test_an_odd_but_readable_filter_is_no_error(root: Client, odd: str) -> None:
    group(make_sync(), "a")
    assert root.get(f"{LIST}?{odd}").status_code == 200


def test_each_filter_narrows_the_list(root: Client) -> None:
    one, two = make_sync(), make_sync()
    me = User.objects.get(username="root")
    group(one, "a", state=GroupState.ACKNOWLEDGED, owner=me)
    group(two, "b", error_type="timeout", error_code="E_42", field="city")
    group(two, "c", open_count=0, note="ask Kim")
    for query, expected in {
        "": "ab", "show=all": "abc", f"sync={one.pk}": "a", f"sync={one.pk}&sync={two.pk}": "ab", "state=acknowledged": "a",
        "error_type=timeout": "b", "owner=me": "a", "owner=none": "b", f"owner={me.pk}": "a", "q=E_4": "b", "q=CITY": "b",
        "q=group-a": "a", "q=kim&show=all": "c", "q=%25": "", "state=open&owner=none&show=all": "bc",
    }.items():  # fmt: skip
        found = shown(root.get(f"{LIST}?{query}"))
        assert sorted(found) == [f"group-{name}." for name in expected], query


def test_chips_take_one_condition_away(root: Client) -> None:
    sync = make_sync(name="Customers")
    group(sync, "a")
    page = root.get(f"{LIST}?sync={sync.pk}&state=open&error_type=validation&owner=none&q=group")
    links = [link.replace("&amp;", "&") for link in re.findall(r'rd-chip-remove" href="([^"]+)"', page.content.decode())]
    assert len(links) == 5
    for link in links:
        follow = root.get(link)
        assert follow.status_code == 200
        assert len(re.findall("rd-chip-remove", follow.content.decode())) == 4


@pytest.mark.parametrize("sort", ["newest", "most"])
@pytest.mark.parametrize("show", ["open", "all"])
def test_pages_show_each_group_once_and_in_order(root: Client, sort: str, show: str) -> None:
    sync = make_sync()
    now = timezone.now()
    for number in range(120):
        seen = now - timedelta(minutes=number // 3)  # several at the same moment, and with the same count
        group(sync, f"n{number}", open_count=1 + number % 7, total_count=9, last_seen_at=seen)
    url, found = f"{LIST}?show={show}&sort={sort}", []
    while url:
        page = root.get(url)
        found += shown(page)
        older = re.search(r'rel="next" href="([^"]+)"', page.content.decode())
        url = html.unescape(older.group(1)) if older else ""
    column = "-open_count" if sort == "most" else "-last_seen_at"
    assert found == list(ErrorGroup.objects.order_by(column, "-id").values_list("title", flat=True))


def test_sparkline_says_its_numbers_in_words(root: Client) -> None:
    mine = group(make_sync(), "a")
    now = timezone.now()
    for days, count in ((0, 20), (0, 3), (13, 4), (14, 500)):
        line, _ = GroupDay.objects.get_or_create(group=mine, day=(now - timedelta(days=days)).date())
        GroupDay.objects.filter(pk=line.pk).update(failed_count=line.failed_count + count)
    text = root.get(LIST).content.decode()
    assert f'aria-label="27 failures in 14 days, most on {now.day} {now:%b}: 23"' in text
    path = re.search(r'<path class="rd-fill-bad" d="([^"]+)"', text)
    assert path
    assert path.group(1).count("z") == 2


# --- the page


def test_page_says_what_it_is_what_it_means_and_in_which_runs_it_was_seen(root: Client) -> None:
    sync = make_sync(name="Customers")
    first, last = make_run(sync), make_run(sync)
    store(first, [rejected("a", "'x' is not a valid email address"), rejected("b", "'y' is not a valid email address")])
    store(last, [rejected("c", "'z' is not a valid email address")])
    text = root.get(page_url(group_of("a"))).content.decode()
    for words in (
        "email is not a valid email address", "Customers", "The destination refused a value", "Correct the value in",
        f"run {first.pk}", f"run {last.pk}", f"version {last.version.number if last.version else ''}",
        "3 failures in 14 days", "Newest dead letters",
    ):  # fmt: skip
        assert words in text, words
    for key in "abc":
        assert f"<bdi>{key}</bdi>" in text


def test_page_tells_what_the_refused_values_have_in_common(root: Client) -> None:
    run = make_run(make_sync())
    mine = make_group(run.sync, field="email", title="… is not a valid email address")
    for number in range(6):
        make_entry(run, group=mine, payload=json.dumps({"id": number, "email": f"person{number}.example.test"}))
    text = root.get(page_url(mine)).content.decode()
    assert "All 6 lack an @." in text
    assert "person3.example.test" not in text  # an e-mail address is nobody's business here
    assert "***" in text


def test_values_of_people_are_masked_unless_the_house_shows_them(settings: Any) -> None:
    run = make_run(make_sync())
    mine = make_group(run.sync, field="email", title="… is not a valid email address")
    make_entry(run, group=mine, payload=json.dumps({"email": "anasecret"}), message="“anasecret” is wrong")
    reader = client_of("view_errorgroup", "view_dlqentry", "reveal_dlqentry")
    masked = reader.get(page_url(mine)).content.decode()
    assert "anasecret" not in masked
    assert "Values of this field are masked" in masked
    settings.RETL = settings.RETL | {"MASK_PAGES": False}
    assert reader.get(page_url(mine)).content.decode().count("anasecret") == 2
    nothing = client_of("view_errorgroup").get(page_url(mine)).content.decode()
    assert "Values of" not in nothing
    assert "Newest dead letters" not in nothing


@pytest.mark.parametrize("span", ["48h", "14d", "90d"])
def test_chart_has_its_numbers_beneath(root: Client, span: str) -> None:
    store(make_run(make_sync()), [rejected("a", "wrong")])
    text = root.get(f"{page_url(group_of('a'))}?span={span}").content.decode()
    assert "1 failure in" in text
    assert re.search(r'<th scope="row">[^<]+</th><td class="num">1</td>', text)
    assert root.get(f"{page_url(group_of('a'))}?span=junk").status_code == 404


def test_bulk_buttons_take_the_whole_group(root: Client) -> None:
    run = make_run(make_sync())
    mine = make_group(run.sync)
    make_entries(3, run, mine)
    make_entries(2, run, make_group(run.sync))
    text = root.get(page_url(mine)).content.decode()
    form = re.search(r'<form[^>]+action="([^"]+/bulk/)">(.*?)</form>', text, re.DOTALL)
    assert form
    fields = dict(re.findall(r'<input type="hidden" name="(filter|across)" value="([^"]+)"', form.group(2)))
    buttons = re.findall(r'name="act" value="(\w+)"', form.group(2))
    assert {"reprocess", "discard", "export"} <= set(buttons)
    answer = root.post(form.group(1), {"filter": html.unescape(fields["filter"]), "across": fields["across"], "act": "discard"})
    assert answer.status_code == 200
    assert re.search(r"\b3\b", answer.content.decode())


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_shown_and_do_nothing(root: Client, text: str) -> None:
    sync = make_sync()
    run = make_run(sync)
    mine = make_group(sync, title=text, error_code=text, field=text, note=text)
    make_entry(run, group=mine, row_key=text, message=text * 40, field=text, payload=json.dumps({text: text}))
    GroupEvent.objects.create(group=mine, kind="noted", reason=text, detail={"note": text})
    FingerprintRule.objects.create(sync=sync, kind="merge", pattern=text, title=text, target=mine)
    urls = (LIST, page_url(mine), f"/admin/dlq/errorgroup/{mine.pk}/rule/?kind=split", "/admin/dlq/fingerprintrule/")
    for url in urls:
        page = root.get(url)
        assert page.status_code == 200, url
        body = re.sub(r'<textarea.*?</textarea>|value="[^"]*"', "", page.content.decode(), flags=re.DOTALL)  # for editing
        for raw in ("<script>alert", "<img src=x", "\u202e", "' onmouseover='"):
            assert raw not in body, (url, raw)


# --- acts


def test_a_group_is_acknowledged_resolved_and_reopened_with_its_history(root: Client) -> None:
    run = make_run(make_sync())
    mine = make_group(run.sync)
    make_entries(2, run, mine)
    assert "is acknowledged" in act(root, mine, "acknowledge").content.decode()
    answer = act(root, mine, "resolve", reason="phones were repaired").content.decode()
    assert "2 dead letters of it are still open" in answer
    assert "Marked as resolved, with 2 dead letters still open" in answer
    assert "phones were repaired" in answer
    mine.refresh_from_db()
    assert mine.state == GroupState.RESOLVED
    act(root, mine, "reopen")
    mine.refresh_from_db()
    assert mine.state == GroupState.OPEN
    events = GroupEvent.objects.filter(group=mine)
    assert [event.kind for event in events] == ["acknowledged", "resolved", "reopened"]
    assert {(event.actor.username if event.actor else "", event.door) for event in events} == {("root", Door.ADMIN)}
    assert DLQEntry.objects.filter(group=mine, status="open").count() == 2


def test_an_act_that_is_not_fitting_changes_nothing_and_says_why(root: Client) -> None:
    mine = make_group(make_sync())
    for name, values, words in (
        ("reopen", {}, "is open already"), ("resolve", {"reason": " "}, "Give a reason"),
        ("resolve", {"reason": "x" * 256}, "256 characters"), ("assign", {"owner": "7777777"}, "no such user"),
        ("assign", {"owner": "x"}, "no such user"), ("assign", {"owner": ""}, "has no owner"),
        ("runbook", {"runbook_url": "javascript:alert(1)"}, "https://"), ("note", {"note": "x" * 10_001}, "at most 10,000"),
    ):  # fmt: skip
        assert words in act(root, mine, name, **values).content.decode(), (name, values)
    mine.refresh_from_db()
    assert (mine.state, mine.owner, mine.note, mine.runbook_url) == (GroupState.OPEN, None, "", "")
    assert not GroupEvent.objects.exists()
    assert root.post(reverse("admin:dlq_errorgroup_act", args=(mine.pk,)), {"act": "explode"}).status_code == 404
    assert root.get(reverse("admin:dlq_errorgroup_act", args=(mine.pk,))).status_code == 405


def test_owner_note_and_runbook_are_kept_and_shown(root: Client) -> None:
    mine, kim = make_group(make_sync()), make_user(name="kim")
    act(root, mine, "assign", owner=str(kim.pk))
    act(root, mine, "note", note="ask the warehouse team")
    answer = act(root, mine, "runbook", runbook_url="https://wiki.example.test/phones?a=1&b=2").content.decode()
    mine.refresh_from_db()
    assert (mine.owner, mine.note) == (kim, "ask the warehouse team")
    assert 'href="https://wiki.example.test/phones?a=1&amp;b=2" rel="noopener noreferrer nofollow"' in answer
    assert "Assigned to <bdi>kim</bdi>" in answer
    act(root, mine, "assign", owner="me")
    mine.refresh_from_db()
    assert mine.owner == User.objects.get(username="root")
    outsider = User.objects.create_user("outsider")
    assert "cannot sign in here" in act(root, mine, "assign", owner=str(outsider.pk)).content.decode()


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.test/", "javascript:alert(1)", "//a.test/x", "https://", "https:///x", "wiki.example.test", "https://a.t/ b",
        "https://user:secret@a.test/", "data:text/html,x", "https://a.test/\u202e", 'https://a.test/"x', "http://[::1", "https://a:x/",
        "https://a.test/" + "x" * 500,
    ],
)  # fmt: skip
def test_a_runbook_is_linked_by_http_alone(url: str) -> None:
    with pytest.raises(ActRefusedError):
        group_acts.checked_url(url)


def test_two_people_resolving_at_once_leave_one_event() -> None:
    mine = make_group(make_sync())
    stale = ErrorGroup.objects.get(pk=mine.pk)
    group_acts.resolve(mine, by=None, door=Door.CLI, reason="fixed")
    with pytest.raises(ActRefusedError, match="resolved already"):
        group_acts.resolve(stale, by=None, door=Door.CLI, reason="fixed too")
    assert GroupEvent.objects.filter(group=mine).count() == 1


# --- who may


def test_pages_and_acts_need_their_permissions() -> None:
    mine = make_group(make_sync())
    rule = FingerprintRule.objects.create(sync=mine.sync, kind="merge", pattern="abc", title="t", target=mine)
    at_act, at_rule = (reverse(f"admin:dlq_errorgroup_{name}", args=(mine.pk,)) for name in ("act", "rule"))
    at_switch = reverse("admin:dlq_fingerprintrule_switch", args=(rule.pk,))
    nobody, viewer = client_of(), client_of("view_errorgroup", "view_fingerprintrule")
    for url in (LIST, page_url(mine), f"{at_rule}?kind=merge", "/admin/dlq/fingerprintrule/"):
        assert nobody.get(url).status_code == 403, url
    for url in (LIST, page_url(mine), "/admin/dlq/fingerprintrule/"):
        assert viewer.get(url).status_code == 200, url
    assert viewer.get(f"{at_rule}?kind=merge").status_code == 403
    for url, data in (
        (at_act, {"act": "acknowledge"}), (at_rule, {"kind": "merge", "pattern": "abc"}), (at_switch, {"to": "off"})
    ):  # fmt: skip
        assert viewer.post(url, data).status_code == 403, url
    assert 'value="acknowledge"' not in viewer.get(page_url(mine)).content.decode()
    assert client_of("view_errorgroup", "annotate_dlqentry").post(at_act, {"act": "acknowledge"}).status_code == 302
    ruler = client_of("view_errorgroup", "view_fingerprintrule", "change_fingerprintrule")
    assert ruler.get(f"{at_rule}?kind=merge").status_code == 200
    assert ruler.post(at_act, {"act": "resolve", "reason": "x"}).status_code == 403
    assert ruler.post(at_switch, {"to": "off"}).status_code == 302
    assert Client().get(LIST).status_code == 302


def test_groups_of_other_teams_are_not_there() -> None:
    team = Team.objects.create(name="sales")
    mine = group(make_sync(team=team), "theirs")
    everybody = group(make_sync(), "ours")
    viewer = client_of("view_errorgroup", "annotate_dlqentry", "view_fingerprintrule", "change_fingerprintrule")
    assert shown(viewer.get(LIST)) == ["group-ours."]
    assert viewer.get(f"{LIST}?sync={mine.sync_id}").status_code == 400
    assert viewer.get(page_url(mine)).status_code == 404
    assert viewer.post(reverse("admin:dlq_errorgroup_act", args=(mine.pk,)), {"act": "acknowledge"}).status_code == 404
    at_rule = reverse("admin:dlq_errorgroup_rule", args=(everybody.pk,))
    assert viewer.get(f"{at_rule}?kind=merge&other={mine.pk}").status_code == 404
    rule = FingerprintRule.objects.create(sync=mine.sync, kind="merge", pattern="abc", title="t-rule", target=mine)
    assert "t-rule" not in viewer.get("/admin/dlq/fingerprintrule/").content.decode()
    assert viewer.post(reverse("admin:dlq_fingerprintrule_switch", args=(rule.pk,)), {"to": "off"}).status_code == 404


# --- what it costs


def support() -> Client:
    client = Client()
    user = make_user("view_errorgroup", "view_dlqentry", "annotate_dlqentry", "reprocess_dlqentry", "discard_dlqentry")
    user.user_permissions.add(*Permission.objects.filter(codename__in=("change_fingerprintrule", "view_sync", "view_run")))
    client.force_login(user)
    return client


def test_list_of_fifty_groups_takes_at_most_twelve_queries(django_assert_max_num_queries: Any) -> None:
    client, kim = support(), make_user(name="kim")
    for number in range(55):
        mine = group(make_sync(), f"n{number}", owner=kim)
        GroupDay.objects.create(group=mine, day=timezone.now().date(), failed_count=number)
    for query in ("", f"?owner={kim.pk}&q=group&show=all&sort=most"):
        with django_assert_max_num_queries(12):
            page = client.get(LIST + query)
        assert len(shown(page)) == 50


@pytest.mark.parametrize("count", [3, 1_200])
def test_page_takes_at_most_twelve_queries(count: int, django_assert_max_num_queries: Any) -> None:
    client = support()
    run = make_run(make_sync())
    mine = make_group(run.sync, field="email", first_run=run, last_run=run, owner=make_user(name="kim"))
    make_entries(count, run, mine)
    FingerprintRule.objects.create(sync=run.sync, kind="merge", pattern="abc", title="t", target=mine)
    for number in range(60):
        GroupEvent.objects.create(group=mine, kind="noted", actor=mine.owner, detail={"note": str(number)})
    with django_assert_max_num_queries(12):
        page = client.get(page_url(mine))
    assert page.status_code == 200
    assert ("the newest 1,000 of 1,200" in page.content.decode()) == (count > 1_000)
