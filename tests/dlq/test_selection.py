from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import pytest
from django.utils import timezone

from dlq.choices import EntryStatus
from dlq.models import DLQEntry
from dlq.services import paging, selection
from dlq.services.selection import EntryFilter
from syncs.errors import ErrorType
from tests.dlq.objects import make_entries, make_entry, make_group, make_run
from tests.syncs.objects import make_sync

pytestmark = pytest.mark.django_db


def found(**given: str | list[str]) -> set[str]:
    values = {name.rstrip("_"): [value] if isinstance(value, str) else value for name, value in given.items()}
    return set(selection.parse(values).entries().values_list("row_key", flat=True))


def test_without_a_status_the_open_ones_are_meant() -> None:
    make_entry(row_key="open")
    make_entry(row_key="gone", status=EntryStatus.DISCARDED)
    assert found() == {"open"}
    assert found(status="any") == {"open", "gone"}
    assert found(status=["discarded", "resolved"]) == {"gone"}
    assert found(status=["open", "any"]) == {"open", "gone"}


def test_each_filter_narrows_to_its_rows() -> None:
    run = make_run(make_sync())
    old = timezone.now() - timedelta(days=3)
    one = make_entry(run, row_key="a", http_status=409, error_type="duplicate_key", last_failed_at=old)
    make_entry(row_key="b", http_status=None)
    assert found(sync=str(run.sync_id)) == {"a"}
    assert found(run=str(run.pk)) == {"a"}
    assert found(group=str(one.group_id)) == {"a"}
    assert found(error_type="duplicate_key") == {"a"}
    assert found(code="409") == {"a"}
    assert found(code="none") == {"b"}
    assert found(code=["409, none", ""]) == {"a", "b"}
    assert found(key="b") == {"b"}
    assert found(failed="24h") == {"b"}
    assert found(failed="7d") == {"a", "b"}
    assert found(failed="between", to=(old + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M")) == {"a"}
    assert found(from_=(old + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S")) == {"b"}


@pytest.mark.parametrize(
    "given",
    [
        {"status": ["junk"]},
        {"status": ["open", "junk"]},
        {"status": ["any", "junk"]},
        {"sync": ["0"]},
        {"sync": ["x"]},
        {"sync": ["-1"]},
        {"sync": ["9" * 30]},
        {"error_type": ["Validation"]},
        {"code": ["99"]},
        {"code": ["600"]},
        {"code": ["4xx"]},
        {"code": ["409 or 1=1"]},
        {"failed": ["yesterday"]},
        {"failed": ["24h", "7d"]},
        {"failed": ["between"]},
        {"failed": ["24h"], "from": ["2026-11-01"]},
        {"from": ["23/11/2026"]},
        {"from": ["2026-13-01"]},
        {"from": ["2026-02-30T10:00"]},
        {"to": ["soon"]},
        {"to": ["10:00"]},
        {"from": ["2026-11-02"], "to": ["2026-11-01T00:00"]},
        {"from": ["9999-12-31T23:59:59-12:00"]},
        {"key": ["x" * 256]},
        {"key": ["a\0b"]},
        {"key": ["a", "b"]},
        {"group": ["999999"]},
        {"group": ["x"]},
        {"run": ["999999"]},
        {"sttus": ["open"]},
        {"": ["x"]},
        {"status__in": ["open"]},
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_and_selects_nothing(given: dict[str, list[str]]) -> None:
    make_entry()
    parsed = selection.parse(given)
    assert parsed.problems
    assert all(problem.field == next(iter(given)) or len(given) > 1 for problem in parsed.problems)
    assert parsed.entries().count() == 0


def test_a_date_means_its_whole_day() -> None:
    parsed = selection.parse({"from": ["2026-11-22"], "to": ["2026-11-22"]})
    assert parsed.problems == ()
    assert parsed.filter.since == datetime(2026, 11, 22, tzinfo=UTC)
    assert parsed.filter.until == datetime(2026, 11, 23, tzinfo=UTC)


def test_a_filter_survives_its_address() -> None:
    run = make_run(make_sync())
    entry = make_entry(run)
    given = EntryFilter(
        statuses=(EntryStatus.OPEN, EntryStatus.QUEUED),
        sync_ids=(run.sync_id,),
        error_types=(ErrorType.MAPPING,),
        codes=(None, 422),
        since=datetime(2026, 11, 1, 10, 30, 15, 123456, tzinfo=UTC),
        until=datetime(2026, 11, 2, tzinfo=UTC),
        row_key="a&b=c ü",
        group_id=entry.group_id,
        run_id=run.pk,
    )
    for one in (given, EntryFilter(), EntryFilter(statuses=()), EntryFilter(window="7d")):
        parsed = selection.parse(parse_qs(one.query(), keep_blank_values=True))
        assert parsed.problems == ()
        assert parsed.filter == one


def test_a_relative_window_becomes_absolute() -> None:
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert EntryFilter(window="24h").at(now) == EntryFilter(since=datetime(2026, 11, 22, 12, tzinfo=UTC))


@pytest.mark.parametrize("count", [130, 1_130])
def test_pages_by_position_show_each_entry_once_newest_first(count: int) -> None:
    run = make_run(make_sync())
    group = make_group(run.sync)
    at = timezone.now()
    make_entries(count, run, group)
    DLQEntry.objects.update(last_failed_at=at)  # one instant for all: the id decides
    seen: list[int] = []
    after = None
    while True:
        page = paging.page(DLQEntry.objects.open(), after=after)
        seen += [entry.pk for entry in page.entries]
        if page.older is None:
            break
        after = paging.Position.parse(str(page.older))
        assert after == page.older
    assert seen == list(DLQEntry.objects.order_by("-pk").values_list("pk", flat=True))
    assert (page.count, page.is_capped) == (count, False)


def test_count_stops_at_its_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "COUNT_CAP", 5)
    run = make_run(make_sync())
    group = make_group(run.sync)
    make_entries(6, run, group)
    page = paging.page(DLQEntry.objects.all())
    assert (page.count, page.is_capped) == (5, True)
    assert page.count_text.split()[0] in ("more", "about")
    assert paging.page(DLQEntry.objects.filter(pk__in=DLQEntry.objects.values("pk")[:5])).count_text == "5"


@pytest.mark.parametrize(
    "text", ["", "x", "2026-11-23", "2026-11-23T10:00:00_5", "2026-99-23T10:00:00Z_5", "_5", "2026-11-23T10:00:00Z_-5"]
)
def test_a_position_that_is_none(text: str) -> None:
    assert paging.Position.parse(text) is None
