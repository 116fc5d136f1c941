"""Error groups follow their entries: counters, hours, and the states that change by themselves."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dlq.choices import Door, GroupEventKind, GroupState
from dlq.models import DLQEntry, ErrorGroup, GroupEvent, GroupHour
from dlq.services import entries, overtaken
from dlq.sink import DLQSink
from syncs.errors import ErrorType
from syncs.models import DeliveredRow, Run, Sync
from tests.dlq.group_world import assert_counters_agree, deliver, group_of, rejected, store
from tests.dlq.objects import make_run

pytestmark = pytest.mark.django_db

BAD_MAIL = "'{}' is not a valid email address"
TOO_LONG = "The text is too long: {} characters"


def failed_count(group: ErrorGroup) -> int:
    return sum(GroupHour.objects.filter(group=group).values_list("failed_count", flat=True))


def resolved(group: ErrorGroup) -> None:
    ErrorGroup.objects.filter(pk=group.pk).update(state=GroupState.RESOLVED)


# --- counters of the sink


def test_first_failures_make_one_group_that_counts_them_by_the_hour(sync: Sync, run: Run) -> None:
    store(run, [rejected(str(n), BAD_MAIL.format(n)) for n in range(7)])
    group = ErrorGroup.objects.get(sync=sync)
    assert (group.open_count, group.total_count, group.state) == (7, 7, GroupState.OPEN)
    assert (group.first_run_id, group.last_run_id) == (run.pk, run.pk)
    assert failed_count(group) == 7
    assert_counters_agree(sync)


def test_a_repeat_by_another_run_is_a_failure_but_no_entry_and_one_by_the_same_run_is_neither(sync: Sync, run: Run) -> None:
    failures = [rejected("a", BAD_MAIL.format("a")), rejected("b", BAD_MAIL.format("b"))]
    store(run, failures)
    store(run, failures)
    group = ErrorGroup.objects.get(sync=sync)
    assert (group.open_count, group.total_count, failed_count(group)) == (2, 2, 2)
    later = make_run(sync)
    store(later, failures)
    group.refresh_from_db()
    assert (group.open_count, group.total_count, failed_count(group)) == (2, 2, 4)
    assert (group.first_run_id, group.last_run_id) == (run.pk, later.pk)
    assert_counters_agree(sync)


def test_a_changed_cause_moves_the_entry_and_counts_it_in_both_groups_ever(sync: Sync, run: Run) -> None:
    store(run, [rejected("a", BAD_MAIL.format("a")), rejected("b", BAD_MAIL.format("b"))])
    old = group_of("a")
    store(make_run(sync), [rejected("a", TOO_LONG.format(300))])
    new = group_of("a")
    old.refresh_from_db()
    assert new.pk != old.pk
    assert (old.open_count, old.total_count, new.open_count, new.total_count) == (1, 2, 1, 1)
    assert_counters_agree(sync)


def test_storing_many_rows_takes_no_query_for_each(sync: Sync, run: Run) -> None:
    def queries(count: int) -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            store(make_run(sync), [rejected(str(n), BAD_MAIL.format(n) if n % 2 else TOO_LONG.format(n)) for n in range(count)])
        return len([query for query in captured if 'INSERT INTO "dlq_dlqe' not in query["sql"] and "bulk" not in query["sql"]])

    store(run, [rejected(str(n), "Something else") for n in range(40)])
    few = queries(4)
    assert queries(40) <= few + 4


# --- states that change by themselves


def test_a_new_failure_regresses_a_resolved_group_and_names_the_run(sync: Sync, run: Run) -> None:
    store(run, [rejected("a", BAD_MAIL.format("a"))])
    group = group_of("a")
    resolved(group)
    later = make_run(sync)
    store(later, [rejected("b", BAD_MAIL.format("b"))])
    group.refresh_from_db()
    assert (group.state, group.open_count) == (GroupState.REGRESSED, 2)
    assert group.state_changed_at is not None
    event = GroupEvent.objects.get(group=group)
    assert (event.kind, event.door, event.detail) == (GroupEventKind.REGRESSED, Door.RUN, {"run": later.pk})


def test_a_live_entry_that_moves_into_a_resolved_group_regresses_it(sync: Sync, run: Run) -> None:
    store(run, [rejected("a", BAD_MAIL.format("a")), rejected("b", TOO_LONG.format(9))])
    target, other = group_of("b"), group_of("a")
    resolved(target)
    resolved(other)
    store(make_run(sync), [rejected("a", TOO_LONG.format(8))])
    target.refresh_from_db()
    other.refresh_from_db()
    assert (target.state, other.state) == (GroupState.REGRESSED, GroupState.RESOLVED)


def test_the_same_entry_failing_again_regresses_a_group_that_was_resolved_with_open_entries(sync: Sync, run: Run) -> None:
    store(run, [rejected("a", BAD_MAIL.format("a"))])
    group = group_of("a")
    resolved(group)
    store(make_run(sync), [rejected("a", BAD_MAIL.format("a"))])
    group.refresh_from_db()
    assert group.state == GroupState.REGRESSED
    store(make_run(sync), [rejected("a", BAD_MAIL.format("a"))])
    assert GroupEvent.objects.filter(group=group).count() == 1  # it regresses once


@pytest.mark.parametrize("before", [GroupState.OPEN, GroupState.ACKNOWLEDGED, GroupState.REGRESSED])
def test_a_group_is_resolved_when_its_last_live_entry_is_delivered(sync: Sync, run: Run, before: GroupState) -> None:
    store(run, [rejected("a", BAD_MAIL.format("a")), rejected("b", BAD_MAIL.format("b"))])
    ErrorGroup.objects.filter(sync=sync).update(state=before)
    later = make_run(sync)
    deliver(later, "a")
    assert group_of("a").state == before
    deliver(later, "b")
    group = group_of("a")
    assert (group.state, group.open_count, group.total_count) == (GroupState.RESOLVED, 0, 2)
    event = GroupEvent.objects.get(group=group)
    assert (event.kind, event.detail) == (GroupEventKind.RESOLVED, {"run": later.pk})
    assert_counters_agree(sync)


def test_a_group_is_resolved_when_newer_data_has_overtaken_its_last_entry(sync: Sync, run: Run) -> None:
    store(run, [rejected("a", BAD_MAIL.format("a"))])
    later = make_run(sync)
    DeliveredRow.objects.create(sync=sync, row_key="a", payload_hash=1, accepted_at=timezone.now(), run_id=later.pk)
    assert overtaken.supersede(list(DLQEntry.objects.values_list("pk", flat=True)), run=later)
    assert (group_of("a").state, group_of("a").open_count) == (GroupState.RESOLVED, 0)


def test_discarding_the_last_entry_does_not_say_that_the_error_is_gone(sync: Sync, run: Run) -> None:
    store(run, [rejected("a", BAD_MAIL.format("a"))])
    entries.discard(DLQEntry.objects.all(), by=None, reason="test row", door=Door.CLI)
    group = group_of("a")
    assert (group.state, group.open_count) == (GroupState.OPEN, 0)
    assert not GroupEvent.objects.exists()


def test_an_entry_of_an_invalid_key_that_left_the_warehouse_resolves_its_group(sync: Sync, run: Run) -> None:
    store(run, [rejected("~1", "The row key is empty", field="", kind=ErrorType.INVALID_KEY)])
    DLQSink(make_run(sync)).finish(is_complete=True)
    assert group_of("~1").state == GroupState.RESOLVED
