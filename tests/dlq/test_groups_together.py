"""Runs, people and a regrouping at work on the same groups at the same moment, on a database that lets them."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import pytest
from django.db import OperationalError, connections

from dlq.choices import Door
from dlq.models import DLQEntry, ErrorGroup, FingerprintRule
from dlq.services import entries, groups, regrouping, rules
from dlq.services.moves import ActRefusedError
from syncs.models import Run, Sync
from tests.dlq.group_world import assert_counters_agree, deliver, rejected, store
from tests.dlq.objects import make_run
from tests.dlq.test_rules import MAIL, ODD, PHONE, split

pytestmark = pytest.mark.django_db(transaction=True)
ROUNDS = 25


def again(work: Callable[[], object]) -> None:
    """A victim of a deadlock does its work again, as the recorder of a run does."""
    for _ in range(10):
        try:
            work()
        except OperationalError as error:
            if getattr(error.__cause__, "sqlstate", "") not in ("40P01", "40001"):
                raise
        else:
            return
    raise AssertionError("it never got through")


@pytest.mark.usefixtures("several_writers")
def test_counters_agree_after_everybody_has_worked_at_once(sync: Sync) -> None:
    runs = [make_run(sync) for _ in range(ROUNDS * 2)]
    store(runs[0], [rejected(f"k{n}", (MAIL if n % 2 else PHONE).format(n), field="") for n in range(60)])
    group = ErrorGroup.objects.get(sync=sync)
    rule, _ = rules.create(split(group), by=None)
    problems: list[BaseException] = []
    workers = [
        threading.Thread(target=in_thread, args=(problems, work))
        for work in (
            lambda: fail(runs[:ROUNDS], 1), lambda: fail(runs[ROUNDS:], 2), lambda: settle(runs, 3), lambda: flip(rule),
        )
    ]  # fmt: skip
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)
    assert not problems
    assert not any(worker.is_alive() for worker in workers)
    regrouping.request(sync.pk, by=None, reason="at last")
    regrouping.start(sync.pk)
    assert_counters_agree(sync)
    assert groups.recount(sync) == 0
    assert DLQEntry.objects.live().filter(sync=sync).exists()


def in_thread(problems: list[BaseException], work: Callable[[], None]) -> None:
    try:
        work()
    except BaseException as problem:
        problems.append(problem)
    finally:
        connections.close_all()


def fail(runs: list[Run], seed: int) -> None:
    random_ = random.Random(seed)
    for run in runs:
        failures = [
            rejected(f"k{n}", random_.choice([MAIL, PHONE, ODD]).format(n), field="") for n in random_.sample(range(60), 20)
        ]
        again(lambda run=run, failures=failures: store(run, failures))  # type: ignore[misc]


def settle(runs: list[Run], seed: int) -> None:
    random_ = random.Random(seed)
    for run in runs[:ROUNDS]:
        keys = [f"k{n}" for n in random_.sample(range(60), 6)]
        again(lambda run=run, keys=keys: deliver(run, *keys))  # type: ignore[misc]
        mine = DLQEntry.objects.filter(row_key__in=keys[:2])
        again(lambda mine=mine: entries.discard(mine, by=None, reason="test", door=Door.CLI))  # type: ignore[misc]


def flip(rule: FingerprintRule) -> None:
    for number in range(10):
        try:
            again(lambda number=number: rules.switch(rule, is_active=bool(number % 2), by=None))  # type: ignore[misc]
        except ActRefusedError:  # the switch had been done before its regrouping fell to a deadlock
            again(lambda: regrouping.start(rule.sync_id))
