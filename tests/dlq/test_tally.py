from __future__ import annotations

import random
import threading
from collections import Counter
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import Sum
from django.utils import timezone

from dlq import triggers
from dlq.choices import Door, EntryStatus
from dlq.models import DLQEntry, EntryTally
from dlq.services import entries, tally
from dlq.services.entry_filter import EntryFilter
from syncs.errors import ErrorType
from tests.dlq.objects import _values as entry_values
from tests.dlq.objects import make_entries, make_entry, make_group, make_run
from tests.syncs.objects import make_sync

KEY = ("sync_id", "status", "error_type", "http_status")
is_postgresql = pytest.mark.skipif("connection.vendor != 'postgresql'", reason="only PostgreSQL collects changes")


def tallied() -> Counter[Any]:
    lines = EntryTally.objects.order_by().values_list(*KEY).annotate(entries=Sum("count"))
    return Counter({line[:4]: line[4] for line in lines if line[4]})


def counted() -> Counter[Any]:
    return Counter(DLQEntry.objects.order_by().values_list(*KEY))


@pytest.mark.django_db
def test_tally_follows_every_kind_of_write() -> None:
    run = make_run(make_sync())
    group = make_group(run.sync)
    make_entries(30, run, group)
    make_entries(7, run, group, http_status=None, error_type="timeout")
    assert tallied() == counted()
    ids = list(DLQEntry.objects.order_by("pk").values_list("pk", flat=True))
    entries.discard(DLQEntry.objects.filter(pk__in=ids[:12]), by=None, reason="x", door=Door.CLI)
    assert tallied() == counted()
    one = DLQEntry.objects.get(pk=ids[20])
    one.error_type, one.http_status = "mapping", None
    one.save()
    changed = list(DLQEntry.objects.filter(pk__in=ids[12:18]))
    for number, entry in enumerate(changed):
        entry.http_status = None if number % 2 else 500
    DLQEntry.objects.bulk_update(changed, ["http_status"])
    assert tallied() == counted()
    DLQEntry.objects.filter(pk__in=ids[25:]).delete()
    assert tallied() == counted()
    assert len(tallied()) == 5
    assert tally.verify() == []


@pytest.mark.django_db
def test_an_update_of_other_columns_writes_no_line() -> None:
    run = make_run(make_sync())
    make_entries(5, run, make_group(run.sync))
    before = list(EntryTally.objects.order_by("pk").values())
    DLQEntry.objects.update(note="x", updated_at=timezone.now(), status=EntryStatus.OPEN)
    assert list(EntryTally.objects.order_by("pk").values()) == before


@pytest.mark.django_db
def test_an_update_says_how_many_entries_it_changed() -> None:
    """A trigger's own writes must not be counted: every act checks this number."""
    run = make_run(make_sync())
    make_entries(9, run, make_group(run.sync))
    assert DLQEntry.objects.update(status=EntryStatus.QUEUED) == 9


@pytest.fixture
def mixed() -> dict[str, Any]:
    one, two = make_run(make_sync(name="One")), make_run(make_sync(name="Two"))
    make_entries(5, one, make_group(one.sync))  # open, validation, 422
    make_entries(3, one, make_group(one.sync), http_status=500)
    make_entries(2, two, make_group(two.sync), error_type="timeout", http_status=None)
    make_entry(two, status=EntryStatus.DISCARDED)
    return {"one": one.sync, "two": two.sync}


@pytest.mark.django_db
def test_counts_of_each_value_leave_out_their_own_filter(mixed: dict[str, Any]) -> None:
    one, two = mixed["one"].pk, mixed["two"].pk
    facets = tally.counts(EntryFilter(sync_ids=(one,), codes=(422,)))
    assert facets is not None
    assert facets.total == 5
    assert facets.statuses == {"open": 5}
    assert facets.syncs == {one: 5}
    assert facets.error_types == {"validation": 5}
    assert facets.codes == {422: 5, 500: 3}
    facets = tally.counts(EntryFilter(statuses=()))
    assert facets is not None
    assert facets.total == 11
    assert facets.statuses == {"open": 10, "discarded": 1}
    assert facets.syncs == {one: 8, two: 3}
    assert facets.codes == {422: 6, 500: 3, None: 2}
    nothing = tally.counts(EntryFilter(sync_ids=(one,), error_types=(ErrorType.TIMEOUT,)))
    assert nothing is not None
    assert nothing.total == 0
    assert nothing.syncs == {two: 2}


@pytest.mark.django_db
@pytest.mark.parametrize("codes", [(), (None,), (500, None)])
@pytest.mark.parametrize("statuses", [(), (EntryStatus.OPEN,), (EntryStatus.OPEN, EntryStatus.DISCARDED)])
def test_the_total_is_what_the_filter_selects(mixed: dict[str, Any], statuses: Any, codes: Any) -> None:
    for connections in ((), (mixed["one"].source_id,), (mixed["two"].destination_id, mixed["one"].source_id)):
        found = EntryFilter(statuses=statuses, codes=codes, connection_ids=connections).at(timezone.now())
        assert tally.total(found) == found.entries().count()


@pytest.mark.django_db
def test_a_total_is_unknown_where_other_filters_are_on(mixed: dict[str, Any]) -> None:
    assert tally.counts(EntryFilter(row_key="x")) is None
    assert tally.total(EntryFilter(window="24h")) is None


@pytest.mark.django_db
def test_counts_take_one_query(mixed: dict[str, Any], django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        tally.counts(EntryFilter())


@pytest.mark.django_db
def test_recount_finds_and_mends_what_is_wrong(mixed: dict[str, Any], capsys: Any) -> None:
    EntryTally.objects.filter(status="discarded").delete()
    EntryTally.objects.create(sync=mixed["one"], status="queued", error_type="timeout", http_status=None, count=4)
    with pytest.raises(SystemExit) as stop:
        call_command("dlq_recount", check=True)
    assert stop.value.code == 1
    said = capsys.readouterr().out
    assert f"sync {mixed['one'].pk}, queued, timeout, no response: tallied 4, found 0" in said
    assert f"sync {mixed['two'].pk}, discarded, validation, response 422: tallied 0, found 1" in said
    assert tallied() != counted()  # checking alone changes nothing
    call_command("dlq_recount")
    assert "2 lines of the tally" in capsys.readouterr().out
    assert tallied() == counted()
    call_command("dlq_recount", check=True)
    assert "All counts agree" in capsys.readouterr().out


@pytest.mark.django_db
def test_recount_puts_triggers_back_that_are_gone(mixed: dict[str, Any], capsys: Any) -> None:
    triggers.remove(connection)
    make_entry(row_key="not counted")
    assert tallied() != counted()
    call_command("dlq_recount")
    assert "triggers" in capsys.readouterr().out
    assert triggers.are_there(connection)
    make_entry(row_key="counted")
    assert tallied() == counted()


@pytest.mark.django_db(transaction=True)
def test_triggers_outlive_a_migration_that_makes_the_table_anew() -> None:
    make_entry()
    with connection.schema_editor() as editor:
        if connection.vendor == "sqlite":
            editor._remake_table(DLQEntry)  # what AlterField and AddConstraint do there
            assert not triggers.are_there(connection)
    call_command("migrate", verbosity=0)
    assert triggers.are_there(connection)
    make_entry()
    assert tallied() == counted()
    assert sum(tallied().values()) == 2


@pytest.mark.django_db(transaction=True)
def test_a_flush_leaves_no_tally_behind() -> None:
    make_entry()
    call_command("flush", interactive=False, verbosity=0)
    assert list(EntryTally.objects.all()) == []
    make_entry()
    assert tallied() == counted()


@is_postgresql
@pytest.mark.django_db
def test_fold_waits_until_there_is_something_to_fold() -> None:
    run = make_run(make_sync())
    for _ in range(4):
        make_entry(run)
    assert EntryTally.objects.count() == 4
    assert tally.fold(least=4) == 0
    assert tally.fold(least=3) == 3
    assert [line.count for line in EntryTally.objects.all()] == [4]
    DLQEntry.objects.all().delete()
    assert tally.fold(least=0) == 2
    assert EntryTally.objects.count() == 0


@is_postgresql
@pytest.mark.django_db(transaction=True)
def test_the_tally_is_exact_at_every_moment_while_many_write_and_fold() -> None:
    runs = [make_run(make_sync()) for _ in range(3)]
    groups = [make_group(run.sync) for run in runs]
    wrong: list[Any] = []
    seen = 0
    over = threading.Event()

    def write(number: int) -> None:
        chance = random.Random(number)
        for _ in range(25):
            run, group = runs[number % 3], groups[number % 3]
            made = DLQEntry.objects.bulk_create(_fresh(run, group, chance.randint(1, 9)))
            mine = DLQEntry.objects.filter(pk__in=[entry.pk for entry in made])
            mine.update(status=EntryStatus.QUEUED)
            mine.filter(pk__in=[entry.pk for entry in made[:3]]).delete()
        connection.close()

    def fold() -> None:
        while not over.is_set():
            tally.fold(least=1)
        connection.close()

    def compare() -> None:
        nonlocal seen
        while not over.is_set():
            wrong.extend(tally.verify())
            seen += 1
        connection.close()

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    others = [threading.Thread(target=work) for work in (fold, fold, compare)]
    for thread in writers + others:
        thread.start()
    for thread in writers:
        thread.join()
    over.set()
    for thread in others:
        thread.join()
    assert seen
    assert wrong == []
    assert tallied() == counted()


def _fresh(run: Any, group: Any, count: int) -> list[DLQEntry]:
    return [DLQEntry(**entry_values(run, group, {})) for _ in range(count)]
