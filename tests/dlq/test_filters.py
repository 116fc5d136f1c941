"""The filters beyond status, sync and error: what each selects, and that a settled filter cannot come to match more."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from dlq.choices import RowState
from dlq.services import entry_filter, moves, selection
from dlq.services.entry_filter import EntryFilter
from tests.dlq.objects import make_entries, make_entry, make_group, make_run
from tests.syncs.objects import make_connection, make_sync

pytestmark = pytest.mark.django_db


def read(query: str, user: User | None = None) -> EntryFilter:
    parsed = selection.parse(parse_qs(query, keep_blank_values=True), user=user)
    assert parsed.problems == ()
    return parsed.filter


def found(query: str, user: User | None = None) -> set[str]:
    return set(read(query, user).entries().values_list("row_key", flat=True))


def settled(query: str, user: User | None = None) -> EntryFilter:
    """As a snapshot keeps it: through ``at``, an address and back, by nobody."""
    return read(read(query, user).at(timezone.now()).query())


def test_connection_means_source_or_destination() -> None:
    warehouse = make_connection()
    one, two = make_sync(source=warehouse), make_sync(source=warehouse)
    make_entry(make_run(one), row_key="one")
    make_entry(make_run(two), row_key="two")
    make_entry(row_key="elsewhere")
    assert found(f"connection={warehouse.pk}") == {"one", "two"}
    assert found(f"connection={one.destination_id}") == {"one"}
    assert found(f"connection={one.destination_id}&connection={two.destination_id}") == {"one", "two"}
    assert found(f"connection={warehouse.pk}&sync={two.pk}") == {"two"}


def test_connection_without_a_sync_in_reach_matches_nothing_also_when_settled() -> None:
    one = make_entry().sync
    unused = make_connection()
    for query in (f"connection={unused.pk}", f"connection={unused.pk}&sync={one.pk}"):
        assert found(query) == set()
        assert settled(query).is_nothing
        assert list(settled(query).entries()) == []


def test_a_settled_connection_keeps_the_syncs_it_had() -> None:
    warehouse = make_connection()
    make_entry(make_run(make_sync(source=warehouse)), row_key="there")
    fixed = settled(f"connection={warehouse.pk}")
    make_entry(make_run(make_sync(source=warehouse)), row_key="later")
    assert set(fixed.entries().values_list("row_key", flat=True)) == {"there"}


def test_field_is_exact() -> None:
    make_entry(row_key="a", field="tier")
    make_entry(row_key="b", field="address.city")
    make_entry(row_key="c", field="")
    assert found("field=tier") == {"a"}
    assert found("field=tier&field=address.city") == {"a", "b"}
    assert found("field=TIER") == set()


def test_error_code_is_exact() -> None:
    make_entry(row_key="a", error_code="INVALID_EMAIL")
    make_entry(row_key="b", error_code="INVALID_EMAIL_2")
    make_entry(row_key="c", error_code="a,b & c=d")
    assert found("error_code=INVALID_EMAIL") == {"a"}
    assert found("error_code=INVALID_EMAIL&error_code=INVALID_EMAIL_2") == {"a", "b"}
    assert found("error_code=a%2Cb+%26+c%3Dd") == {"c"}
    assert found("error_code=invalid_email") == set()


def test_owner_is_me_nobody_or_a_number() -> None:
    me, other = User.objects.create_user("me"), User.objects.create_user("other")
    make_entry(row_key="mine", owner=me)
    make_entry(row_key="theirs", owner=other)
    make_entry(row_key="free")
    assert found("owner=me", me) == {"mine"}
    assert found("owner=me", other) == {"theirs"}
    assert found("owner=none") == {"free"}
    assert found(f"owner={other.pk}", me) == {"theirs"}
    assert read("owner=me", me).query() == "status=open&owner=me"  # shared, it means whoever looks
    assert settled("owner=me", me).owner == str(me.pk)


def test_age_counts_from_the_first_failure() -> None:
    now = timezone.now()
    make_entry(row_key="again", first_failed_at=now - timedelta(days=9), last_failed_at=now)
    make_entry(row_key="old", first_failed_at=now - timedelta(days=8), last_failed_at=now - timedelta(days=8))
    make_entry(row_key="young", first_failed_at=now - timedelta(days=6), last_failed_at=now)
    assert found("age=7d") == {"again", "old"}
    assert found("age=30d") == set()
    assert found("age=1d") == {"again", "old", "young"}


def test_a_settled_age_is_a_moment() -> None:
    now = datetime(2026, 11, 23, 12, 0, 0, 5, tzinfo=UTC)
    fixed = read("age=7d").at(now)
    assert fixed.older_than == now - timedelta(days=7)
    assert read(fixed.query()) == fixed


def test_attempts_are_a_least_number() -> None:
    for attempts in (1, 3, 8):
        make_entry(row_key=str(attempts), attempt_count=attempts)
    assert found("attempts=1") == {"1", "3", "8"}
    assert found("attempts=3") == {"3", "8"}
    assert found("attempts=9") == set()


def test_row_states_are_words() -> None:
    for state in RowState:
        make_entry(row_key=state.value or "unknown", row_state=state)
    for state in ("unknown", "same", "changed", "gone"):
        assert found(f"row={state}") == {state}
    assert found("row=unknown&row=gone") == {"unknown", "gone"}


class TestText:
    def test_it_finds_keys_by_their_beginning(self) -> None:
        for key in ("C-100", "C-1000", "C-2", "c-100", "xC-100", "C-1\U0010ffff", "C_100", "C%1"):
            make_entry(row_key=key, message="", payload="{}")
        assert found("q=C-1") == {"C-100", "C-1000", "C-1\U0010ffff"}
        assert found("q=C-1000") == {"C-1000"}
        assert found("q=C_1") == {"C_100"}
        assert found("q=C%25") == {"C%1"}

    @pytest.mark.parametrize("key", ["ÄÖ", "日本", "\ud7ff", "\U0010ffff", "a\\b", "'; --"])
    def test_any_key_is_found_by_itself(self, key: str) -> None:
        make_entry(row_key=f"{key}1", message="", payload="{}")
        make_entry(row_key=f"1{key}", message="", payload="{}")
        fixed = EntryFilter(text=key).at(timezone.now())
        assert list(fixed.entries().values_list("row_key", flat=True)) == [f"{key}1"]

    def test_it_finds_groups_by_their_title_whatever_the_case(self) -> None:
        run = make_run(make_sync())
        make_entry(run, group=make_group(run.sync, title="Property … is not VALID"), row_key="a", message="", payload="{}")
        make_entry(run, group=make_group(run.sync, title="Other"), row_key="b", message="", payload="{}")
        assert found("q=is+not+valid") == {"a"}

    def test_it_finds_messages_and_payloads(self) -> None:
        make_entry(row_key="a", message="Cannot read “tomorrow”", payload="{}")
        make_entry(row_key="b", message="", payload='{"name":"Say \\"hi\\" to Zoë"}')
        make_entry(row_key="c", message="", payload="{}", source_row="{}")
        assert found("q=TOMORROW") == {"a"}
        assert found("q=zoë") == {"b"}
        assert found("q=Say+%22hi%22") == {"b"}
        assert found("q=nowhere") == set()

    def test_messages_are_left_out_where_too_many_entries_are_left_and_it_says_so(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(entry_filter, "TEXT_DEEP_MAX", 2)
        run, other = make_run(make_sync()), make_run(make_sync())
        make_entries(3, run, make_group(run.sync), message="needle", payload="{}")
        make_entry(other, row_key="b", message="needle", payload="{}")
        fixed = read("q=needle").at(timezone.now())
        assert list(fixed.entries()) == []
        assert "choose a sync" in fixed.hints[0]
        narrowed = read(f"q=needle&sync={other.sync_id}").at(timezone.now())
        assert [entry.row_key for entry in narrowed.entries()] == ["b"]
        assert narrowed.hints == ()
        timed = read("q=needle&failed=1h").at(timezone.now())
        assert timed.is_text_deep is False  # counted, since the tally knows no times

    def test_more_groups_than_it_takes_are_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(entry_filter, "TEXT_GROUPS_MAX", 2)
        run = make_run(make_sync())
        for _ in range(3):
            make_entry(run, group=make_group(run.sync, title="same words"), message="", payload="{}")
        fixed = read("q=same+words").at(timezone.now())
        assert fixed.entries().count() == 2
        assert "error groups" in fixed.hints[-1]

    def test_settled_it_keeps_its_groups_and_its_depth(self, monkeypatch: pytest.MonkeyPatch) -> None:
        run = make_run(make_sync())
        make_entry(run, group=make_group(run.sync, title="needle one"), row_key="a", message="", payload="{}")
        monkeypatch.setattr(entry_filter, "TEXT_DEEP_MAX", 0)
        fixed = settled("q=needle")
        monkeypatch.undo()
        make_entry(run, group=make_group(run.sync, title="needle two"), row_key="b", message="", payload="{}")
        make_entry(run, row_key="c", message="needle", payload="{}")
        assert set(fixed.entries().values_list("row_key", flat=True)) == {"a"}
        assert found("q=needle") == {"a", "b", "c"}
        assert settled("q=needle") == settled(settled("q=needle").query())


EVERYTHING = (
    "status=open&status=discarded&sync={sync}&connection={connection}&error_type=validation&error_code=X&field=tier&code=422"
    "&code=none&failed=7d&age=30d&key=K&group={group}&run={run}&owner=me&attempts=2&row=changed&row=unknown&q=some+text"
)


def test_every_filter_survives_its_address_settled_or_not() -> None:
    me = User.objects.create_user("me")
    entry = make_entry()
    query = EVERYTHING.format(sync=entry.sync_id, connection=entry.sync.source_id, group=entry.group_id, run=entry.run_id)
    one = read(query, me)
    assert read(one.query(), me) == one
    fixed = one.at(timezone.now())
    again = read(fixed.query())
    assert again.at(timezone.now()) == again
    assert str(again.entries().query) == str(fixed.entries().query)
    assert not {"failed=7d", "age=30d", "owner=me", "connection="} & set(fixed.query().split("&"))


@pytest.mark.parametrize("query", ["", "status=any", "q=x", "age=7d", "owner=none", "attempts=2", "row=gone", "code=none"])
def test_every_filter_is_conditions_on_the_entries_alone(query: str) -> None:
    """Acts put them into an UPDATE, where each row is checked again as it is locked."""
    make_entry()
    entries = read(query).entries()
    assert str(moves.on_own_columns(entries).query) == str(entries.order_by().query)  # needs no rewriting
    assert "JOIN" not in str(entries.order_by().query)
    entries.update(note="seen")


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("q=C-0000", "entry_key"),
        ("error_code=RARE", "entry_code"),
        ("attempts=5", "entry_attempts"),
        ("row=gone", "entry_row_state"),
    ],
)
def test_rare_values_are_found_by_an_index(query: str, index: str) -> None:
    run = make_run(make_sync())
    make_entries(3_000, run, make_group(run.sync))
    make_entry(run, row_key="C-0000", error_code="RARE", attempt_count=7, row_state=RowState.GONE)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE dlq_dlqentry")
    fixed = read(f"{query}&status=any").at(timezone.now())
    if fixed.text:  # only the key is of interest
        fixed = replace(fixed, text_group_ids=(), is_text_deep=False)
    assert index in fixed.entries().order_by().explain()
