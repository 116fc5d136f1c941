"""Saved views: who keeps, shares, changes and deletes them, and what they show as time goes on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dlq.models import DLQEntry, SavedView
from dlq.services import views
from dlq.services.moves import ActRefusedError
from dlq.services.offers import offers
from dlq.services.selection import EntryFilter
from tests.dlq.objects import make_entry, make_group, make_run, make_user
from tests.dlq.test_list_page import HOSTILE, LIST, keys_of
from tests.syncs.objects import make_sync

pytestmark = pytest.mark.django_db

VIEWS = f"{LIST}views/"


@pytest.fixture
def bo() -> User:
    return make_user("view_dlqentry", "add_savedview", name="bo")


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def said(response: Any) -> str:
    return " ".join(str(message) for message in response.context["messages"])


def names_seen(user: User) -> list[str]:
    return [view.name for view in offers(EntryFilter(), user).views]


def test_filter_is_saved_shown_as_a_tab_and_marked_while_it_is_shown(ana: User) -> None:
    make_entry()
    client = signed_in(ana)
    assert b"Save this view" in client.get(f"{LIST}?status=open&code=422").content
    page = client.post(VIEWS, {"name": "  Bad   mails ", "filter": "code=422&status=open"}, follow=True)
    assert page.redirect_chain == [(f"{LIST}?status=open&code=422", 302)]
    assert "“Bad mails” is saved" in said(page)
    text = page.content.decode()
    assert 'aria-current="page" class="rd-views-own" title="Yours"><bdi>Bad mails</bdi>' in text
    assert "Save this view" not in text
    assert SavedView.objects.get().owner == ana


@pytest.mark.parametrize("view", views.BUILT_IN, ids=lambda view: view.name)
def test_built_in_view_can_be_shown_and_is_marked(ana: User, view: views.BuiltIn) -> None:
    make_entry()
    page = signed_in(ana).get(f"{LIST}?{view.query}")
    assert page.status_code == 200
    assert f'aria-current="page">{view.name}</a>' in page.content.decode()
    assert "Save this view" not in page.content.decode()


def test_relative_times_and_me_stay_relative(ana: User, bo: User) -> None:
    run = make_run(make_sync())
    for user, hours in ((ana, 1), (ana, 40), (bo, 1)):
        make_entry(run, owner=user, row_key=f"{user.username}{hours}", last_failed_at=timezone.now() - timedelta(hours=hours))
    view = views.save(owner=bo, name="My day", query="owner=me&failed=24h", is_shared=True)
    assert view.query == "status=open&failed=24h&owner=me"
    assert keys_of(signed_in(ana).get(f"{LIST}?{view.query}")) == ["ana1"]
    assert keys_of(signed_in(bo).get(f"{LIST}?{view.query}")) == ["bo1"]
    DLQEntry.objects.filter(row_key="ana40").update(last_failed_at=timezone.now())
    assert set(keys_of(signed_in(ana).get(f"{LIST}?{view.query}"))) == {"ana1", "ana40"}


def test_private_views_are_seen_by_their_owner_shared_ones_by_all(ana: User, bo: User) -> None:
    views.save(owner=bo, name="b private", query="")
    views.save(owner=bo, name="b shared", query="", is_shared=True)
    views.save(owner=ana, name="z own", query="")
    assert names_seen(ana) == ["z own", "b shared"]
    assert names_seen(bo) == ["b private", "b shared"]
    for url in (LIST, VIEWS):
        text = signed_in(ana).get(url).content.decode()
        assert "b private" not in text
        assert "b shared" in text


def test_views_of_someone_who_may_no_longer_log_in_stay_shared(ana: User, bo: User) -> None:
    views.save(owner=bo, name="left behind", query="", is_shared=True)
    User.objects.filter(pk=bo.pk).update(is_active=False, is_staff=False)
    assert names_seen(ana) == ["left behind"]


# --- what is refused


@pytest.mark.parametrize(
    ("name", "query", "sentence"),
    [
        ("", "status=open", "Give the view a name"),
        (" \t ", "status=open", "Give the view a name"),
        ("x" * 81, "status=open", "has 81 characters; at most 80 fit"),
        ("a\0b", "status=open", "invisible character U+0000"),
        ("abc\u202etxt", "status=open", "invisible character U+202E"),
        ("ok", "status=junk", "cannot be saved: “status”"),
        ("ok", "sync=99999", "is no sync"),
        ("ok", "nonsense=1", "is no filter of this list"),
        ("ok", "from=yesterday&failed=between", "is no time"),
        ("ok", "key=" + "x" * 9_000, "too long to be saved"),
    ],
)
def test_what_cannot_be_saved_is_refused_in_words(ana: User, name: str, query: str, sentence: str) -> None:
    with pytest.raises(ActRefusedError) as refused:
        views.save(owner=ana, name=name, query=query)
    assert sentence in str(refused.value)
    page = signed_in(ana).post(VIEWS, {"name": name, "filter": query}, follow=True)
    assert sentence in said(page)
    assert page.status_code in (200, 400)
    assert not SavedView.objects.exists()


def test_a_name_is_taken_once_by_each_owner_and_can_be_replaced(ana: User, bo: User) -> None:
    views.save(owner=ana, name="Mine", query="code=422")
    views.save(owner=bo, name="Mine", query="code=500")
    with pytest.raises(ActRefusedError, match="You have a view named “Mine” already"):
        views.save(owner=ana, name="Mine", query="code=400")
    replaced = views.save(owner=ana, name="Mine", query="code=400", is_replacing=True)
    assert replaced.query == "status=open&code=400"
    assert SavedView.objects.get(owner=bo).query == "status=open&code=500"
    other = views.save(owner=ana, name="Other", query="", is_replacing=True)  # nothing to replace: a new one
    with pytest.raises(ActRefusedError, match="named “Mine” already"):
        views.change(other, name="Mine", by=ana)
    assert SavedView.objects.get(pk=other.pk).name == "Other"


def test_sharing_needs_its_permission_and_stopping_does_not(ana: User, bo: User) -> None:
    with pytest.raises(ActRefusedError, match="not share"):
        views.save(owner=ana, name="x", query="", is_shared=True)
    view = views.save(owner=ana, name="x", query="")
    with pytest.raises(ActRefusedError, match="not share"):
        views.change(view, is_shared=True, by=ana)
    SavedView.objects.filter(pk=view.pk).update(is_shared=True)
    views.change(view, is_shared=False, by=ana)
    assert not SavedView.objects.get().is_shared
    assert "Share with everybody" not in signed_in(ana).get(f"{LIST}?code=400").content.decode()
    assert "Share with everybody" in signed_in(bo).get(f"{LIST}?code=400").content.decode()


def test_number_of_views_is_bounded(ana: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "VIEWS_MAX", 2)
    views.save(owner=ana, name="1", query="")
    views.save(owner=ana, name="2", query="")
    with pytest.raises(ActRefusedError, match="2 saved views already"):
        views.save(owner=ana, name="3", query="")
    assert views.save(owner=ana, name="2", query="code=400", is_replacing=True).pk


# --- who may change what


@pytest.mark.parametrize("act", ["rename", "share", "unshare", "delete"])
def test_only_the_owner_or_a_keeper_of_views_changes_one(ana: User, bo: User, act: str) -> None:
    private = views.save(owner=bo, name="private", query="")
    shared = views.save(owner=bo, name="shared", query="", is_shared=True)
    keeper = make_user("view_dlqentry", "change_savedview", "add_savedview")
    form = {"act": act, "name": "renamed"}
    stranger = signed_in(ana)
    assert stranger.post(f"{VIEWS}{private.pk}/", form).status_code == 404
    assert stranger.post(f"{VIEWS}{shared.pk}/", form).status_code == 403
    assert stranger.post(f"{VIEWS}999999/", form).status_code == 404
    assert list(SavedView.objects.order_by("pk").values_list("name", "is_shared")) == [("private", False), ("shared", True)]
    assert signed_in(keeper).post(f"{VIEWS}{private.pk}/", form).status_code == 404  # not even its name is theirs to know
    assert signed_in(keeper).post(f"{VIEWS}{shared.pk}/", form).status_code == 302
    assert signed_in(bo).post(f"{VIEWS}{private.pk}/", form, follow=True).status_code == 200
    wanted = {
        "rename": {"private": False, "renamed": True},  # the second would take the same name
        "share": {"private": True, "shared": True},
        "unshare": {"private": False, "shared": False},
        "delete": {},
    }
    assert dict(SavedView.objects.values_list("name", "is_shared")) == wanted[act]


def test_changes_say_what_was_done(bo: User) -> None:
    view = views.save(owner=bo, name="x", query="")
    client, url = signed_in(bo), f"{VIEWS}{view.pk}/"
    assert "is named “y” now" in said(client.post(url, {"act": "rename", "name": "y"}, follow=True))
    assert "Give the view a name" in said(client.post(url, {"act": "rename", "name": " "}, follow=True))
    assert "shared with everybody" in said(client.post(url, {"act": "share"}, follow=True))
    assert "yours alone again" in said(client.post(url, {"act": "unshare"}, follow=True))
    assert client.post(url, {"act": "explode"}).status_code == 404
    assert client.get(url).status_code == 405
    assert "“y” is deleted" in said(client.post(url, {"act": "delete"}, follow=True))
    assert client.post(url, {"act": "delete"}).status_code == 404


def test_a_view_that_is_deleted_meanwhile_is_not_changed(bo: User) -> None:
    view = views.save(owner=bo, name="x", query="")
    SavedView.objects.all().delete()
    with pytest.raises(ActRefusedError, match="deleted in the meantime"):
        views.change(view, name="y", by=bo)
    with pytest.raises(ActRefusedError, match="deleted in the meantime"):
        views.change(view, is_shared=True, by=bo)


def test_who_may_not_see_the_list_keeps_no_views() -> None:
    outsider = signed_in(make_user("add_savedview"))
    assert outsider.get(VIEWS).status_code == 403
    assert outsider.post(VIEWS, {"name": "x", "filter": "status=open"}).status_code == 403
    assert Client().get(VIEWS).status_code == 302
    assert not SavedView.objects.exists()


# --- as time goes on


def test_a_view_of_something_that_has_gone_says_so_and_offers_its_deletion(ana: User) -> None:
    sync = make_sync()
    group = make_group(sync)
    view = views.save(owner=ana, name="Old campaign", query=f"sync={sync.pk}&group={group.pk}")
    number = group.pk
    group.delete()
    client = signed_in(ana)
    make_entry()
    page = client.get(f"{LIST}?{view.query}")
    text = page.content.decode()
    assert page.status_code == 400
    assert keys_of(page) == []
    assert "saved view “<bdi>Old campaign</bdi>”" in text
    assert "Delete this view" in text
    assert f"Cannot be shown: error group {number}" in client.get(VIEWS).content.decode()
    client.post(f"{VIEWS}{view.pk}/", {"act": "delete"})
    assert not SavedView.objects.exists()


def test_a_broken_view_of_somebody_else_offers_no_deletion(ana: User, bo: User) -> None:
    group = make_group(make_sync())
    view = views.save(owner=bo, name="Theirs", query=f"group={group.pk}", is_shared=True)
    group.delete()
    text = signed_in(ana).get(f"{LIST}?{view.query}").content.decode()
    assert "Theirs" in text
    assert "Delete this view" not in text


def test_names_are_shown_not_run(ana: User) -> None:
    client = signed_in(ana)
    client.post(VIEWS, {"name": HOSTILE.replace("\u202e", ""), "filter": "q=%22%3E%3Cscript%3Ealert(1)"})
    assert SavedView.objects.count() == 1
    for url in (LIST, VIEWS):
        text = client.get(url).content.decode()
        assert "<img" not in text
        assert "<script>alert" not in text


def test_page_of_views_takes_few_queries_and_says_what_each_shows(ana: User) -> None:
    make_entry(owner=ana)
    sync = make_sync(name="Customers")
    group = make_group(sync)
    for number in range(30):
        views.save(owner=ana, name=f"View {number}", query=f"sync={sync.pk}&group={group.pk}&owner=me&failed=7d&row=changed")
    client = signed_in(ana)
    with CaptureQueriesContext(connection) as captured:
        text = client.get(VIEWS).content.decode()
    assert len(captured) <= 12, [one["sql"][:100] for one in captured]
    for words in ("Customers", "last 7 days", "changed since", ">me<"):
        assert words in text
    assert f"sync={sync.pk}" in text


def test_more_views_than_tabs_are_left_to_their_page_but_the_shown_one_is_there(ana: User) -> None:
    for number in range(30):
        views.save(owner=ana, name=f"View {number:02}", query=f"code={400 + number}")
    page = signed_in(ana).get(f"{LIST}?status=open&code=429")
    text = page.content.decode()
    assert "View 00" in text
    assert "View 28" not in text
    assert "<bdi>View 29</bdi>" in text
    assert "All views" in text
