"""Dead letters through the API: list, one of them, acts, corrections; over the same services as the console."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dlq.api.entry_filters import EntryFilters
from dlq.choices import Door, EntryStatus
from dlq.models import DLQEntry, DLQEvent, ErrorGroup
from dlq.services import selection
from dlq.services.selection import PARAMETERS
from syncs.errors import ErrorType
from syncs.models import ApiKey, IdempotentRequest
from syncs.models.team import Team
from syncs.records import RowError
from tests.api.kit import Caller, caller, person, said
from tests.dlq.objects import make_entries, make_entry, make_group, make_run
from tests.dlq.test_reveal import SECRETS, entry_with_everything, leaks
from tests.factories import World
from tests.syncs.objects import make_sync

pytestmark = pytest.mark.django_db
LIST = "/api/v1/dead-letters"
BAD = RowError(ErrorType.VALIDATION, "Property age is not valid", code="E1", field="age", http_status=422)


def at(entry: DLQEntry, tail: str = "") -> str:
    return f"{LIST}/{entry.pk}{tail}"


def ids(answer: Any) -> list[int]:
    assert answer.status_code == 200, answer.content
    return [row["id"] for row in answer.json()["data"]]


# --- the list


def test_every_filter_of_the_console_is_one_here() -> None:
    assert set(EntryFilters.base_filters) == set(PARAMETERS)


def test_filters_choose_what_the_console_would() -> None:
    run = make_run(make_sync())
    group = make_group(run.sync)
    ana = person("support")
    now = timezone.now()
    values: list[dict[str, Any]] = [
        {"owner": ana}, {"error_type": "timeout", "is_permanent": False}, {"status": EntryStatus.DISCARDED},
        {"http_status": None},
        {"error_code": "E7"}, {"field": "name"}, {"attempt_count": 9}, {"row_state": "gone"}, {"row_key": "K-1"},
        {"last_failed_at": now - timedelta(days=3)}, {"first_failed_at": now - timedelta(days=9)},
    ]  # fmt: skip
    for one in values:
        make_entry(run, group=group, **one)
    client = Caller(ana)
    for query in (
        "", "status=any", "status=open&status=discarded", f"sync={run.sync_id}", f"connection={run.sync.source_id}",
        "error_type=timeout", "error_code=E7", "field=name", "code=none", "code=422&code=500", "failed=24h", "failed=1h",
        "from=2020-01-01", "to=2020-01-01T00:00:00Z", "failed=between&from=2020-01-01", "age=7d", "key=K-1",
        f"group={group.pk}", f"run={run.pk}", "owner=me", "owner=none", f"owner={ana.pk}", "attempts=5", "row=gone",
        "row=unknown", "q=K-", "q=person",
    ):  # fmt: skip
        given = {name: [one.split("=")[1] for one in query.split("&") if one.split("=")[0] == name] for name in PARAMETERS}
        expected = selection.parse({name: value for name, value in given.items() if value}, user=ana)
        assert not expected.problems
        assert ids(client.get(f"{LIST}?{query}")) == [one.pk for one in expected.entries().newest()], query
        assert client.get(f"{LIST}/count?{query}").json()["count"] == expected.entries().count(), query


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("colour=red", "colour"), ("status=opn", "status"), ("status=", "status"), ("status=%20open", "status"),
        ("sync=99999", "sync"), ("sync=x", "sync"), ("connection=0", "connection"), ("error_type=bad", "error_type"),
        ("code=99", "code"), ("code=400,409", "code"), ("failed=2h", "failed"), ("failed=24h&from=2020-01-01", "failed"),
        ("failed=between", "failed"), ("from=yesterday", "from"), ("to=2020-13-01", "to"),
        ("from=2021-01-01&to=2020-01-01", "from"),
        ("age=2d", "age"), ("key=a&key=b", "key"), ("group=99999", "group"), ("run=1e3", "run"), ("owner=you", "owner"),
        ("owner=99999", "owner"), ("attempts=0", "attempts"), ("attempts=1.5", "attempts"), ("row=lost", "row"),
        (f"q={'x' * 201}", "q"), ("q=%00", "q"), ("q_groups=1", "q_groups"), ("nothing=1", "nothing"),
        ("order=newest", "order"),
        ("limit=501", "limit"), ("cursor=x", "cursor"), ("fields=payload", "fields"), ("sync=1" + "0" * 30, "sync"),
    ],
)  # fmt: skip
def test_filter_that_is_not_understood_widens_nothing(query: str, field: str) -> None:
    make_entry()
    status, code, issues = said(caller("admin").get(f"{LIST}?{query}"))
    assert (status, code) == (400, "invalid")
    assert field in issues


def test_pages_stay_right_while_rows_arrive_and_spans_stay_where_they_were() -> None:
    run = make_run(make_sync())
    group = make_group(run.sync)
    edge = timezone.now() - timedelta(hours=24)
    make_entries(5, run, group, last_failed_at=edge + timedelta(seconds=20))  # within a day, but soon not any more
    client = caller("viewer")
    first = client.get(LIST, {"failed": "24h", "limit": 2})
    make_entry(run, group=group)
    cursor = first.json()["meta"]["page"]["next"]
    DLQEntry.objects.filter(pk__in=ids(first)).update(status=EntryStatus.DISCARDED, closed_at=edge, close_reason="x")
    later = timezone.now() + timedelta(seconds=60)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.utils.timezone.now", lambda: later)  # only the filter may look at the clock
        second = client.get(LIST, {"failed": "24h", "limit": 2, "cursor": cursor})
        assert ids(client.get(LIST, {"failed": "24h", "limit": 9})) == [DLQEntry.objects.latest("pk").pk]
    assert len(ids(second)) == 2
    assert not set(ids(first)) & set(ids(second))
    third = client.get(LIST, {"failed": "24h", "limit": 2, "cursor": second.json()["meta"]["page"]["next"]})
    assert len(ids(third)) == 1
    assert third.json()["meta"]["page"]["next"] is None
    assert "cursor" in said(client.get(LIST, {"failed": "7d", "cursor": cursor}))[2]


def test_search_goes_on_with_the_groups_that_it_began_with() -> None:
    run = make_run(make_sync())
    first, later = make_group(run.sync, title="odd words"), make_group(run.sync, title="other words")
    make_entries(3, run, first, message="")
    make_entries(2, run, later, message="")
    client = caller("viewer")
    page = client.get(LIST, {"q": "odd", "connection": run.sync.source_id, "limit": 2})
    assert len(ids(page)) == 2
    ErrorGroup.objects.filter(pk=later.pk).update(title="odd words too")
    rest = client.get(
        LIST, {"q": "odd", "connection": run.sync.source_id, "limit": 9, "cursor": page.json()["meta"]["page"]["next"]}
    )
    assert len(ids(rest)) == 1
    assert len(ids(client.get(LIST, {"q": "odd"}))) == 5


def test_cursor_gives_nobody_what_they_do_not_see() -> None:
    team = Team.objects.create(name="Ours")
    run = make_run(make_sync(team=team))
    make_entries(3, run, make_group(run.sync))
    cursor = caller("operator", team=team).get(LIST, {"limit": 1}).json()["meta"]["page"]["next"]
    assert ids(caller("operator").get(LIST, {"limit": 1, "cursor": cursor})) == []


def test_list_takes_as_many_queries_however_long_it_is() -> None:
    ana = person("support")
    client = Caller(ana)
    counts = []
    for count in (2, 40):
        run = make_run(make_sync())
        make_entries(count, run, make_group(run.sync), owner=ana)
        client.get(LIST)
        with CaptureQueriesContext(connection) as captured:
            assert len(ids(client.get(LIST, {"limit": 100}))) >= count
        counts.append(len(captured))
    assert counts[0] == counts[1] <= 10, counts


def test_what_is_of_another_team_is_not_there() -> None:
    theirs = make_entry(make_run(make_sync(team=Team.objects.create(name="Theirs"))), note="secret of theirs")
    client = caller("operator")
    assert ids(client.get(f"{LIST}?status=any")) == []
    assert "sync" in said(client.get(f"{LIST}?sync={theirs.sync_id}"))[2]
    assert client.get(f"{LIST}/count").json()["count"] == 0
    for tail in ("", "/events", "/calls", "/passport", "/correction"):
        assert said(client.get(at(theirs, tail)))[:2] == (404, "not_found"), tail
    assert said(client.post(at(theirs, "/discard"), {"reason": "x"}))[:2] == (404, "not_found")
    theirs.refresh_from_db()
    assert theirs.status == EntryStatus.OPEN


# --- one of them


@pytest.mark.django_db(transaction=True)
def test_row_of_now_stands_beside_the_row_of_then(tmp_path: Path) -> None:
    world = World(tmp_path, [(2, "Bo", -1)])
    world.destination.bad = {"2": BAD}
    world.run()
    entry = DLQEntry.objects.get()
    world.sql("UPDATE people SET age = 40 WHERE id = 2")
    client = caller("support")
    then = client.get(at(entry)).json()
    assert then["row_now"] is None
    assert then["comparison"]["compared"][0] | {"tone": ""} == {
        "field": "age", "source": "age", "read": "-1", "sent": "-1", "now": None, "mapped": None, "difference": "Same",
        "tone": "", "is_blamed": True, "is_refused": False,
    }  # fmt: skip
    now = client.get(at(entry), {"row_now": "true"}).json()
    assert now["row_now"]["state"] == "changed"
    assert json.loads(now["row_now"]["row"])["age"] == 40
    assert (now["comparison"]["compared"][0]["now"], now["comparison"]["compared"][0]["mapped"]) == ("40", "40")
    assert now["verdict"]["headline"] == "The row has changed since."
    assert not DLQEvent.objects.filter(kind="checked").exists()  # to look is no act
    checked = client.post(at(entry, "/check-row"))
    assert (checked.status_code, checked.json()["row_state"]) == (200, "changed")
    calls = client.get(at(entry, "/calls")).json()["data"]
    assert [(one["run_id"], len(one["calls"])) for one in calls] == [(entry.run_id, 1)]
    assert [one["kind"] for one in client.get(at(entry, "/events")).json()["data"]] == ["checked", "failed"]
    passport = client.get(at(entry, "/passport")).json()
    assert [one["kind"] for one in passport["moments"]] == ["checked", "failed"]
    assert passport["standings"][0]["is_held"] is True
    world.warehouse.unlink()
    assert "There is no file" in client.get(at(entry), {"row_now": "true"}).json()["row_now"]["problem"]
    assert said(client.post(at(entry, "/check-row")))[:2] == (409, "refused")


def test_nothing_shows_values_of_people_but_a_reveal() -> None:
    entry = entry_with_everything()
    client = caller("admin")
    for tail in ("", "?row_now=true", "/events", "/calls", "/passport", "/correction"):
        answer = client.get(at(entry, tail))
        assert answer.status_code == 200, answer.content
        assert leaks(answer.content.decode()) == [], tail
        assert leaks(answer.content.decode().encode().decode("unicode_escape")) == [], tail
    assert leaks(client.get(LIST).content.decode()) == []
    shown = client.post(at(entry, "/reveal"), {"reason": "VEND-1"}, headers={"Idempotency-Key": "one"})
    assert shown.json()["payload"] == entry.payload
    assert shown["Cache-Control"] == "no-store"
    event = DLQEvent.objects.get(kind="revealed")
    assert (event.door, event.reason, event.actor_id) == (Door.API, "VEND-1", client.user.pk if client.user else 0)
    assert event.detail == {"api_key": ApiKey.objects.get().prefix}
    assert not IdempotentRequest.objects.exists()  # true values are kept nowhere else
    assert len(SECRETS) > 3


def test_reveal_needs_right_scope_and_reason_and_has_a_limit(settings: Any) -> None:
    settings.RETL = {**settings.RETL, "REVEALS_PER_HOUR": 1}
    entry = entry_with_everything()
    why = {"reason": "VEND-1"}
    assert said(caller("admin", "read", "dlq:act").post(at(entry, "/reveal"), why))[:2] == (403, "scope_missing")
    assert said(caller("support").post(at(entry, "/reveal"), why))[:2] == (403, "forbidden")
    client = caller("operator", "dlq:raw")
    assert "reason" in said(client.post(at(entry, "/reveal"), {"reason": " "}))[2]
    assert client.post(at(entry, "/reveal"), why).status_code == 200
    assert said(client.post(at(entry, "/reveal"), why))[:2] == (409, "refused")
    DLQEvent.objects.filter(kind="revealed").update(at=timezone.now() - timedelta(minutes=61))
    assert client.post(at(entry, "/reveal"), why).status_code == 200


def test_evidence_is_a_masked_bundle_and_noted() -> None:
    entry = entry_with_everything()
    answer = caller("support").post(at(entry, "/evidence"), {"reason": "VEND-1"})
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content))) as book:
        assert {"summary.html", "dead_letters.jsonl"} <= set(book.namelist())
        assert leaks("".join(book.read(name).decode() for name in book.namelist())) == []
    assert DLQEvent.objects.get(kind="exported").door == Door.API
    assert said(caller("viewer").post(at(entry, "/evidence"), {}))[:2] == (403, "forbidden")


def test_suggested_error_rule_says_what_its_like_have_in_common() -> None:
    entry = make_entry(error_code="E1, E2")
    found = caller("admin").get(at(entry, "/suggested-error-rule")).json()
    assert found["codes"] == ["E1", "E2"]
    assert found["connection_id"] == entry.sync.destination_id
