"""Every address as every role, against the table of what it needs; and what another team has is not there for anybody else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client

from dlq.models import BulkOperation, Export
from dlq.services import export_work
from retl_project import roles
from syncs.models import AuditEvent
from tests.security import role_world, walk
from tests.security.role_world import OURS, THEIRS, Line
from tests.security.walk import Route

pytestmark = [pytest.mark.django_db, pytest.mark.once("sqlite")]
ROLES = tuple(roles.matrix().roles)
VISITORS = (*ROLES, "nobody", "anonymous")
OWN = tuple(role for role in ROLES if not roles.matrix().sees_all(role))
ALL = tuple(role for role in ROLES if roles.matrix().sees_all(role))


def table() -> Iterator[tuple[Route, Line]]:
    for route in walk.routes():
        line = role_world.line_of(route)
        assert line is not None, f"{route.name} ({route.pattern}) is in no line of {role_world.TABLE.name}."
        if route.name not in ("login", "logout"):
            yield route, line


def client_of(user: User | None) -> Client:
    client = Client()
    if user is not None:
        client.force_login(user)
    return client


def ask(client: Client, method: str, address: str, body: dict[str, Any] | None = None) -> tuple[Any, str]:
    """The answer and its text; what it did is rolled back."""
    with transaction.atomic():
        answer = client.get(address) if method == "GET" else client.post(address, body)
        text = text_of(answer)
        transaction.set_rollback(True)
    return answer, text


def is_refused(answer: Any) -> bool:
    """Not there, not allowed, or away to the index as the stock pages of Django do for what is not there."""
    return answer.status_code in (403, 404, 405) or (answer.status_code == 302 and answer["Location"] == "/admin/")


def holds(visitor: str, needed: str) -> bool:
    if visitor == "anonymous" or needed == "nobody":
        return False
    if needed == "anybody":
        return True
    return visitor in ROLES and needed in roles.matrix().permissions(visitor)


def test_every_route_is_in_the_table_and_every_line_is_of_use():
    found = [line for _route, line in table()]
    known = {name for right in roles.matrix().rights for name in right.permissions}
    words = {"anybody", "nobody", "open"}
    nobodys = {"dlq.change_savedview", "auth.add_group", "auth.change_group", "auth.delete_user"}
    for line in role_world.lines():
        assert line in found or "login" in line.name, line.name
        assert {line.get, *line.post.values()} <= known | words | nobodys, line.name


def test_acts_of_the_table_are_all_there_are():
    from dlq.admin import acts, group_page, operations
    from dlq.services.snapshots import BulkKind
    from syncs.admin import starts_page
    from syncs.admin.acts import SYNC_ACTS

    there = {
        "dlq_dlqentry_act": set(acts._ACTS), "dlq_errorgroup_act": set(group_page._ACTS),
        "dlq_bulkoperation_act": set(operations._ACTS), "dlq_dlqentry_bulk": {kind.value for kind in BulkKind},
        "dlq_dlqentry_perform": {kind.value for kind in BulkKind}, "syncs_sync_act": set(SYNC_ACTS),
        "syncs_sync_starts_act": set(starts_page._ACTS),
    }  # fmt: skip
    for route, line in table():
        if route.name in there:
            assert set(line.post) == there[route.name], route.name


@pytest.mark.parametrize("visitor", VISITORS)
def test_each_role_may_what_the_table_says_and_nothing_else(visitor: str, tmp_path: Path):
    roles.apply()
    user = role_world.person(visitor) if visitor != "anonymous" else None
    world = role_world.make(OURS, tmp_path, maker=user)
    if user is not None:
        world.team.members.add(user)
    client, before, wrong = client_of(user), walk.state(), []
    for route, line in table():
        wanted = [("GET", "", line.get), *(("POST", act, needed) for act, needed in line.post.items())]
        for method, act, needed in wanted:
            address = role_world.asked(route, line, world, act)
            answer, text = ask(client, method, address, role_world.body(world, line, act))
            is_login = answer.status_code == 302 and answer["Location"].startswith("/admin/login/")
            may = holds(visitor, needed)
            if visitor == "anonymous" and not is_login:
                wrong.append(f"{method} {address} {act}: {answer.status_code} without signing in")
            elif visitor != "anonymous" and needed != "open" and is_refused(answer) == may:
                wrong.append(f"{method} {address} {act}: {answer.status_code}, needs {needed}")
            if (needed == "open" or not may) and OURS in text and visitor in ("nobody", "anonymous"):
                wrong.append(f"{method} {address} {act} tells of {OURS}")
            if answer.status_code >= 500:
                wrong.append(f"{method} {address} {act}: {answer.status_code}")
    assert wrong == []
    assert walk.state() == before


@pytest.mark.parametrize("visitor", ALL)
def test_who_sees_every_team_finds_what_another_team_has(visitor: str, tmp_path: Path):
    roles.apply()
    user = role_world.person(visitor)
    world = role_world.make(THEIRS, tmp_path)
    client = client_of(user)
    for name in ("dlqentry", "errorgroup", "bulkoperation"):
        assert client.get(f"/admin/dlq/{name}/{getattr(world, name).pk}/change/").status_code == 200
        assert THEIRS in client.get(f"/admin/dlq/{name}/").content.decode()
    assert THEIRS in client.get("/admin/syncs/sync/").content.decode()


@pytest.mark.parametrize("visitor", OWN)
def test_what_another_team_has_is_not_there(visitor: str, tmp_path: Path):
    """Neither by its address, nor by an act, nor by a word of it on any page."""
    roles.apply()
    user = role_world.person(visitor)
    ours, theirs = role_world.make(OURS, tmp_path, maker=user), role_world.make(THEIRS, tmp_path)
    ours.team.members.add(user)
    client, before, wrong = client_of(user), walk.state(), []
    for route, line in table():
        for method, acts in (("GET", ("",)), ("POST", tuple(line.post))):
            for act in acts:
                for world in (ours, theirs):
                    if method == "POST" and world is ours:
                        continue
                    address = role_world.asked(route, line, world, act)
                    answer = client.get(address) if method == "GET" else client.post(address, role_world.body(world, line, act))
                    if THEIRS in text_of(answer):
                        wrong.append(f"{method} {address} {act} tells of {THEIRS}")
                    if world is theirs and role_world.belongs_to_a_team(route) and not is_refused(answer):
                        wrong.append(f"{method} {address} {act}: {answer.status_code}")
        if route.name == "dlq_dlqentry_views":  # a private view of one's own
            user.saved_views.all().delete()
            AuditEvent.objects.filter(actor=user, target_type="savedview").delete()
    assert wrong == []
    assert walk.state() == before


def text_of(answer: Any) -> str:
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return content.decode(errors="replace")


@pytest.mark.parametrize("visitor", OWN)
def test_no_filter_search_or_cursor_reaches_another_team(visitor: str, tmp_path: Path):
    roles.apply()
    user = role_world.person(visitor)
    ours, theirs = role_world.make(OURS, tmp_path, maker=user), role_world.make(THEIRS, tmp_path)
    ours.team.members.add(user)
    client = client_of(user)
    sync, group, run, entry = theirs.sync.pk, theirs.errorgroup.pk, theirs.run.pk, theirs.dlqentry
    asked = [
        *(f"/admin/dlq/dlqentry/?status=any&{one}" for one in (
            f"sync={sync}", f"group={group}", f"run={run}", f"connection={theirs.connection.pk}", "q=refused",
            f"sync={ours.sync.pk}&sync={sync}",
            "after=2100-01-01T00%3A00%3A00%2B00%3A00_999999", "row=unknown", "owner=none", "code=422", "attempts=1",
        )),
        f"/admin/dlq/dlqentry/{ours.dlqentry.pk}/beside/older/?in=status%3Dany",
        f"/admin/dlq/dlqentry/{ours.dlqentry.pk}/passport/",
        f"/admin/dlq/errorgroup/?sync={sync}", "/admin/dlq/errorgroup/?q=refused", "/admin/dlq/errorgroup/?state=any",
        f"/admin/dlq/errorgroup/{ours.errorgroup.pk}/rule/?kind=merge&other={group}",
        f"/admin/dlq/bulkoperation/{ours.bulkoperation.pk}/change/?outcome=pending", "/admin/dlq/bulkoperation/?kind=discard",
        "/admin/dlq/bulkoperation/?status=running", f"/admin/dlq/dlqentry/bulk/?act=export&sync={sync}",
        f"/admin/syncs/run/?sync={sync}", "/admin/syncs/run/?status=partial", "/admin/syncs/sync/?q=contacts", "/admin/",
        f"/admin/syncs/connection/{theirs.connection.pk}/change/",
    ]  # fmt: skip
    told = [address for address in asked if THEIRS in text_of(client.get(address, follow=True))]
    assert told == []
    for address in (f"/admin/dlq/dlqentry/?status=any&q={THEIRS}", f"/admin/dlq/dlqentry/?status=any&key={entry.row_key}",
                    f"/admin/dlq/dlqentry/?status=any&error_code={THEIRS}_CODE"):  # fmt: skip
        html = text_of(client.get(address, follow=True))
        assert "/change/?in=" not in html, address
        assert "is refused" not in html, address


@pytest.mark.parametrize("visitor", OWN)
def test_no_count_takes_in_another_team(visitor: str, tmp_path: Path):
    """Facets, group counts, figures of the overview, operations: the same page whether the other team exists or not."""
    roles.apply()
    user = role_world.person(visitor)
    ours = role_world.make(OURS, tmp_path, maker=user)
    ours.team.members.add(user)
    client = client_of(user)
    pages = (
        "/admin/", "/admin/dlq/dlqentry/?status=any", "/admin/dlq/dlqentry/?status=open", "/admin/dlq/errorgroup/",
        f"/admin/dlq/errorgroup/{ours.errorgroup.pk}/change/", "/admin/dlq/bulkoperation/", "/admin/syncs/sync/",
        f"/admin/syncs/sync/{ours.sync.pk}/", "/admin/syncs/run/", "/admin/dlq/fingerprintrule/", "/admin/syncs/team/",
        f"/admin/dlq/bulkoperation/{ours.bulkoperation.pk}/change/",
    )  # fmt: skip
    before = {page: shape(text_of(client.get(page))) for page in pages}
    theirs = role_world.make(THEIRS, tmp_path, beside=ours)
    theirs.view.delete()  # what is shared is shared with everybody
    for page in pages:
        assert shape(text_of(client.get(page))) == before[page], page


def shape(html: str) -> str:
    """A page without what differs between two looks: tokens, ages, nonces."""
    html = re.sub(r'(csrfmiddlewaretoken" value|nonce|content)="[^"]*"', "", html)
    html = re.sub(r"\d+ (second|minute|hour)s?( ago)?|just now|\d\d:\d\d(:\d\d)?", "", html)
    return re.sub(r"\d{4}-\d\d-\d\dT[^\"<]*", "", html)


# --- operations and exports of others


@pytest.mark.parametrize("role", OWN)
def test_a_colleagues_operation_is_seen_and_only_steered_where_it_stays_within(role: str, tmp_path: Path):
    roles.apply()
    user = role_world.person(role)
    ours = role_world.make(OURS, tmp_path)
    role_world.make(THEIRS, tmp_path)
    ours.team.members.add(user)
    client = client_of(user)
    page = f"/admin/dlq/bulkoperation/{ours.bulkoperation.pk}"
    assert client.get(f"{page}/change/").status_code == 200
    for act in ("pause", "cancel", "undo"):
        assert client.post(f"{page}/do/{act}/", {"reason": "x"}).status_code == 403
    assert BulkOperation.objects.get(pk=ours.bulkoperation.pk).status == "running"


@pytest.mark.parametrize("role", OWN)
def test_a_colleagues_export_is_not_there(role: str, tmp_path: Path):
    roles.apply()
    user = role_world.person(role)
    ours = role_world.make(OURS, tmp_path)
    role_world.make(THEIRS, tmp_path)
    ours.team.members.add(user)
    client = client_of(user)
    for name in ("change", "file", "progress"):
        assert client.get(f"/admin/dlq/export/{ours.export.pk}/{name}/").status_code in (403, 404)
    assert client.post(f"/admin/dlq/export/{ours.export.pk}/do/delete/").status_code in (403, 404)
    assert set(Export.objects.values_list("status", flat=True)) == {"ready"}


@pytest.mark.parametrize("harm", ["is deactivated", "loses the role"])
def test_an_export_is_not_written_for_who_may_no_longer_have_it(harm: str, tmp_path: Path):
    roles.apply()
    user = role_world.person("support")
    ours = role_world.make(OURS, tmp_path, maker=user)
    Export.objects.filter(pk=ours.export.pk).update(status="queued", file_name="", sha256="", expires_at=None)
    if harm == "is deactivated":
        User.objects.filter(pk=user.pk).update(is_active=False)
    else:
        user.groups.clear()
    assert not export_work.work(ours.export.pk)
    made = Export.objects.get(pk=ours.export.pk)
    assert (made.status, made.row_count) == ("failed", 0)
    assert "may not export any more" in made.message
