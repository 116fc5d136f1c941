from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from dlq.choices import EntryStatus
from dlq.models import DLQEntry
from dlq.services import paging, tally
from dlq.services.budget import TooSlowError, budget
from dlq.services.entry_filter import EntryFilter
from dlq.services.paging import Page, Position
from syncs.errors import ErrorType
from tests.dlq.objects import make_entries, make_entry, make_group, make_run
from tests.syncs.objects import make_sync

SIZE = 20


def expected(found: EntryFilter) -> list[int]:
    """By the plainest query there is."""
    return list(found.entries().order_by("-last_failed_at", "-id").values_list("pk", flat=True))


def ids(page: Page) -> list[int]:
    return [entry.pk for entry in page.entries]


def show(found: EntryFilter, **place: Position | None) -> Page:
    return paging.page(found, size=SIZE, facets=tally.counts(found), **place)  # type: ignore[arg-type]


def walk(found: EntryFilter) -> tuple[list[int], list[int]]:
    """(ids met on the way down, ids met on the way back up), each page once."""
    down, page = [], show(found)
    while True:
        down += ids(page)
        if page.older is None:
            break
        page = show(found, after=Position.parse(str(page.older)))
    up = ids(page)
    while page.newer is not None:
        page = show(found, before=Position.parse(str(page.newer)))
        up = ids(page) + up
    return down, up


@pytest.fixture
def many() -> datetime:
    """Three syncs, several types and codes; times in tens, so that ids must decide; some failed again."""
    now = timezone.now()
    for number in range(3):
        run = make_run(make_sync())
        make_entries(60, run, make_group(run.sync), last_failed_at=now - timedelta(days=number))
        make_entries(9, run, make_group(run.sync), error_type="timeout", http_status=None)
        make_entries(7, run, make_group(run.sync), status=EntryStatus.DISCARDED)
    for entry in DLQEntry.objects.all():
        entry.last_failed_at = now - timedelta(hours=entry.pk // 10 % 17)
        entry.first_failed_at = entry.last_failed_at - timedelta(hours=entry.pk % 5 * 9)
        entry.save(update_fields=["last_failed_at", "first_failed_at"])
    return now


FILTERS: dict[str, Any] = {
    "one status": {},
    "all": {"statuses": ()},
    "two statuses": {"statuses": (EntryStatus.OPEN, EntryStatus.DISCARDED)},
    "type": {"error_types": (ErrorType.TIMEOUT,)},
    "code": {"codes": (None,), "statuses": ()},
    "text": {"text": "C-"},
    "attempts": {"min_attempts": 1},
}


@pytest.mark.django_db
@pytest.mark.parametrize("few", [10_000, 5], ids=["sorted", "walked"])
@pytest.mark.parametrize("name", [*FILTERS, "age", "age, all", "sync"])
def test_pages_down_and_up_show_every_entry_once(many: datetime, monkeypatch: pytest.MonkeyPatch, name: str, few: int) -> None:
    for limit in ("_SORTED", "_SORTED_TEXT", "COUNT_CAP"):
        monkeypatch.setattr(paging, limit, few)
    values = FILTERS.get(name, {})
    if name.startswith("age"):
        values = {"older_than": many - timedelta(hours=8), "statuses": () if "all" in name else (EntryStatus.OPEN,)}
    if name == "sync":
        values = {"sync_ids": (DLQEntry.objects.earliest("pk").sync_id,)}
    found = EntryFilter(**values).at(many)
    down, up = walk(found)
    assert down == expected(found)
    assert up == down
    assert len(down) == len(set(down)) > SIZE


@pytest.mark.django_db
def test_the_page_before_an_early_position_is_the_first_page_whole(many: datetime) -> None:
    found = EntryFilter()
    third = DLQEntry.objects.open().newest()[2]
    page = show(found, before=Position.of(third))
    assert ids(page) == expected(found)[:SIZE]
    assert page.newer is None
    assert page.older is not None


@pytest.mark.django_db
def test_a_page_keeps_its_place_when_entries_arrive_and_leave(many: datetime) -> None:
    first = show(EntryFilter())
    following = expected(EntryFilter())[SIZE : 2 * SIZE]
    DLQEntry.objects.filter(pk__in=ids(first)[-3:]).update(status=EntryStatus.QUEUED)
    make_entry(last_failed_at=timezone.now())
    assert ids(show(EntryFilter(), after=first.older)) == following


@pytest.mark.django_db
@pytest.mark.parametrize("name", [*FILTERS, "age"])
def test_neighbours_are_those_beside_it_in_the_list(many: datetime, name: str) -> None:
    values = {"older_than": many - timedelta(hours=8)} if name == "age" else FILTERS[name]
    found = EntryFilter(**values).at(many)
    order = expected(found)
    for place in (0, 1, len(order) // 2, len(order) - 1):
        beside = paging.neighbours(found, DLQEntry.objects.get(pk=order[place]))
        assert beside.newer == (order[place - 1] if place else None)
        assert beside.older == (order[place + 1] if place + 1 < len(order) else None)


@pytest.mark.django_db
def test_neighbours_of_an_entry_that_has_left_the_list_are_those_around_its_place(many: datetime) -> None:
    order = expected(EntryFilter())
    DLQEntry.objects.filter(pk=order[5]).update(status=EntryStatus.QUEUED)
    beside = paging.neighbours(EntryFilter(), DLQEntry.objects.get(pk=order[5]))
    assert (beside.newer, beside.older) == (order[4], order[6])


@pytest.mark.django_db
def test_count_of_a_page_is_exact_where_the_tally_knows_it(many: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "COUNT_CAP", 5)
    found = EntryFilter(statuses=(EntryStatus.DISCARDED,))
    assert show(found).count_text == "21"
    timed = EntryFilter(since=many - timedelta(days=30))
    assert show(timed).is_capped


def test_an_estimate_says_so_and_claims_no_more_than_it_knows() -> None:
    assert Page([], 10_000, True, None, estimate=1_234_567).count_text == "about 1,200,000"
    assert Page([], 10_000, True, None).count_text == "more than 10,000"
    assert Page([], 1_234, False, None).count_text == "1,234"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("found", "most"),
    [(EntryFilter(), 2), (EntryFilter(error_types=(ErrorType.TIMEOUT,)), 2), (EntryFilter(min_attempts=2), 2)],
    ids=["first page", "few", "uncounted"],
)
def test_a_page_takes_few_queries(many: datetime, django_assert_max_num_queries: Any, found: EntryFilter, most: int) -> None:
    with django_assert_max_num_queries(most):
        show(found)


@pytest.mark.django_db
@pytest.mark.parametrize("name", FILTERS)
def test_when_the_first_way_is_too_slow_the_other_finds_the_same(
    many: datetime, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    found = EntryFilter(**FILTERS[name]).at(many)
    first, beside = show(found), paging.neighbours(found, DLQEntry.objects.open().newest()[9])
    way = paging._way

    def one_way(*given: Any, is_second: bool) -> Any:
        if not is_second:
            raise TooSlowError("")
        return way(*given, is_second=True)

    monkeypatch.setattr(paging, "_way", one_way)
    assert ids(show(found)) == ids(first)
    assert paging.neighbours(found, DLQEntry.objects.open().newest()[9]) == beside


@pytest.mark.django_db
def test_when_both_ways_are_too_slow_it_says_what_to_add(many: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_way(*_: Any, **__: Any) -> Any:
        raise TooSlowError("")

    monkeypatch.setattr(paging, "_way", no_way)
    page = show(EntryFilter())
    assert page.entries == []
    assert "Choose a sync" in page.problem
    assert paging.neighbours(EntryFilter(), DLQEntry.objects.open()[0]) == paging.Neighbours()


SLOW = {
    "postgresql": "SELECT count(*) FROM generate_series(1, 1000000000)",
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
}


@pytest.mark.django_db(transaction=True)
def test_a_query_past_its_budget_is_stopped_and_the_connection_goes_on() -> None:
    make_entry()
    with pytest.raises(TooSlowError), budget(0.05), connection.cursor() as cursor:
        cursor.execute(SLOW[connection.vendor])
    with budget(5):
        assert DLQEntry.objects.count() == 1
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            assert cursor.fetchone() == ("0",)


@pytest.mark.django_db(transaction=True)
def test_other_errors_inside_a_budget_stay_what_they_are() -> None:
    with pytest.raises(Exception, match="no_such") as raised, budget(5), connection.cursor() as cursor:
        cursor.execute("SELECT * FROM no_such_table")
    assert not isinstance(raised.value, TooSlowError)
