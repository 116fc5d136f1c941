"""Error rules between runs: what they make of the next refusal, and of the dead letters that are there, all counts true."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django_q.models import OrmQ

from dlq import tasks
from dlq.choices import Door, EntryStatus, EventKind, GroupState
from dlq.models import DLQEntry, ErrorGroup, GroupEvent, Reclassification
from dlq.services import entries, groups, reclassify, reclassify_slice, rules, tally, walks
from dlq.services.moves import ActRefusedError
from syncs.errors import ErrorType
from syncs.models import AuditEvent, Connection, DeliveredRow, ErrorRule, Run, Sync, Team
from syncs.records import RowError
from syncs.services import versions
from syncs.services.error_rules import Place
from tests.dlq.group_world import assert_counters_agree, deliver, group_of, rejected, store
from tests.dlq.objects import make_run
from tests.dlq.test_rules import merge
from tests.factories import World
from tests.syncs.objects import make_connection, make_sync

TAKEN = "E-mail 'p{}@example.test' is taken"
LOCKED = "Record {} is locked by another job"
ODD = "Value {} is odd"


def make_rule(target: Connection | str, text: str = "is taken", **values: Any) -> ErrorRule:
    place = {"kind": target} if isinstance(target, str) else {"connection": target}
    defaults = {"name": text, "text": text, "error_type": ErrorType.DUPLICATE_KEY}
    return ErrorRule.objects.create(**place, **{**defaults, **values})


def apply(sync: Sync, by: User | None = None, **values: Any) -> Reclassification:
    job = reclassify.request(Place(sync.destination), by=by, door=Door.ADMIN, **values)
    assert reclassify.start(job)
    job.refresh_from_db()
    assert job.is_over
    return job


def types(sync: Sync) -> dict[str, tuple[str, bool, int | None]]:
    found = DLQEntry.objects.filter(sync=sync)
    return {key: (kind, permanent, rule) for key, kind, permanent, rule in found.values_list(
        "row_key", "error_type", "is_permanent", "error_rule_id"
    )}  # fmt: skip


def assert_all_agree(sync: Sync) -> None:
    """Groups, their counters and hours, the sync's count, the tally and the ledger's holds say what the entries say."""
    assert_counters_agree(sync)
    assert groups.recount(sync) == 0
    assert tally.verify() == []
    for group in ErrorGroup.objects.filter(sync=sync, open_count__gt=0, rule__isnull=True, merging_rules__isnull=True):
        kinds = Counter(group.entries.filter(status=EntryStatus.OPEN).values_list("error_type", flat=True))
        assert set(kinds) <= {group.error_type}
    live = DLQEntry.objects.filter(sync=sync, status=EntryStatus.OPEN)
    assert sum(ErrorGroup.objects.filter(sync=sync).values_list("open_count", flat=True)) == live.count()
    held = dict(DeliveredRow.objects.filter(sync=sync, held_hash__isnull=False).values_list("row_key", "is_hold_permanent"))
    for key, is_permanent in live.values_list("row_key", "is_permanent"):
        assert held.get(key, is_permanent) == is_permanent, key


def held(sync: Sync, run: Run, *keys: str, is_permanent: bool = True) -> None:
    """The ledger's holds on what ``store`` refused."""
    for key in keys:
        entry = DLQEntry.objects.get(sync=sync, row_key=key)
        DeliveredRow.objects.create(
            sync=sync, row_key=key, held_hash=entry.content_hash, is_hold_permanent=is_permanent, run_id=run.pk
        )


# --- in real runs


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, [(1, "Ana", 30), (2, "Bo", -1), (3, "Cy", 50)], max_attempts=1)


BAD = RowError(ErrorType.VALIDATION, "Record 2 is locked by another job", code="E1", field="age", http_status=422)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_of_kind", [True, False])
def test_a_rule_decides_what_the_next_run_makes_of_an_answer(world: World, is_of_kind: bool) -> None:
    target = "memory" if is_of_kind else world.sync.destination
    rule = make_rule(target, "taken", statuses=[422], codes=["E1"], error_type=ErrorType.DUPLICATE_KEY)
    world.destination.bad = {"2": RowError(ErrorType.VALIDATION, "2 is taken", code="E1", http_status=422)}
    run = world.run()
    entry = DLQEntry.objects.select_related("group").get()
    assert (entry.error_type, entry.error_rule_id, entry.said_type, entry.said_permanent) == (
        "duplicate_key", rule.pk, "validation", True,
    )  # fmt: skip
    assert (entry.group.error_type, run.error_summary[0]["type"]) == ("duplicate_key", "duplicate_key")
    ErrorRule.objects.update(is_enabled=False)
    world.sql("UPDATE people SET age = 31 WHERE id = 2")
    world.run()
    entry.refresh_from_db()
    assert (entry.error_type, entry.error_rule_id, entry.said_type, entry.failure_count) == ("validation", None, "", 2)


@pytest.mark.django_db(transaction=True)
def test_a_connections_rule_comes_before_its_kinds(world: World) -> None:
    make_rule("memory", "locked", error_type=ErrorType.SCHEMA_DRIFT)
    mine = make_rule(world.sync.destination, "locked", error_type=ErrorType.FIELD_PERMISSION, position=5)
    world.destination.bad = {"2": BAD}
    world.run()
    assert types(world.sync) == {"2": ("field_permission", True, mine.pk)}


@pytest.mark.django_db(transaction=True)
def test_a_rule_that_makes_a_past_refusal_transient_lets_the_next_run_try_the_row_again(world: World) -> None:
    world.destination.bad = {"2": BAD}
    world.run()
    assert world.run().skipped_count == 1
    rule = make_rule(world.sync.destination, "is locked", error_type=ErrorType.DESTINATION_UNAVAILABLE)
    world.destination.bad = {}
    job = apply(world.sync)
    assert (job.looked_count, job.changed_count) == (1, 1)
    assert types(world.sync) == {"2": ("destination_unavailable", False, rule.pk)}
    assert_all_agree(world.sync)
    run = world.run()
    assert (run.accepted_count, run.skipped_count) == (1, 0)
    assert DLQEntry.objects.get().status == EntryStatus.RESOLVED


@pytest.mark.django_db(transaction=True)
def test_and_one_that_makes_it_final_keeps_the_row_away(world: World) -> None:
    world.destination.bad = {"2": RowError(ErrorType.VALIDATION, "is taken", is_permanent=False)}
    world.run()
    make_rule(world.sync.destination)
    apply(world.sync)
    world.destination.bad = {}
    assert world.run().skipped_count == 1
    assert_all_agree(world.sync)


# --- what is there


def refused(sync: Sync, run: Run) -> None:
    store(run, [rejected(f"t{n}", TAKEN.format(n)) for n in range(3)])
    store(run, [rejected(f"l{n}", LOCKED.format(n)) for n in range(2)] + [rejected("o", ODD.format(1))])


pytestmark = pytest.mark.django_db


def test_entries_move_with_their_type_to_the_group_of_their_error(sync: Sync, run: Run) -> None:
    refused(sync, run)
    held(sync, run, "t0", "l0", "o")
    old, kim = group_of("t0"), User.objects.create(username="kim")
    taken = make_rule(sync.destination)
    locked = make_rule("http", "is locked", error_type=ErrorType.DESTINATION_UNAVAILABLE)
    before = {entry.row_key: entry.updated_at for entry in DLQEntry.objects.all()}
    job = apply(sync, kim, reason="as the vendor says")
    assert types(sync) == {
        **{f"t{n}": ("duplicate_key", True, taken.pk) for n in range(3)},
        **{f"l{n}": ("destination_unavailable", False, locked.pk) for n in range(2)},
        "o": ("validation", True, None),
    }
    new = group_of("t0")
    old.refresh_from_db()
    assert (new.open_count, new.total_count, old.open_count, old.total_count) == (3, 3, 0, 0)
    assert (new.error_type, new.title, new.first_seen_at) == ("duplicate_key", old.title, old.first_seen_at)
    assert DLQEntry.objects.get(row_key="t0").fingerprint == new.fingerprint
    assert dict(DeliveredRow.objects.values_list("row_key", "is_hold_permanent")) == {"t0": True, "l0": False, "o": True}
    after = {entry.row_key: entry.updated_at for entry in DLQEntry.objects.all()}
    assert {key for key in after if after[key] != before[key]} == {"t0", "t1", "t2", "l0", "l1"}
    event = DLQEntry.objects.get(row_key="l0").events.get(kind=EventKind.RECLASSIFIED)
    assert (event.actor, event.door, event.reason, event.detail) == (
        kim, "admin", "as the vendor says",
        {"rule": locked.pk, "rule_name": "is locked", "before": ["validation", True],
         "after": ["destination_unavailable", False], "group": group_of("l0").pk},
    )  # fmt: skip
    assert job.changes == {
        f"{taken.pk}|validation|True|duplicate_key|True": 3,
        f"{locked.pk}|validation|True|destination_unavailable|False": 2,
    }
    told = GroupEvent.objects.filter(kind="retyped").values_list("group_id", "detail")
    assert (new.pk, {"other": old.pk, "count": 3, "is_arrival": True}) in list(told)
    assert (old.pk, {"other": new.pk, "count": 3, "is_arrival": False}) in list(told)
    acts = AuditEvent.objects.filter(target_type="connection", target_id=sync.destination_id).order_by("pk")
    assert [(act.act, act.actor, act.detail["changed"]) for act in acts] == [
        ("applying rules", kim, 0),
        ("rules applied", kim, 5),
    ]
    assert_all_agree(sync)


def test_what_a_rule_said_is_taken_back_once_it_is_gone(sync: Sync, run: Run) -> None:
    refused(sync, run)
    held(sync, run, "l0")
    before, group = types(sync), group_of("l0")
    rule = make_rule(sync.destination, "is locked", error_type=ErrorType.TIMEOUT)
    apply(sync)
    ErrorRule.objects.filter(pk=rule.pk).update(error_type=ErrorType.DUPLICATE_KEY)
    apply(sync)
    entry = DLQEntry.objects.get(row_key="l0")
    assert (entry.error_type, entry.is_permanent, entry.said_type) == ("duplicate_key", True, "validation")
    rule.delete()
    apply(sync)
    assert types(sync) == before
    entry.refresh_from_db()
    assert (entry.group_id, entry.said_type, entry.said_permanent) == (group.pk, "", None)
    assert DeliveredRow.objects.get().is_hold_permanent
    assert apply(sync).changed_count == 0
    assert_all_agree(sync)


def test_what_no_rule_may_touch_and_what_is_not_open_stays(sync: Sync, run: Run) -> None:
    untouched = [ErrorType.MAPPING, ErrorType.INVALID_KEY, ErrorType.UNKNOWN_OUTCOME, ErrorType.WORKER_CRASH]
    store(run, [rejected(kind.value, "it is taken", kind=kind) for kind in untouched])
    store(run, [rejected(key, TAKEN.format(key)) for key in ("queued", "discarded", "resolved", "open")])
    DLQEntry.objects.filter(row_key="queued").update(status=EntryStatus.QUEUED)
    entries.discard(DLQEntry.objects.filter(row_key="discarded"), by=None, reason="x", door=Door.CLI)
    deliver(run, "resolved")
    make_rule(sync.destination, statuses=[422])
    apply(sync)
    assert [key for key, (kind, _, _) in types(sync).items() if kind == "duplicate_key"] == ["open"]


def test_other_connections_and_what_an_earlier_destination_refused_stay(sync: Sync, run: Run) -> None:
    other = make_sync()
    store(run, [rejected("earlier", TAKEN.format(1))])
    store(make_run(other), [rejected("other", TAKEN.format(1))])
    sync.destination = make_connection("destination")
    sync.save()
    store(make_run(sync, version=versions.pin(sync)), [rejected("now", TAKEN.format(1))])
    make_rule(sync.destination)
    apply(sync)
    changed = DLQEntry.objects.exclude(error_rule_id=None).values_list("row_key", flat=True)
    assert list(changed) == ["now"]
    make_rule("http")
    job = reclassify.request(Place(kind="http"), by=None, door=Door.ADMIN)
    assert reclassify.start(job)
    assert set(changed.all()) == {"now", "other"}
    assert AuditEvent.objects.filter(target_type="reclassification", act="rules applied").count() == 1


def test_a_group_rule_still_decides_where_the_entries_stand(sync: Sync, run: Run) -> None:
    refused(sync, run)
    target = group_of("o")
    rules.create(merge(target, field="email"), by=None)
    make_rule(sync.destination)
    apply(sync)
    assert group_of("t0").pk == target.pk
    assert types(sync)["t0"][0] == "duplicate_key"
    assert_counters_agree(sync)
    assert groups.recount(sync) == 0


def test_a_resolved_group_opens_again_when_live_entries_come_into_it(sync: Sync, run: Run) -> None:
    refused(sync, run)
    rule = make_rule(sync.destination)
    apply(sync)
    ErrorGroup.objects.filter(pk=group_of("t0").pk).update(state=GroupState.RESOLVED)
    target = group_of("t0").pk
    rule.delete()
    apply(sync)
    make_rule(sync.destination)
    apply(sync)
    assert (group_of("t0").pk, group_of("t0").state) == (target, "open")


def test_only_syncs_that_the_person_may_see_are_reached(sync: Sync, run: Run) -> None:
    refused(sync, run)
    Sync.objects.filter(pk=sync.pk).update(team=Team.objects.create(name="others"))
    stranger = User.objects.create(username="stranger", is_staff=True)
    with pytest.raises(ActRefusedError, match="No sync that you may see"):
        reclassify.request(Place(sync.destination), by=stranger, door=Door.ADMIN)
    assert not Reclassification.objects.exists()


# --- many entries, workers, other writers


def test_many_entries_are_done_by_a_worker_which_may_die_and_be_woken_twice(
    sync: Sync, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reclassify, "AT_ONCE", 10)
    monkeypatch.setattr(reclassify_slice, "SIZE", 7)
    store(run, [rejected(f"k{n}", (TAKEN if n % 3 else ODD).format(n)) for n in range(40)])
    make_rule(sync.destination)
    OrmQ.objects.all().delete()
    job = reclassify.request(Place(sync.destination), by=None, door=Door.ADMIN)
    assert not reclassify.start(job)
    assert OrmQ.objects.count() == 1
    with pytest.raises(ActRefusedError, match="being applied already"):
        reclassify.request(Place(sync.destination), by=None, door=Door.ADMIN)
    with transaction.atomic():
        assert reclassify._slice(job.pk)
    with monkeypatch.context() as dying:
        dying.setattr(reclassify, "_save", die)
        with pytest.raises(SystemExit), transaction.atomic():
            reclassify._slice(job.pk)
    job.refresh_from_db()
    assert (job.looked_count, job.changed_count, job.is_over) == (7, 4, False)
    assert_all_agree(sync)
    assert reclassify.WALK.ring_lost() == 0
    Reclassification.objects.update(touched_at=job.touched_at - walks.STALE * 2)
    assert reclassify.WALK.ring_lost() == 1
    tasks.reclassify(job.pk)
    tasks.reclassify(job.pk)
    job.refresh_from_db()
    assert (job.is_over, job.changed_count) == (True, 26)
    assert DLQEntry.objects.filter(error_type="duplicate_key").count() == 26
    assert not reclassify.WALK.advance_here()
    assert_all_agree(sync)


def die(*_: Any, **__: Any) -> None:
    raise SystemExit


def test_a_walk_can_be_stopped_and_what_it_did_stands(sync: Sync, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reclassify_slice, "SIZE", 2)
    refused(sync, run)
    make_rule(sync.destination)
    job = reclassify.request(Place(sync.destination), by=None, door=Door.ADMIN)
    with transaction.atomic():
        reclassify._slice(job.pk)
    assert reclassify.cancel(job, by=None)
    assert not reclassify.cancel(job, by=None)
    assert not reclassify.WALK.advance(job.pk, budget_seconds=1)
    assert Counter(DLQEntry.objects.values_list("error_type", flat=True)) == {"duplicate_key": 2, "validation": 4}
    assert GroupEvent.objects.filter(kind="retyped").count() == 2
    assert_all_agree(sync)


def test_what_a_run_refused_by_the_old_rules_meanwhile_is_found_at_the_second_look(
    sync: Sync, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reclassify_slice, "SIZE", 3)
    refused(sync, run)
    make_rule(sync.destination)
    job = reclassify.request(Place(sync.destination), by=None, door=Door.ADMIN)
    for _ in range(2):
        with transaction.atomic():
            reclassify._slice(job.pk)
    assert types(sync)["t0"][0] == "duplicate_key"
    store(make_run(sync), [rejected("t0", TAKEN.format(0))])  # its run had opened the destination before the rule was there
    assert types(sync)["t0"][0] == "validation"
    assert reclassify.WALK.advance_here()
    assert types(sync)["t0"][0] == "duplicate_key"
    assert_all_agree(sync)


def test_an_entry_that_changes_between_look_and_lock_is_left_to_who_changed_it(
    sync: Sync, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(sync, run)
    make_rule(sync.destination)
    place = reclassify_slice._placed

    def disturbed(wanted: Any) -> Any:
        found = place(wanted)
        entries.discard(DLQEntry.objects.filter(row_key="t1", status="open"), by=None, reason="x", door=Door.CLI)
        return found

    monkeypatch.setattr(reclassify_slice, "_placed", disturbed)
    apply(sync)
    assert types(sync)["t1"][0] == "validation"
    assert types(sync)["t2"][0] == "duplicate_key"
    assert_all_agree(sync)


@pytest.mark.parametrize("seed", range(2))
def test_all_counts_agree_after_any_sequence_of_acts(sync: Sync, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    random_ = random.Random(seed)
    monkeypatch.setattr(reclassify_slice, "SIZE", 4)
    keys = [f"k{n}" for n in range(12)]
    for _step in range(20):
        act(sync, random_, keys)
        assert_all_agree(sync)
    assert Reclassification.objects.filter(changed_count__gt=0).exists()


def act(sync: Sync, random_: random.Random, keys: list[str]) -> None:
    chosen = random_.sample(keys, random_.randint(1, 5))
    mine = DLQEntry.objects.filter(sync=sync, row_key__in=chosen)
    name = random_.choice(["store", "store", "store", "deliver", "discard", "reopen", "rule", "rule", "apply", "off"])
    if name == "store":
        messages = [TAKEN, LOCKED, ODD]
        store(make_run(sync), [rejected(key, random_.choice(messages).format(key)) for key in chosen])
    elif name == "deliver":
        deliver(make_run(sync), *chosen)
    elif name == "discard":
        entries.discard(mine, by=None, reason="test", door=Door.CLI)
    elif name == "reopen":
        entries.reopen(mine, by=None, door=Door.CLI)
    elif name == "rule":
        text = random_.choice(["taken", "locked", "odd|taken"])
        kind = random_.choice([ErrorType.DUPLICATE_KEY, ErrorType.TIMEOUT, ErrorType.SCHEMA_DRIFT])
        target = random_.choice(["http", sync.destination])
        make_rule(target, text, error_type=kind, position=random_.randint(0, 9))
        apply(sync)
    elif name == "off":
        ErrorRule.objects.filter(pk__in=ErrorRule.objects.order_by("?").values("pk")[:1]).delete()
    else:
        apply(sync)
