"""The page of the dead letter list: filters with their counts, chips, lines, pages, empty states."""

from __future__ import annotations

import html
import json
import re
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlencode, urlsplit

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dlq.choices import EntryStatus, RowState
from dlq.models import DLQEntry, SavedView
from dlq.services import selection
from dlq.services.lines import lines
from dlq.services.offers import Offers, offers, person
from dlq.services.selection import EntryFilter
from syncs.models import Sync, Team
from tests.dlq.objects import client_of, logged_in, make_entries, make_entry, make_group, make_run, make_user
from tests.syncs.objects import make_connection, make_sync

pytestmark = pytest.mark.django_db

LIST = "/admin/dlq/dlqentry/"
HOSTILE = '"><img src=x onerror=alert(1)>\u202e'


@pytest.fixture
def ana() -> User:
    return User.objects.create_superuser("ana", first_name="Ana", last_name="Lopes")


@pytest.fixture
def root(client: Client, ana: User) -> Client:
    client.force_login(ana)
    return client


def page_of(client: Client, query: str = "status=open") -> Any:
    return client.get(f"{LIST}?{query}")


def keys_of(response: Any) -> list[str]:
    return re.findall(r'class="rd-key"><a href="[^"]+"><bdi>([^<]+)</bdi>', response.content.decode())


def option(response: Any, name: str, value: str) -> Any:
    """One offered value of a filter, wherever in the bar it is."""
    bar = response.context["bar"]
    popover = next(one for one in (*bar.main, *bar.more) if one.name == name)
    return next((one for one in popover.options if one.value == value), None)


# --- filters


@pytest.fixture
def mixed(ana: User) -> Sync:
    sync = make_sync(name="Customers")
    run = make_run(sync)
    group = make_group(sync, error_code="INVALID_EMAIL")
    old = timezone.now() - timedelta(days=9)
    make_entry(run, group=group, row_key="plain", error_code="INVALID_EMAIL")
    make_entry(run, group=group, row_key="mine", owner=ana, row_state=RowState.CHANGED, attempt_count=5)
    make_entry(run, group=group, row_key="old", first_failed_at=old, http_status=None, error_type="unknown_outcome")
    make_entry(run, group=group, row_key="done", status=EntryStatus.RESOLVED)
    return sync


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("owner=me", {"mine"}),
        ("owner=none", {"plain", "old"}),
        ("row=changed", {"mine"}),
        ("row=unknown", {"plain", "old"}),
        ("attempts=3", {"mine"}),
        ("age=7d", {"old"}),
        ("code=none", {"old"}),
        ("error_code=INVALID_EMAIL", {"plain"}),
        ("error_type=unknown_outcome", {"old"}),
        ("status=any", {"plain", "mine", "old", "done"}),
        ("q=pla", {"plain"}),
        ("key=mine", {"mine"}),
    ],
)
def test_each_filter_narrows_has_its_box_ticked_and_one_chip_that_takes_it_back(
    root: Client, mixed: Sync, query: str, wanted: set[str]
) -> None:
    page = page_of(root, query)
    assert set(keys_of(page)) == wanted
    name, value = query.split("=")
    if name not in ("q", "key", "attempts"):
        assert option(page, name, value).is_chosen
    default = 0 if query == "status=any" else 1
    chips = page.context["chips"]
    assert len(chips) == (0 if query == "status=any" else 1 + default)
    for chip in chips:
        assert root.get(f"{LIST}?{chip.query}").status_code == 200
    if len(chips) == 2:
        without = next(chip for chip in chips if chip.title != "Status")
        assert set(keys_of(page_of(root, without.query))) == {"plain", "mine", "old"}


def test_connection_filter_is_offered_by_name_and_narrows(root: Client, mixed: Sync) -> None:
    other = make_sync(name="Other", destination=make_connection(name="Billing", role="destination"))
    make_entry(make_run(other), row_key="theirs")
    page = page_of(root, f"connection={other.destination_id}")
    assert keys_of(page) == ["theirs"]
    assert option(page, "connection", str(other.destination_id)).label == "Billing"
    assert "Connection: <bdi>Billing" in page.content.decode()


def test_what_the_form_sends_is_what_the_list_shows(root: Client, mixed: Sync) -> None:
    """Every control posted as a browser does, the empty ones too, ends at the address without them."""
    page = page_of(root, f"status=open&sync={mixed.pk}&owner=none&failed=7d&key=plain&group=&attempts=1")
    assert page.status_code == 302
    page = root.get(page["Location"])
    form = page.content.decode().split('id="rd-filter"')[1].split("</form>")[0]
    sent = []
    for tag in re.findall(r"<input[^>]*>", form):
        name, value, kind = (re.search(rf'{key}="([^"]*)"', tag) for key in ("name", "value", "type"))
        if name and kind and (kind[1] not in ("checkbox", "radio") or " checked" in tag):
            sent.append((name[1], html.unescape(value[1]) if value else ""))
    answer = root.get(f"{LIST}?{urlencode(sent)}")
    assert answer.status_code == 302
    wanted = {
        "status": ["open"],
        "sync": [str(mixed.pk)],
        "owner": ["none"],
        "failed": ["7d"],
        "key": ["plain"],
        "attempts": ["1"],
    }
    assert parse_qs(urlsplit(answer["Location"]).query) == wanted
    assert keys_of(root.get(answer["Location"])) == ["plain"]


def test_an_empty_parameter_never_hides_a_wrong_one(root: Client) -> None:
    make_entry()
    page = page_of(root, "key=&owner=junk")
    assert page.status_code == 400
    assert keys_of(page) == []


def test_counts_stand_at_the_options_and_agree_with_the_table(root: Client, mixed: Sync) -> None:
    page = page_of(root)
    assert option(page, "status", "open").count == 3
    assert option(page, "status", "any").count == 4
    assert option(page, "status", "discarded").count == 0
    assert option(page, "sync", str(mixed.pk)).count == 3
    assert option(page, "error_type", "unknown_outcome").count == 1
    assert option(page, "code", "none").count == 1
    assert option(page, "code", "422").count == 2
    page = page_of(root, "status=open&failed=24h")  # not tallied: nothing is said rather than something wrong
    assert option(page, "status", "open").count is None


def test_offers_list_people_who_own_something_and_error_codes_by_frequency(mixed: Sync, ana: User) -> None:
    User.objects.create_user("idle", is_staff=True)
    make_group(mixed, error_code="RARE", open_count=1, total_count=1)
    make_group(mixed, error_code="OVER", open_count=0, total_count=9)
    found = offers(EntryFilter(), ana)
    assert [one.name for one in found.people.values()] == ["Ana Lopes (ana)"]
    assert list(found.codes) == ["INVALID_EMAIL", "RARE"]
    chosen = offers(EntryFilter(error_codes=("GONE",), owner=str(User.objects.get(username="idle").pk)), ana)
    assert "GONE" in chosen.codes
    assert "idle" in [one.name for one in chosen.people.values()]


def test_offers_name_no_sync_of_another_team(mixed: Sync) -> None:
    theirs = make_sync(name="Secret project", team=Team.objects.create(name="Others"))
    make_group(theirs, error_code="SECRET_CODE", open_count=1, total_count=1)
    user = make_user("view_dlqentry")
    found = offers(EntryFilter(), user)
    assert list(found.syncs.values()) == ["Customers"]
    assert "SECRET_CODE" not in found.codes
    assert theirs.destination.name not in found.connections.values()


@pytest.mark.parametrize(
    ("first", "last", "username", "initials"),
    [("Ana", "Lopes", "ana", "AL"), ("", "", "bo", "BO"), ("", "", "x", "X"), ("Åsa", "", "asa", "ÅS")],
)
def test_initials_of_a_person(first: str, last: str, username: str, initials: str) -> None:
    assert person(1, first, last, username).initials == initials


def test_a_popover_with_many_options_can_be_searched_and_one_with_few_cannot(root: Client) -> None:
    make_entry()
    assert page_of(root).content.decode().count('class="rd-find"') == 1  # error types
    first = make_sync(name="Sync")
    for number in range(9):
        make_sync(name=f"Sync {number}", source=first.source, destination=first.destination)
    assert page_of(root).content.decode().count('class="rd-find"') == 2


# --- lines


def line_of(**values: Any) -> Any:
    entry = make_entry(**values)
    return lines([DLQEntry.objects.filter(pk=entry.pk).for_list().get()], {})[0]


@pytest.mark.parametrize(
    ("field", "payload", "wanted"),
    [
        ("stage", {"stage": "won?"}, "won?"),
        ("Stage", {"stage": "won?"}, "won?"),
        ("stage", {"stage": ""}, ""),
        ("stage", {"stage": None}, "null"),
        ("n", {"n": 12345678901234567890123}, "12345678901234567890123"),
        ("deal.stage", {"deal": {"stage": "x"}}, "x"),
        ("deal.stage", {"deal.stage": "flat"}, "flat"),
        ("deal.stage", {"deal": "no object"}, None),
        ("tags[]", {"tags": ["a", "b"]}, '["a","b"]'),
        ("missing", {"stage": "x"}, None),
        ("", {"": "x"}, None),
    ],
)
def test_line_shows_what_the_blamed_field_held(field: str, payload: dict[str, Any], wanted: str | None) -> None:
    assert line_of(field=field, payload=json.dumps(payload), source_row="{}").value == wanted


def test_line_falls_back_to_the_warehouse_row_where_nothing_was_sent() -> None:
    assert line_of(field="stage", payload="", source_row='{"stage": "?"}').value == "?"


@pytest.mark.parametrize(
    "payload", ["not json", "[1]", '"text"', "null", '{"a":' * 900 + "1" + "}" * 900, '{"stage": "\\ud800"}']
)
def test_line_survives_any_stored_text(payload: str) -> None:
    line_of(field="stage", payload=payload)


def test_line_masks_values_of_people_in_field_and_message() -> None:
    line = line_of(
        field="email",
        payload=json.dumps({"email": "jo@example.com"}),
        message="jo@example.com is no address, said jo@example.com",
    )
    assert "jo@example.com" not in line.value
    assert "jo@example.com" not in line.message
    assert "***" in line.value


def test_a_payload_too_long_for_the_list_is_not_loaded(root: Client) -> None:
    entry = make_entry(field="stage", payload=json.dumps({"stage": "x", "rest": "y" * 1_000_000}))
    loaded: Any = DLQEntry.objects.filter(pk=entry.pk).for_list().get()
    assert len(loaded.payload_head) < 5_000
    assert lines([loaded], {})[0].value is None
    assert b'<bdi class="rd-field">stage</bdi></span>' in page_of(root).content


def test_row_shows_owner_row_state_and_exact_time(root: Client, mixed: Sync) -> None:
    text = page_of(root, "owner=me").content.decode()
    assert 'title="Ana Lopes (ana)"' in text
    assert ">AL</span>" in text
    assert "row changed" in text
    at = DLQEntry.objects.get(row_key="mine").last_failed_at
    assert f'title="{at:%Y-%m-%d %H:%M:%S} UTC">just now</time>' in text


def test_hostile_values_are_harmless_everywhere_on_the_page(root: Client, ana: User) -> None:
    sync = make_sync(name=HOSTILE)
    group = make_group(sync, title=HOSTILE, error_code=HOSTILE, open_count=1, total_count=1)
    owner = User.objects.create_user(HOSTILE, first_name=HOSTILE, last_name=HOSTILE)
    entry = make_entry(
        make_run(sync), group=group, row_key=HOSTILE, error_code=HOSTILE, field=HOSTILE, message=HOSTILE, owner=owner,
        payload=json.dumps({HOSTILE: HOSTILE}),
    )  # fmt: skip
    SavedView.objects.create(owner=ana, name='"><b>', query="status=any")
    for query in ("status=open", f"sync={sync.pk}&group={group.pk}&owner={owner.pk}", "q=%22%3E%3Cimg&error_code=%22%3E%3Cimg"):
        text = page_of(root, query).content.decode()
        assert "<img" not in text
        assert '"><b>' not in text
        shown = re.sub(r'(value|href)="[^"]*"', "", text)  # fields and addresses keep it exact
        assert "\u202e" not in shown
    assert keys_of(page_of(root)) == [html.escape(HOSTILE.replace("\u202e", "⟨U+202E⟩"))]
    assert entry.pk


def test_opening_an_entry_takes_the_filter_along(root: Client, mixed: Sync) -> None:
    text = page_of(root, f"sync={mixed.pk}&owner=me").content.decode()
    href = re.search(r'class="rd-key"><a href="([^"]+)"', text)
    assert href
    given = dict(parse_qsl(urlsplit(html.unescape(href[1])).query))
    assert selection.parse(parse_qs(given["in"]), user=User.objects.get(username="ana")).problems == ()
    assert dict(parse_qsl(given["in"])) == {"status": "open", "sync": str(mixed.pk), "owner": "me"}
    assert unquote(href[1]).count("?") == 1
    assert root.get(html.unescape(href[1])).status_code == 200


# --- pages


def follow(client: Client, rel: str, page: Any) -> Any:
    link = re.search(rf'rel="{rel}" href="([^"]+)"', page.content.decode())
    return client.get(html.unescape(link[1])) if link else None


def test_pages_go_both_ways_and_meet(root: Client) -> None:
    run = make_run(make_sync())
    make_entries(120, run, make_group(run.sync))
    first = page_of(root)
    assert follow(root, "prev", first) is None
    second = follow(root, "next", first)
    third = follow(root, "next", second)
    assert [len(keys_of(one)) for one in (first, second, third)] == [50, 50, 20]
    assert follow(root, "next", third) is None
    assert keys_of(follow(root, "prev", third)) == keys_of(second)
    assert keys_of(follow(root, "prev", second)) == keys_of(first)
    assert "120 dead letters" in first.content.decode()


def test_a_page_whose_entries_are_gone_says_so(root: Client) -> None:
    run = make_run(make_sync())
    make_entries(60, run, make_group(run.sync))
    link = re.search(r'rel="next" href="([^"]+)"', page_of(root).content.decode())
    assert link
    keep = DLQEntry.objects.newest().values_list("pk", flat=True)[:10]
    DLQEntry.objects.exclude(pk__in=list(keep)).delete()
    page = root.get(html.unescape(link[1]))
    assert "have been worked off" in page.content.decode()
    assert "Newest" in page.content.decode()


# --- empty states


def test_before_anything_was_ever_refused_the_page_explains_itself(root: Client) -> None:
    for query in ("status=open", "status=any", "status=open&owner=me"):
        assert "Nothing has ever been refused" in page_of(root, query).content.decode() or "owner" in query


def test_nothing_open_is_good_news(root: Client) -> None:
    make_entry(status=EntryStatus.RESOLVED)
    text = page_of(root).content.decode()
    assert "No open dead letters" in text
    assert "status=any" in text


def test_nothing_matches_offers_each_condition_to_take_away(root: Client) -> None:
    make_entry()
    page = page_of(root, "status=open&attempts=9&owner=me")
    text = page.content.decode().split("rd-empty")[1]
    assert "Without attempts “<bdi>9 or more</bdi>”" in text
    assert "Without owner “<bdi>me</bdi>”" in text
    assert 'name="act"' not in page.content.decode()


def test_a_search_that_was_cut_short_says_what_it_left_out(root: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    make_entry(row_key="abc")
    monkeypatch.setattr("dlq.services.entry_filter.TEXT_DEEP_MAX", 0)
    text = page_of(root, "q=abc").content.decode()
    assert "Row keys and error groups were searched." in text


def test_a_search_that_takes_too_long_is_stopped_in_words(root: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    make_entry()
    from dlq.services import paging

    monkeypatch.setattr(paging, "page", lambda *_, **__: paging.Page([], 0, False, None, problem=paging.TOO_SLOW))
    text = page_of(root).content.decode()
    assert "This search was stopped" in text
    assert 'name="act"' not in text


# --- who sees what, and what it costs


def test_without_any_act_there_are_no_ticks_and_no_buttons() -> None:
    make_entry()
    text = page_of(client_of("view_dlqentry")).content.decode()
    assert 'name="entry"' not in text
    assert 'name="across"' not in text
    assert "1</b> dead letter<" in text
    assert 'data-key="' not in text


def test_every_control_of_the_page_has_a_name(root: Client, mixed: Sync) -> None:
    text = re.sub(r"<!--.*?-->", "", page_of(root).content.decode(), flags=re.S).split('id="content"')[1]
    for tag in re.findall(r"<input[^>]*>", text):
        if 'type="hidden"' in tag:
            continue
        before = text[: text.index(tag)]
        in_label = before.rfind("<label") > before.rfind("</label")
        named = re.search(r'id="([^"]+)"', tag)
        assert in_label or "aria-label" in tag or (named and f'for="{named[1]}"' in text), tag


@pytest.mark.parametrize("count", [3, 120, 1_100])
def test_list_with_counts_and_views_takes_twelve_queries_at_most(count: int) -> None:
    sync = make_sync()
    run = make_run(sync)
    make_entries(count, run, make_group(sync))
    names = ("view", "reprocess", "discard", "export", "annotate", "reveal")
    user = make_user(*(f"{name}_dlqentry" for name in names), "add_savedview")
    user.user_permissions.add(Permission.objects.get(codename="view_sync"))
    DLQEntry.objects.filter(pk__in=list(DLQEntry.objects.values_list("pk", flat=True)[:3])).update(owner=user)
    for number in range(20):
        SavedView.objects.create(owner=user, name=f"View {number}", query=f"status=open&code={400 + number}")
    client = Client()
    client.force_login(user)
    for query in ("status=open", f"status=open&sync={sync.pk}&code=422", f"sync={sync.pk}&failed=7d&owner=me", "q=C-00"):
        client.get(f"{LIST}?{query}")
        with CaptureQueriesContext(connection) as captured:
            assert client.get(f"{LIST}?{query}").status_code == 200
        assert len(captured) <= 12, [one["sql"][:100] for one in captured]


def test_nothing_offered_without_syncs() -> None:
    assert offers(EntryFilter(), make_user()) == Offers()


@pytest.mark.parametrize("limited", [False, True])
def test_list_takes_a_dozen_queries_whatever_is_filtered_and_whoever_asks(
    django_assert_max_num_queries: Any, limited: bool
) -> None:
    """Ids in the address are looked up together; somebody of a team needs two more queries than somebody who sees all."""
    user = make_user("view_dlqentry", "reprocess_dlqentry", "discard_dlqentry", "export_dlqentry", "annotate_dlqentry")
    ours, theirs = make_sync(), make_sync()
    if limited:
        teams = [Team.objects.create(name=name) for name in ("ours", "theirs")]
        teams[0].members.add(user)
        for sync, team in zip((ours, theirs), teams, strict=True):
            Sync.objects.filter(pk=sync.pk).update(team=team)
    run = make_run(ours)
    group = make_group(ours)
    make_entries(60, run, group, owner=user)
    client = logged_in(user)
    for query in (
        f"sync={ours.pk}&connection={ours.destination_id}&group={group.pk}&run={run.pk}&owner={user.pk}&q=person&failed=24h",
        f"connection={ours.destination_id}&owner=me&q=person&error_type=validation&code=422",
        f"sync={ours.pk}&group={group.pk}&failed=7d&age=1d&attempts=2&row=unknown",
    ):
        with django_assert_max_num_queries(12):
            assert client.get(f"{LIST}?status=open&{query}").status_code == 200
