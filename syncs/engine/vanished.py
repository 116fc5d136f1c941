"""Mirror mode, after a complete read: rows that the warehouse has no longer are deleted at the destination."""

from __future__ import annotations

from collections.abc import Iterator

from syncs.engine.intake import Intake, vanished_records
from syncs.engine.plan import Plan
from syncs.engine.ports import Counts, Ledger
from syncs.errors import FatalError


def vanished_intakes(plan: Plan, ledger: Ledger, counts: Counts) -> Iterator[Intake]:
    """Raises ``FatalError`` before the first, when there are more of them than the sync's delete guard lets pass."""
    _check_delete_guard(plan, ledger, counts)
    for chunk in ledger.vanished():
        counts.vanished += len(chunk)
        records = vanished_records(plan, chunk)
        counts.skipped += len(chunk) - len(records)
        yield Intake(records=records)


def _check_delete_guard(plan: Plan, ledger: Ledger, counts: Counts) -> None:
    vanished, total = ledger.count_vanished()
    is_much = vanished > plan.delete_guard_rows or vanished * 100 > total * plan.delete_guard_percent
    if vanished and (is_much or counts.read == 0) and vanished > (plan.approved_delete_count or 0):
        raise FatalError(
            f"The delete guard stopped the run: {vanished:,} of {total:,} delivered rows are no longer in the query, and "
            f"the limit is {plan.delete_guard_percent} % or {plan.delete_guard_rows:,} rows. Nothing was deleted. "
            f"Check the query; if the deletes are right, approve {vanished:,} deletes on the sync page and run it again.",
            code="delete_guard",
            field="mode",
        )
