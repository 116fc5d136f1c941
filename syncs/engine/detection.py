"""Change detection: what to do with a mapped row, given what the ledger says of its key. A pure decision table."""

from __future__ import annotations

from enum import StrEnum

from syncs.choices import Detection, SyncMode
from syncs.engine.plan import Plan
from syncs.engine.ports import LedgerRow


class Verdict(StrEnum):
    """``credited_*``: this run settled the row before its worker stopped; count it as it was, do not send again.
    ``moot``: unchanged, and a dead letter of an in-between version is live: the destination already has what the row says."""

    SEND = "send"
    UNCHANGED = "unchanged"
    MOOT = "moot"
    SKIPPED = "skipped"
    CREDITED_ACCEPTED = "credited_accepted"
    CREDITED_DEAD = "credited_dead"


def judge(plan: Plan, known: LedgerRow | None, content: int) -> Verdict:
    """``content``: the payload's hash now. A reprocess sends what is held back; nothing else does."""
    if known is None:
        return Verdict.SEND
    is_ours = plan.is_resumed and known.run_id == plan.run_id
    if known.held_hash == content and known.is_hold_permanent:
        if is_ours:
            return Verdict.CREDITED_DEAD
        return Verdict.SEND if plan.is_forced else Verdict.SKIPPED
    if known.payload_hash == content and is_ours and known.held_hash is None:
        return Verdict.CREDITED_ACCEPTED
    if plan.is_forced:
        return Verdict.SEND
    if plan.mode is SyncMode.INSERT and known.payload_hash is not None:
        return Verdict.UNCHANGED
    if plan.is_full or plan.detection is Detection.ALL_ROWS:
        return Verdict.SEND
    if known.payload_hash == content:
        return Verdict.UNCHANGED if known.held_hash is None else Verdict.MOOT
    return Verdict.SEND


def judge_unmapped(plan: Plan, known: LedgerRow | None, content: int) -> Verdict:
    """The same for a row that could not be mapped; ``content`` is the raw row's hash. SEND here means: dead-letter it."""
    if known is None or known.held_hash != content:
        return Verdict.SEND
    if plan.is_resumed and known.run_id == plan.run_id:
        return Verdict.CREDITED_DEAD
    return Verdict.SEND if plan.is_forced else Verdict.SKIPPED
