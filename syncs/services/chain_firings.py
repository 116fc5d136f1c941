"""Chains, when a run ends: noted in the transaction of the end, answered after its commit, or by the next tick.

The note is unique for chain and run, so that no end fires twice; and it is there if and only if the run has ended, so that none
is lost. What comes of it cannot touch the run that ended.
"""

from __future__ import annotations

import logging
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from syncs.choices import ChainWhen, RunStatus, Trigger
from syncs.errors import RedriveError
from syncs.models import ChainFiring, Run, SyncChain

logger = logging.getLogger(__name__)

_FIRES: dict[str, tuple[str, ...]] = {
    RunStatus.SUCCEEDED: (ChainWhen.SUCCEEDED, ChainWhen.DELIVERED, ChainWhen.ENDED),
    RunStatus.PARTIAL: (ChainWhen.DELIVERED, ChainWhen.ENDED),
    RunStatus.FAILED: (ChainWhen.ENDED,),
    RunStatus.CANCELLED: (ChainWhen.ENDED,),
}
_NARROW = {"keys", "limit", "selection"}  # a run of chosen rows does not do what the next sync waits for
_AT_ONCE = 200
_TAKEN = "Being answered."


def note(run_id: int, sync_id: int) -> None:
    """Within the transaction that ends the run: one row for each chain that answers this end. Usually one query."""
    # Locked against a delete at the same moment: the note would refer to nothing, and the run could not end.
    mine = SyncChain.objects.select_for_update(no_key=True).filter(after_id=sync_id, is_enabled=True)
    chains = dict(mine.values_list("pk", "when"))
    if not chains:
        return
    run = Run.objects.only("status", "trigger", "options").get(pk=run_id)
    if run.trigger == Trigger.REPROCESS or _NARROW & run.options.keys():
        return
    fired = [pk for pk, when in chains.items() if when in _FIRES.get(run.status, ())]
    ChainFiring.objects.bulk_create(ChainFiring(chain_id=pk, after_run_id=run_id) for pk in fired)


def on_run_finished(run_id: int, **_: Any) -> None:
    """After the commit: start what waits for the end of this run. Where it is lost, the tick does it."""
    _answer_all(ChainFiring.objects.filter(after_run_id=run_id, outcome=""))


def answer_due() -> int:
    """On the tick: what a process that died has left behind. One query where there is nothing."""
    return _answer_all(ChainFiring.objects.filter(outcome=""))


def _answer_all(waiting: QuerySet[ChainFiring]) -> int:
    done = 0
    for pk in list(waiting.order_by("pk").values_list("pk", flat=True)[:_AT_ONCE]):
        try:
            done += _answer(pk)
        except Exception:
            logger.exception("Chain firing %s could not be answered; the next tick tries again.", pk)
    return done


@transaction.atomic
def _answer(pk: int) -> bool:
    """Whoever changes the outcome first answers; the others find nothing. False: no run was queued."""
    if ChainFiring.objects.filter(pk=pk, outcome="").update(outcome=_TAKEN) != 1:
        return False
    firing = ChainFiring.objects.select_related("chain__sync").get(pk=pk)
    run: Run | None = None
    if not firing.chain.is_enabled:
        outcome = "The chain was switched off meanwhile."
    else:
        try:
            with transaction.atomic():
                run, outcome = _request(firing)
        except RedriveError as refusal:
            outcome = refusal.message
    ChainFiring.objects.filter(pk=pk).update(run=run, outcome=outcome[:255])
    return run is not None


def _request(firing: ChainFiring) -> tuple[Run, str]:
    from syncs.services import runs  # it ends runs as well, and so needs this module

    detail = f"after run {firing.after_run_id}"  # not the name of its sync: who sees this run need not see that one
    run = runs.request(sync=firing.chain.sync, trigger=Trigger.CHAIN, detail=detail)
    is_new = run.trigger == Trigger.CHAIN and run.trigger_detail == detail
    return run, f"Run {run.pk} was queued." if is_new else f"Run {run.pk} was waiting already."
