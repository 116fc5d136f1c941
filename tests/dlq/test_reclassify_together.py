"""Runs that refuse rows by the rules they began with, while people change the rules and apply them."""

from __future__ import annotations

import random
import threading

import pytest
from django.db import transaction

from dlq.choices import Door
from dlq.models import DLQEntry, Reclassification
from dlq.services import reclassify, reclassify_slice
from dlq.services.moves import ActRefusedError
from dlq.sink import DLQSink
from syncs.destinations.ruled import RuledDestination
from syncs.engine.ports import Rejected
from syncs.errors import ErrorType
from syncs.models import Connection, ErrorRule, Run, Sync
from syncs.records import RowError
from syncs.services import error_rules
from syncs.services.error_rules import Place
from syncs.services.ledger import DatabaseLedger
from tests.dlq.objects import make_run
from tests.dlq.test_groups_together import again, in_thread
from tests.dlq.test_reclassify import LOCKED, ODD, TAKEN, apply, assert_all_agree, make_rule
from tests.syncs.test_ruled import Answering, BatchResult

pytestmark = pytest.mark.django_db(transaction=True)
ROUNDS = 8


@pytest.mark.usefixtures("several_writers")
def test_all_counts_agree_after_everybody_has_worked_at_once(sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reclassify_slice, "SIZE", 9)
    runs = [make_run(sync) for _ in range(ROUNDS * 2)]
    make_rule(sync.destination)
    problems: list[BaseException] = []
    workers = [
        threading.Thread(target=in_thread, args=(problems, work))
        for work in (lambda: refuse(runs[:ROUNDS], 1), lambda: refuse(runs[ROUNDS:], 2), lambda: change(sync, 3))
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)
    assert not problems
    assert not any(worker.is_alive() for worker in workers)
    assert Reclassification.objects.filter(changed_count__gt=0).exists()
    apply(sync)
    assert apply(sync).changed_count == 0
    assert DLQEntry.objects.live().filter(sync=sync).count() > 20
    assert_all_agree(sync)


def refuse(runs: list[Run], seed: int) -> None:
    """As a run does it: rules read once, then ledger and dead letters in one transaction."""
    random_ = random.Random(seed)
    for run in runs:
        target = Connection.objects.get(pk=run.sync.destination_id)
        ruled = RuledDestination(Answering(BatchResult([])), error_rules.load([target])[target.pk])
        for _commit in range(2):
            failures = []
            for number in random_.sample(range(30), 10):
                message = random_.choice([TAKEN, LOCKED, ODD]).format(number)
                error = ruled._said(RowError(ErrorType.VALIDATION, message, http_status=422))
                failures.append(Rejected(f"k{number}", (f"k{number}",), error, content_hash=number))
            again(lambda failures=failures, run=run: commit(run, failures))  # type: ignore[misc]


def commit(run: Run, failures: list[Rejected]) -> None:
    with transaction.atomic():
        DatabaseLedger(sync_id=run.sync_id, run_id=run.pk).hold(failures)
        DLQSink(run).store(failures, columns=["id"])


def change(sync: Sync, seed: int) -> None:
    random_ = random.Random(seed)
    kinds = [ErrorType.DUPLICATE_KEY, ErrorType.TIMEOUT, ErrorType.SCHEMA_DRIFT, ErrorType.DESTINATION_UNAVAILABLE]
    for _ in range(ROUNDS):
        make_rule(sync.destination, random_.choice(["taken", "locked", "odd"]), error_type=random_.choice(kinds))
        if random_.random() < 0.5:
            ErrorRule.objects.filter(pk__in=ErrorRule.objects.order_by("?").values("pk")[:1]).delete()
        try:
            job = reclassify.request(Place(sync.destination), by=None, door=Door.CLI)
        except ActRefusedError:
            continue
        again(lambda job=job: reclassify.WALK.advance(job.pk, budget_seconds=60))  # type: ignore[misc]
