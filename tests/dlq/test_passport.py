"""The passport of a row: one time line over all syncs of its source, in few queries, page by page, within one's teams."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from dlq.choices import Door, EntryStatus
from dlq.models import DLQEntry, DLQEvent
from dlq.services import entries
from dlq.services.passport import passport
from syncs.errors import ErrorType
from syncs.models import DeliveredRow, Step, Sync
from syncs.models.team import Team
from syncs.records import RowError
from tests.dlq.objects import make_entries, make_entry, make_group, make_run, make_user
from tests.factories import World
from tests.syncs.objects import make_sync

BAD = RowError(ErrorType.VALIDATION, "Property age is not valid", code="E1", field="age", http_status=422)


@pytest.fixture
def root(db: None) -> User:
    return User.objects.create_superuser("root")


def loaded(entry: DLQEntry) -> DLQEntry:
    return DLQEntry.objects.select_related("sync__source").get(pk=entry.pk)


@pytest.mark.django_db(transaction=True)
def test_it_tells_the_life_of_a_row_from_refusal_to_delivery(tmp_path: Path) -> None:
    user = User.objects.create_superuser("eve")
    world = World(tmp_path, [(1, "Ana", 30), (2, "Bo", -1)])
    world.destination.bad = {"2": BAD}
    refusing = world.run()
    entry = loaded(DLQEntry.objects.get())
    told = passport(entry, user=user)
    assert [(moment.kind, moment.run_id) for moment in told.moments] == [("failed", refusing.pk)]
    assert told.moments[0].step_number == entry.step_number is not None
    (standing,) = told.standings
    assert (standing.accepted_at, standing.is_held, standing.is_hold_permanent) == (None, True, True)

    world.destination.bad = {}
    entries.assign(DLQEntry.objects.all(), owner=user, by=user, door=Door.ADMIN)
    sending = world.work(entries.reprocess(DLQEntry.objects.all(), by=user, reason="fixed", door=Door.ADMIN).runs[0])
    told = passport(entry, user=user)
    assert {moment.kind for moment in told.moments} == {"failed", "assigned", "queued", "resolved", "delivered"}
    assert [moment.kind for moment in told.moments][-3:] == ["queued", "assigned", "failed"]
    delivered = next(moment for moment in told.moments if moment.kind == "delivered")
    assert (delivered.run_id, delivered.entry_id) == (sending.pk, None)
    assert not told.standings[0].is_held
    page = Client()
    page.force_login(user)
    html = page.get(reverse("admin:dlq_dlqentry_passport", args=(entry.pk,))).content.decode()
    assert "the destination accepted the row last" in html
    assert f"run {sending.pk}" in html


def test_it_spans_the_syncs_of_the_source_and_no_other(root: User) -> None:
    first = make_sync(name="CRM")
    second = make_sync(name="Mailer", source=first.source)
    other = make_sync(name="Elsewhere")
    closed, is_open = EntryStatus.DISCARDED, EntryStatus.OPEN
    made = [
        make_entry(make_run(sync), row_key="C-1", status=status)
        for sync, status in ((first, closed), (first, is_open), (second, is_open), (other, is_open))
    ]
    for number, entry in enumerate(made):
        DLQEvent.objects.create(entry=entry, kind="failed", at=timezone.now() + timedelta(seconds=number), run=entry.run)
    make_entry(make_run(first), row_key="C-2")
    told = passport(loaded(made[1]), user=root)
    assert told.entry_count == 3
    assert [(moment.entry_id, moment.sync_name) for moment in told.moments] == [
        (made[2].pk, "Mailer"),
        (made[1].pk, "CRM"),
        (made[0].pk, "CRM"),
    ]


def test_what_is_under_way_is_named(root: User) -> None:
    entry = make_entry()
    run = make_run(entry.sync)
    send = {"operation": "upsert", "keys": [entry.row_key], "idempotency_key": "x", "attempt": 1}
    Step.objects.create(run=run, number=7, kind="upload", status="inflight", started_at=timezone.now(), sends=[send])
    Step.objects.create(
        run=run, number=8, kind="upload", status="inflight", started_at=timezone.now(), sends=[send | {"keys": ["another"]}]
    )
    assert [(one.run_id, one.number) for one in passport(loaded(entry), user=root).under_way] == [(run.pk, 7)]


@pytest.mark.django_db
def test_syncs_that_one_may_not_see_stay_out_of_it() -> None:
    mine = make_sync(name="Mine")
    theirs = make_sync(name="Theirs", source=mine.source)
    Sync.objects.filter(pk=theirs.pk).update(team=Team.objects.create(name="Others"))
    entry, hidden = (make_entry(make_run(sync), row_key="C-1") for sync in (mine, theirs))
    for one in (entry, hidden):
        DLQEvent.objects.create(entry=one, kind="noted", reason=f"secret of {one.sync.name}")
        DeliveredRow.objects.create(sync=one.sync, row_key="C-1", payload_hash=1, accepted_at=timezone.now(), run_id=one.run_id)
    user = make_user("view_dlqentry")
    told = passport(loaded(entry), user=user)
    assert {moment.sync_name for moment in told.moments} == {"Mine"}
    assert [one.sync_name for one in told.standings] == ["Mine"]
    client = Client()
    client.force_login(user)
    assert client.get(reverse("admin:dlq_dlqentry_passport", args=(hidden.pk,))).status_code == 404
    assert "Theirs" not in client.get(reverse("admin:dlq_dlqentry_passport", args=(entry.pk,))).content.decode()


def test_a_long_life_is_told_page_by_page_each_moment_once(root: User, client: Client) -> None:
    entry = make_entry()
    start = timezone.now() - timedelta(days=1)
    DLQEvent.objects.bulk_create(
        DLQEvent(entry=entry, kind="noted", at=start + timedelta(seconds=number // 3), detail={"note": str(number)})
        for number in range(450)
    )
    accepted_at = start + timedelta(seconds=60)
    DeliveredRow.objects.create(
        sync=entry.sync, row_key=entry.row_key, payload_hash=1, accepted_at=accepted_at, run_id=entry.run_id
    )
    seen: list[tuple[str, str | None]] = []
    times: list[datetime] = []
    before = None
    for _ in range(3):
        told = passport(loaded(entry), user=root, before=before)
        seen += [(moment.kind, moment.event.detail["note"] if moment.event else None) for moment in told.moments]
        times += [moment.at for moment in told.moments]
        before = told.older
    assert before is None
    assert times == sorted(times, reverse=True)
    assert len(seen) == len(set(seen)) == 451
    assert ("delivered", None) in seen
    client.force_login(root)
    url = reverse("admin:dlq_dlqentry_passport", args=(entry.pk,))
    assert "Older" in client.get(url).content.decode()
    assert client.get(url, {"before": "junk"}).status_code == 404
    assert client.get(url, {"before": "junk_1"}).status_code == 404


def test_it_takes_few_queries_by_indexes_among_many_entries(root: User, client: Client) -> None:
    entry = make_entry(row_key="C-1")
    group = make_group(entry.sync)
    make_entries(3_000, entry.run, group)
    client.force_login(root)
    url = reverse("admin:dlq_dlqentry_passport", args=(entry.pk,))
    client.get(url)
    with CaptureQueriesContext(connection) as captured:
        assert client.get(url, {"part": "1"}).status_code == 200
    assert len(captured) <= 12, [query["sql"][:90] for query in captured]
    (lookup,) = (query["sql"] for query in captured if '"row_key" =' in query["sql"] and "dlq_dlqentry" in query["sql"])
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {lookup}")
            plan = " ".join(str(row[-1]) for row in cursor.fetchall())
        assert "SCAN dlq_dlqentry" not in plan


def test_the_part_has_no_page_around_it(root: User, client: Client) -> None:
    entry = make_entry()
    client.force_login(root)
    html = client.get(reverse("admin:dlq_dlqentry_passport", args=(entry.pk,)), {"part": "1"}).content.decode()
    assert "<html" not in html
    assert "Nothing has been recorded yet." in html
