"""Merging and splitting error groups by rules: for what is there, for what follows, and back again."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.urls import reverse
from django_q.models import OrmQ

from dlq import tasks
from dlq.choices import LIVE, Door, EntryStatus, GroupState, RuleKind
from dlq.models import DLQEntry, ErrorGroup, FingerprintRule, GroupEvent, Regrouping
from dlq.services import entries, grouping, groups, regrouping, rules
from dlq.services.moves import ActRefusedError
from dlq.services.rules import Draft
from syncs.errors import ErrorType
from syncs.models import Run, Sync
from tests.dlq.group_world import assert_counters_agree, deliver, group_of, rejected, store
from tests.dlq.objects import make_group, make_run
from tests.syncs.objects import make_sync

pytestmark = pytest.mark.django_db

MAIL = "Property 'email' value 'p{}' is not valid"
PHONE = "Property 'phone' value 'p{}' is not valid"
ODD = "Something else: {}"


def split(group: ErrorGroup, pattern: str = "Property {value} value * is not valid", **values: Any) -> Draft:
    return Draft(RuleKind.SPLIT, group.sync_id, group.pk, pattern=pattern, title="by property", **values)


def merge(group: ErrorGroup, pattern: str = "", **values: Any) -> Draft:
    return Draft(RuleKind.MERGE, group.sync_id, group.pk, pattern=pattern, target_id=group.pk, title="one cause", **values)


def counts(sync: Sync) -> dict[str, tuple[int, int]]:
    return {
        group.title: (group.open_count, group.total_count)
        for group in ErrorGroup.objects.filter(sync=sync)
        if group.total_count
    }


def alike(run: Run) -> ErrorGroup:
    """Five dead letters with one fingerprint and two causes."""
    mails = [rejected(f"m{n}", MAIL.format(n), field="") for n in range(3)]
    store(run, mails + [rejected(f"p{n}", PHONE.format(n), field="") for n in range(2)])
    group = group_of("m0")
    assert (group.open_count, group_of("p0").pk) == (5, group.pk)
    return group


# --- split


def test_a_split_makes_a_group_for_each_value_now_and_from_now_on(sync: Sync, run: Run) -> None:
    group = alike(run)
    rule, is_done = rules.create(split(group), by=None)
    assert is_done
    mails, phones = group_of("m0"), group_of("p0")
    assert (mails.title, phones.title) == ("Property “email” value … is not valid", "Property “phone” value … is not valid")
    assert (mails.open_count, mails.total_count, phones.open_count, phones.total_count) == (3, 3, 2, 2)
    group.refresh_from_db()
    assert (group.open_count, group.total_count) == (0, 0)
    assert {mails.rule_id, phones.rule_id} == {rule.pk}
    assert (mails.rule_value, phones.headline) == ("email", "Property “phone” value … is not valid")
    assert (mails.first_run_id, mails.last_run_id, mails.first_seen_at) == (run.pk, run.pk, group.first_seen_at)
    later = make_run(sync)
    store(later, [rejected("m9", MAIL.format(9), field=""), rejected("n1", "Property 'Name' value 'x' is not valid", field="")])
    assert group_of("m9").pk == mails.pk
    assert group_of("n1").rule_id == rule.pk
    ErrorGroup.objects.filter(pk=phones.pk).update(field="value")
    assert group_of("p0").headline == "value is not valid: “phone”"
    assert_counters_agree(sync)
    assert {(event.group_id, event.kind, event.detail["count"]) for event in GroupEvent.objects.all()} == {
        (mails.pk, "split", 3), (phones.pk, "split", 2), (group.pk, "split", 3), (group.pk, "split", 2),
    }  # fmt: skip


def test_switching_a_split_off_gives_everything_back(sync: Sync, run: Run) -> None:
    group = alike(run)
    rule, _ = rules.create(split(group), by=None)
    deliver(make_run(sync), "m0")
    assert rules.switch(rule, is_active=False, by=None)
    group.refresh_from_db()
    assert {group_of(key).pk for key in ("m1", "m2", "p0", "p1")} == {group.pk}
    assert (group.open_count, group.total_count) == (4, 4)
    assert group_of("m0").title == "Property “email” value … is not valid"  # what is closed stays where it was closed
    assert_counters_agree(sync)
    with pytest.raises(ActRefusedError, match="off already"):
        rules.switch(rule, is_active=False, by=None)
    assert rules.switch(rule, is_active=True, by=None)
    assert counts(sync)["Property “phone” value … is not valid"] == (2, 2)
    assert_counters_agree(sync)


def test_a_split_by_what_turns_out_to_differ_everywhere_makes_no_group_for_each_row(
    sync: Sync, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouping, "MAX_SPLIT", 3)
    group = alike(run)
    rules.create(split(group), by=None)
    failures = [rejected(f"x{n}", f"Property 'f{n}' value 'v' is not valid", field="") for n in range(6)]
    store(make_run(sync), failures[:3])
    store(make_run(sync), failures)
    made = ErrorGroup.objects.filter(sync=sync, rule__isnull=False)
    assert made.count() == 4
    assert group_of("x5").title == "Property (other values) value … is not valid"
    assert group_of("x1").pk == group_of("x5").pk
    assert group_of("x0").pk != group_of("x5").pk
    assert_counters_agree(sync)


# --- merge


def test_a_merge_moves_entries_counters_and_what_follows_into_the_group_it_names(sync: Sync, run: Run) -> None:
    store(run, [rejected("a", MAIL.format(1)), rejected("b", ODD.format("x")), rejected("c", ODD.format("y"), code="E2")])
    target, other = group_of("a"), group_of("b")
    kim = User.objects.create(username="kim")
    rule, is_done = rules.create(merge(target, field="email"), by=kim)
    assert is_done
    target.refresh_from_db()
    other.refresh_from_db()
    assert (target.open_count, target.total_count, other.open_count, other.total_count) == (3, 3, 0, 0)
    store(make_run(sync), [rejected("d", "never seen before")])
    assert group_of("d").pk == target.pk
    assert not ErrorGroup.objects.filter(sync=sync, title="never seen before").exists()
    assert_counters_agree(sync)
    events = GroupEvent.objects.filter(group=target)
    assert [(event.kind, event.actor, event.reason) for event in events] == [("merged", kim, "Rule “one cause”")] * 2
    rules.switch(rule, is_active=False, by=kim)
    assert len({group_of(key).pk for key in "abcd"}) == 4
    assert group_of("a").pk == target.pk
    assert_counters_agree(sync)


def test_a_merge_of_two_takes_just_the_other_or_all_that_is_alike(sync: Sync, run: Run) -> None:
    store(run, [
        rejected("a", "Value 'x' is not a number"), rejected("b", "Value 'y' is not any number", code="E"),
        rejected("c", "Value 'z' is not the number", code="E"),
    ])  # fmt: skip
    just, alike = rules.suggest_merges(group_of("a"), group_of("b"))
    found = rules.preview(just.draft)
    assert (found.problem, found.matched_count, found.moved_count, found.source_count) == ("", 1, 1, 1)
    found = rules.preview(alike.draft)
    assert (alike.draft.pattern, found.matched_count, found.moved_count, found.source_count) == (
        "Value * is not * number",
        3,
        2,
        2,
    )
    rules.create(just.draft, by=None)
    assert group_of("a").pk == group_of("b").pk != group_of("c").pk


def test_a_message_without_words_is_merged_by_type_code_and_field(sync: Sync, run: Run) -> None:
    store(run, [rejected("a", "wrong"), rejected("b", "4711", code="E")])
    (only,) = rules.suggest_merges(group_of("a"), group_of("b"))
    assert (only.draft.pattern, only.draft.error_code) == ("", "E")
    rules.create(only.draft, by=None)
    assert group_of("a").pk == group_of("b").pk


def test_the_newest_rule_decides(sync: Sync, run: Run) -> None:
    group = alike(run)
    store(run, [rejected("o", ODD.format(1), field="")])
    odd = group_of("o")
    rules.create(merge(odd, error_type="validation"), by=None)
    assert odd.pk == group_of("m0").pk
    rules.create(split(group), by=None)
    assert group_of("m0").title == "Property “email” value … is not valid"
    assert group_of("o").pk == odd.pk
    assert_counters_agree(sync)


def test_a_resolved_group_opens_again_when_live_entries_come_into_it(sync: Sync, run: Run) -> None:
    store(run, [rejected("a", MAIL.format(1)), rejected("b", ODD.format("x"))])
    target = group_of("a")
    ErrorGroup.objects.filter(pk=target.pk).update(state=GroupState.RESOLVED)
    rules.create(merge(target, field="email"), by=None)
    target.refresh_from_db()
    assert target.state == GroupState.OPEN
    assert GroupEvent.objects.filter(group=target, kind="reopened").count() == 1


def test_rules_hold_for_their_own_sync_alone(sync: Sync, run: Run) -> None:
    group = alike(run)
    other_run = make_run(make_sync())
    store(other_run, [rejected("z", MAIL.format(1), field="")])
    other = group_of("z")
    rules.create(split(group), by=None)
    store(other_run, [rejected("y", MAIL.format(2), field="")])
    assert group_of("z").pk == group_of("y").pk == other.pk


def test_conditions_narrow_a_rule_and_list_positions_do_not_matter(sync: Sync, run: Run) -> None:
    store(run, [
        rejected("a", "odd one", field="items[1].sku"), rejected("b", "odd two", field="items[2].sku"),
        rejected("c", "odd three", field="items[2].name"),
        rejected("d", "odd four", field="items[1].sku", kind=ErrorType.MAPPING),
    ])  # fmt: skip
    rules.create(merge(group_of("a"), "odd *", field="items[7].sku", error_type="validation"), by=None)
    assert group_of("a").pk == group_of("b").pk
    assert len({group_of(key).pk for key in "acd"}) == 3


def test_a_stored_rule_that_cannot_be_read_stops_no_run(sync: Sync, run: Run) -> None:
    FingerprintRule.objects.create(sync=sync, kind="split", pattern="no value", title="broken")
    store(run, [rejected("a", MAIL.format(1))])
    assert group_of("a").open_count == 1


# --- before it is saved


def test_preview_counts_what_matches_and_what_comes_out_and_changes_nothing(sync: Sync, run: Run) -> None:
    group = alike(run)
    store(run, [rejected("o", ODD.format(1), field="")])
    before = counts(sync)
    found = rules.preview(split(group))
    assert (found.looked_count, found.matched_count, found.moved_count, found.group_count) == (6, 5, 5, 2)
    assert [(line.title, line.count, line.group) for line in found.lines] == [
        ("Property “email” value … is not valid", 3, None), ("Property “phone” value … is not valid", 2, None),
    ]  # fmt: skip
    assert found.lines[0].sources == [(group, 3)]
    assert counts(sync) == before
    assert not FingerprintRule.objects.exists()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"pattern": "Property is not valid"}, "needs {value} once"),
        ({"pattern": "Property {value} is quite right"}, "None of the 5 dead letters"),
        ({"error_type": "no_such"}, "no such error type"),
        ({"error_code": "E404"}, "None of the 5"),
    ],
)
def test_a_split_that_makes_no_sense_is_refused_in_words(sync: Sync, run: Run, values: dict[str, str], words: str) -> None:
    group = alike(run)
    with pytest.raises(ActRefusedError) as refusal:
        rules.create(Draft(**{**as_dict(split(group)), **values}), by=None)
    assert words in str(refusal.value)
    assert not FingerprintRule.objects.exists()
    assert not Regrouping.objects.exists()


def as_dict(draft: Draft) -> dict[str, Any]:
    return {name: getattr(draft, name) for name in Draft.__dataclass_fields__}


def test_a_merge_that_makes_no_sense_is_refused_in_words(sync: Sync, run: Run) -> None:
    group = alike(run)
    foreign = make_group(make_sync())
    for draft, words in (
        (merge(group), "would take in every error"),
        (merge(group, "*"), "fewer than 3"),
        (merge(group, "Property *"), "in this group already"),
        (Draft(**{**as_dict(merge(group, "Property *")), "target_id": foreign.pk}), "of this sync"),
        (Draft(**{**as_dict(merge(group, "Property *")), "title": " "}), "Give the rule a name"),
        (Draft(**{**as_dict(merge(group, "Property *")), "title": "x" * 256}), "Give the rule a name"),
    ):
        with pytest.raises(ActRefusedError) as refusal:
            rules.create(draft, by=None)
        assert words in str(refusal.value)


def test_a_split_into_too_many_groups_and_too_many_rules_are_refused(
    sync: Sync, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = alike(run)
    monkeypatch.setattr(rules, "MAX_VALUES", 1)
    with pytest.raises(ActRefusedError, match="2 groups would come out of 5"):
        rules.create(split(group), by=None)
    monkeypatch.setattr(rules, "MAX_VALUES", 100)
    monkeypatch.setattr(rules, "MAX_RULES", 1)
    first, _ = rules.create(split(group), by=None)
    with pytest.raises(ActRefusedError, match="has 1 rules"):
        rules.create(split(group, "Property * value {value} is not valid"), by=None)
    rules.switch(first, is_active=False, by=None)
    rules.create(split(group, "Property * value {value} is not valid"), by=None)
    with pytest.raises(ActRefusedError, match="has 1 rules"):
        rules.switch(first, is_active=True, by=None)
    assert FingerprintRule.objects.filter(is_active=True).count() == 1


# --- many entries


def test_many_entries_are_regrouped_by_a_worker_which_may_die_and_be_woken_twice(
    sync: Sync, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(regrouping, "AT_ONCE", 10)
    monkeypatch.setattr(regrouping, "SLICE", 7)
    store(run, [rejected(f"k{n}", (MAIL if n % 3 else PHONE).format(n), field="") for n in range(40)])
    group = group_of("k0")
    OrmQ.objects.all().delete()
    _rule, is_done = rules.create(split(group), by=None)
    assert not is_done
    assert OrmQ.objects.count() == 1
    assert group_of("k0").pk == group.pk
    for _ in range(3):  # a worker does three slices and dies in the fourth
        assert regrouping._slice(sync.pk)
    with monkeypatch.context() as dying:
        dying.setattr(regrouping, "_save", die)
        with pytest.raises(SystemExit):
            regrouping._slice(sync.pk)
    job = Regrouping.objects.get(sync=sync)
    assert (job.looked_count, job.is_over) == (21, False)
    assert_counters_agree(sync)
    tasks.regroup(sync.pk)
    tasks.regroup(sync.pk)
    job.refresh_from_db()
    assert (job.is_over, job.moved_count, job.moves) == (True, 40, {})
    assert {group.title: group.open_count for group in ErrorGroup.objects.filter(open_count__gt=0)} == {
        "Property “email” value … is not valid": 26, "Property “phone” value … is not valid": 14,
    }  # fmt: skip
    assert GroupEvent.objects.filter(group=group, kind="split").count() == 2
    assert_counters_agree(sync)


def die(*_: Any, **__: Any) -> None:
    raise SystemExit


def test_a_lost_doorbell_is_rung_again_by_the_tick(sync: Sync, run: Run) -> None:
    with transaction.atomic():
        regrouping.request(sync.pk, by=None, reason="lost")
    OrmQ.objects.all().delete()
    assert regrouping.WALK.ring_lost() == 0  # somebody may be on the way
    Regrouping.objects.update(touched_at="2020-01-01T00:00:00Z")
    assert regrouping.WALK.ring_lost() == 1
    assert OrmQ.objects.count() == 1
    assert regrouping.WALK.advance_here()
    assert not regrouping.WALK.advance_here()


def test_a_run_that_refused_rows_by_the_old_rules_is_looked_at_again(
    sync: Sync, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = alike(run)
    monkeypatch.setattr(regrouping, "AT_ONCE", 0)
    monkeypatch.setattr(regrouping, "SLICE", 3)
    rules.create(split(group), by=None)
    assert regrouping._slice(sync.pk)
    assert regrouping._slice(sync.pk)
    with monkeypatch.context() as old:  # a commit of a run that read the rules before the new one was there
        old.setattr(grouping, "active_rules", lambda _sync_id: [])
        store(make_run(sync), [rejected("m0", MAIL.format(0), field="")])
    assert group_of("m0").pk == group.pk
    tasks.regroup(sync.pk)
    assert group_of("m0").title == "Property “email” value … is not valid"
    assert_counters_agree(sync)


# --- counters agree with the tables after anything


@pytest.mark.parametrize("seed", range(6))
def test_counters_agree_after_any_sequence_of_acts(sync: Sync, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    random_ = random.Random(seed)
    monkeypatch.setattr(regrouping, "SLICE", 4)
    keys = [f"k{n}" for n in range(14)]
    messages = [MAIL, PHONE, ODD, "Property 'age' value '{}' is too high", "The text is too long: {}"]
    for _step in range(40):
        act(sync, random_, keys, messages)
        assert_counters_agree(sync)
        assert groups.recount(sync) == 0
    assert DLQEntry.objects.filter(sync=sync).count() > 5
    assert FingerprintRule.objects.filter(sync=sync).exists()


def act(sync: Sync, random_: random.Random, keys: list[str], messages: list[str]) -> None:
    chosen = random_.sample(keys, random_.randint(1, 5))
    name = random_.choice(["store", "store", "store", "deliver", "discard", "reopen", "split", "merge", "switch", "resolve"])
    mine = DLQEntry.objects.filter(sync=sync, row_key__in=chosen)
    if name == "store":
        store(make_run(sync), [rejected(key, random_.choice(messages).format(key), field="") for key in chosen])
    elif name == "deliver":
        deliver(make_run(sync), *chosen)
    elif name == "discard":
        entries.discard(mine, by=None, reason="test", door=Door.CLI)
    elif name == "reopen":
        entries.reopen(mine, by=None, door=Door.CLI)
    elif name == "resolve":
        ErrorGroup.objects.filter(sync=sync, pk__in=mine.values("group")).update(state=GroupState.RESOLVED)
    elif name == "switch":
        rule = FingerprintRule.objects.filter(sync=sync).order_by("?").first()
        if rule:
            rules.switch(rule, is_active=not rule.is_active, by=None)
    else:
        live = ErrorGroup.objects.filter(sync=sync, open_count__gt=0).order_by("pk").first()
        if live:
            pattern = "Property {value} value *" if name == "split" else random_.choice(["Property *", "*too*", "*high"])
            make = split if name == "split" else merge
            with suppress(ActRefusedError):
                rules.create(make(live, pattern), by=None)


# --- the pages


def test_a_person_splits_a_group_looks_first_and_switches_it_off_again(root: Client, sync: Sync, run: Run) -> None:
    group = alike(run)
    url = reverse("admin:dlq_errorgroup_rule", args=(group.pk,))
    page = root.get(f"{url}?kind=split").content.decode()
    assert "Property {value} value * is not valid" in page
    assert "Property * value {value} is not valid" in page
    given = {"kind": "split", "pattern": "Property {value} value * is not valid", "title": "by property"}
    page = root.get(url, given).content.decode()
    assert "5 of the newest 5 open dead letters match" in page
    assert "“phone”" in page
    assert "Save and regroup" in page
    answer = root.post(url, given, follow=True).content.decode()
    assert "The rule is saved. The dead letters are regrouped." in answer
    assert group_of("p0").open_count == 2
    assert "Split: 3 dead letters" in answer
    rule = FingerprintRule.objects.get()
    assert rule.created_by == User.objects.get(username="root")
    assert "by property" in root.get("/admin/dlq/fingerprintrule/").content.decode()
    answer = root.post(
        reverse("admin:dlq_fingerprintrule_switch", args=(rule.pk,)), {"to": "off"}, follow=True
    ).content.decode()
    assert "The rule is off" in answer
    assert group_of("p0").pk == group.pk


def test_a_person_merges_two_groups(root: Client, sync: Sync, run: Run) -> None:
    store(run, [rejected("a", "Field “x” is not a number"), rejected("b", "Field “y” is not any number")])
    group, other = group_of("a"), group_of("b")
    url = reverse("admin:dlq_errorgroup_rule", args=(group.pk,))
    assert f'<option value="{other.pk}"' in root.get(f"{url}?kind=merge").content.decode()
    page = root.get(f"{url}?kind=merge&other={other.pk}").content.decode()
    assert 'value="Field “y” is not any number"' in page
    assert "Field+%E2%80%9C%2A%E2%80%9D+is+not+%2A+number" in page
    given = {"kind": "merge", "pattern": "Field “*” is not * number", "title": "numbers"}
    root.post(url, given)
    assert group_of("b").pk == group.pk
    assert DLQEntry.objects.filter(group=group, status__in=LIVE).count() == 2


def test_a_bad_rule_is_refused_on_its_page_and_keeps_what_was_written(root: Client, sync: Sync, run: Run) -> None:
    group = alike(run)
    url = reverse("admin:dlq_errorgroup_rule", args=(group.pk,))
    answer = root.post(url, {"kind": "split", "pattern": "about {value}*", "title": "mine"})
    assert answer.status_code == 400
    assert "directly beside" in answer.content.decode()
    assert 'value="about {value}*"' in answer.content.decode()
    assert root.get(f"{url}?kind=explode").status_code == 404
    assert root.get(f"{url}?kind=merge&other=x").status_code == 404
    assert not FingerprintRule.objects.exists()


def test_rule_pages_take_at_most_twelve_queries(root: Client, sync: Sync, run: Run, django_assert_max_num_queries: Any) -> None:
    group = alike(run)
    store(run, [rejected(f"o{n}", f"{word} is odd") for n, word in enumerate(("this", "that", "it", "all"))])
    rules.create(split(group), by=None)
    url = reverse("admin:dlq_errorgroup_rule", args=(group_of("m0").pk,))
    for address in (
        f"{url}?kind=merge", f"{url}?kind=merge&other={group_of('o1').pk}", f"{url}?kind=split", "/admin/dlq/fingerprintrule/",
        f"{url}?kind=split&pattern=Property {{value}} value *",
    ):  # fmt: skip
        with django_assert_max_num_queries(12):
            assert root.get(address).status_code == 200


def test_statuses_that_wait_move_as_well(sync: Sync, run: Run) -> None:
    group = alike(run)
    DLQEntry.objects.filter(row_key="m0").update(status=EntryStatus.QUEUED)
    rules.create(split(group), by=None)
    assert group_of("m0").title == "Property “email” value … is not valid"
