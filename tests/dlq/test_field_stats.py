"""What refused values have in common: counted from a sample, said in words."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from dlq.choices import EntryStatus
from dlq.models import ErrorGroup
from dlq.services import group_sample
from dlq.services.field_stats import FieldStats, column_of, field_stats
from dlq.services.group_sample import Sample
from dlq.services.value_hints import hints
from tests.dlq.objects import make_entry, make_group, make_run
from tests.syncs.objects import make_sync

pytestmark = pytest.mark.django_db


def stats_of(values: list[Any], *, field: str = "email", title: str = "refused", **entry: Any) -> FieldStats:
    """Each value in a payload of its own; a dict is a whole payload."""
    run = make_run(make_sync())
    group = make_group(run.sync, field=field, title=title)
    for value in values:
        payload = json.dumps(value if isinstance(value, dict) else {field: value})
        make_entry(run, group=group, **{"payload": payload, **entry})
    found = field_stats(ErrorGroup.objects.get(pk=group.pk), Sample(ErrorGroup.objects.get(pk=group.pk)))
    assert found is not None
    return found


def test_values_are_counted_with_shares_kinds_and_lengths() -> None:
    found = stats_of(["a", "a", "a", "bbb", "", None, 12, {"other": 1}, ["x"], True])
    assert (found.entry_count, found.value_count, found.empty_count, found.distinct_count) == (10, 10, 3, 5)
    most = found.values[0]
    assert (most.label, most.count, most.percent) == ("a", 3, 30)
    kinds = {"text": 4, "empty text": 1, "null": 1, "number": 1, "not there": 1, "list": 1, "true or false": 1}
    assert {line.label: line.count for line in found.kinds} == kinds
    assert found.lengths == (1, 1.0, 3)
    assert found.empty_percent == 30


@pytest.mark.parametrize(
    ("field", "payload", "values"),
    [
        ("address.city", {"address": {"city": "Bonn"}}, ["Bonn"]),
        ("address.city", {"address.city": "Bonn", "address": {"city": "no"}}, ["Bonn"]),
        ("Email", {"email": "a@b.c"}, ["a@b.c"]),
        ("items[3].sku", {"items": [{"sku": "A"}, {"sku": "B"}, {}]}, ["A", "B"]),
        ("items.0.sku", {"items": [{"sku": "A"}]}, ["A"]),
        ("address.city", {"address": "flat"}, []),
        ("a[b", {"a[b": "x"}, ["x"]),
    ],
)
def test_fields_are_found_as_errors_name_them(field: str, payload: dict[str, Any], values: list[str]) -> None:
    found = stats_of([payload], field=field, source_row="{}")
    assert sorted(line.label for line in found.values) == values


def test_texts_that_cannot_be_read_are_counted_and_harm_nothing() -> None:
    run = make_run(make_sync())
    group = make_group(run.sync, field="email")
    deep = "[" * 5_000 + "]" * 5_000
    for payload in ('{"email": "ok@x.y"}', '{"email"', deep, '"text"', '{"email": "' + "x" * group_sample.TEXT_CAP + '"}'):
        make_entry(run, group=group, payload=payload)
    group.refresh_from_db()
    found = field_stats(group, Sample(group))
    assert found is not None
    assert (found.value_count, found.unreadable_count, [line.label for line in found.values]) == (1, 4, ["ok@x.y"])


def test_without_a_payload_the_warehouse_column_is_read() -> None:
    run = make_run(make_sync())
    group = make_group(run.sync, field="age")
    make_entry(run, group=group, payload="", source_row='{"years": "old", "age": "no"}')
    group.refresh_from_db()
    found = field_stats(group, Sample(group), column="years")
    assert found is not None
    assert (found.origin, [line.label for line in found.values]) == ("warehouse row", ["old"])
    assert column_of([{"destination_field": "Age", "column": "years"}], "age") == "years"
    assert column_of([{"destination_field": "x", "column": None}], "x") == ""


def test_the_sample_is_bounded_newest_first_and_of_live_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(make_sync())
    group = make_group(run.sync, field="email")
    now = timezone.now()
    for number in range(30):
        at = now - timedelta(minutes=number)
        make_entry(run, group=group, payload=json.dumps({"email": f"v{number}"}), last_failed_at=at, row_key=f"k{number}")
    make_entry(run, group=group, status=EntryStatus.DISCARDED, payload='{"email": "closed"}')
    make_entry(
        run, group=group, status=EntryStatus.QUEUED, payload='{"email": "queued"}', last_failed_at=now - timedelta(days=9)
    )
    group.refresh_from_db()
    for is_big in (False, True):
        if is_big:
            monkeypatch.setattr(group_sample, "_SORTED_WHOLE", 5)
        sample = Sample(group, size=20)
        found = field_stats(group, sample)
        assert found is not None
        assert (found.entry_count, found.is_whole) == (20, False)
        assert [entry.row_key for entry in sample.newest] == [f"k{number}" for number in range(10)]
        whole = field_stats(group, Sample(group))
        assert whole is not None
        assert (whole.entry_count, whole.is_whole) == (31, True)
        assert "closed" not in {line.label for line in whole.values}


@pytest.mark.parametrize(
    ("values", "title", "said"),
    [
        (["ana.x.test", "bo.x.test", "cy.y.test"], "not a valid email address", "All 3 lack an @."),
        (["a@b@c.d", "x@y@z.w"], "not a valid email address", "Both hold more than one @."),
        (["ana", "bo@x.test", "cy", "di", "ed"], "not a valid email address", "4 of 5 lack an @."),
        (["x" * 312, "y" * 20], "too long", "The shortest has 20 characters, the longest 312."),
        (["abcd", "efgh"], "odd", "Both have 4 characters."),
        (["same", "same", "same"], "odd", "All 3 are the same value."),
        (["", None, ""], "odd", "All 3 are empty or not there."),
        (["a", "", "b", "c"], "odd", "1 of 4 is empty or not there."),
        (["23/11/2026", "1.2.2025"], "date", "Both look like a date with the day or month first."),
        (["12", "1,300.5"], "odd", "Both are numbers written as text."),
        (["+49 (0)171x", "none given"], "not a valid phone number", "Both hold letters."),
        (["www.a.test", "b.test"], "not a valid url", "Both do not begin with http:// or https://."),
        (["a\u00a0b", "c"], "odd", "1 of 2 holds an invisible character, such as a no-break space."),
        ([" a", "b"], "odd", "1 of 2 begins or ends with a blank."),
        (["n/a"], "odd", "The only value stands for nothing, such as “n/a”."),
        (["<b>x</b>", "<i>y</i>"], "odd", "Both hold HTML."),
        (["DE-17", "DE-18 and more"], "odd", "Both begin with “DE-1”."),
        ([-1, -5.5], "odd", "Both are negative: from -5.5 to -1."),
        ([1, 2000], "odd", "Both are numbers from 1 to 2,000."),
    ],
)
def test_patterns_are_said_in_words(values: list[Any], title: str, said: str) -> None:
    assert said in stats_of(values, field="value", title=title).hints


def test_hints_are_few_and_never_of_nothing() -> None:
    assert hints(strings=[], lengths=[], numbers=[], filled=0, empty=0, distinct=0, top=None) == []
    many = [f"<b>AA;{number}\u00a0</b> " for number in range(50)]
    found = hints(
        strings=many, lengths=[len(one) for one in many], numbers=[], filled=50, empty=3, distinct=50, top=(many[0], 1)
    )
    assert 3 < len(found) <= 6


def test_a_group_that_names_no_field_has_no_statistics() -> None:
    group = make_group(make_sync(), field=" ")
    assert field_stats(group, Sample(group)) is None
