"""Making a bulk operation from what was confirmed. One row is written, however many dead letters it is about."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.utils import timezone

from dlq.choices import Door, OperationKind, OperationStatus, ReprocessMode
from dlq.models import BulkOperation
from dlq.services import drift_guard, moves
from dlq.services.moves import ActRefusedError
from dlq.services.operations import doorbell
from dlq.services.snapshots import Snapshot
from syncs.services import audit

if TYPE_CHECKING:
    from django.contrib.auth.models import User

WAVE_MAX = 50_000
WAVES_MAX = 50
RATE_MAX = 1_000_000


def create(
    snapshot: Snapshot,
    *,
    by: User,
    reason: str,
    door: Door,
    mode: ReprocessMode | None = None,
    waves: Sequence[int] | None = None,
    rows_per_minute: int | None = None,
    halt_percent: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> BulkOperation:
    """Start what was confirmed; the same confirmation posted again returns the operation it made the first time.

    ``mode``, ``waves`` (sizes, the last repeats), ``rows_per_minute`` and ``halt_percent`` (1 to 100) are for reprocess only.
    ``options``: for assign {"owner": user id or None}. Raises ``ActRefusedError`` with the ``field`` to correct, and
    ``DriftHeldError`` where a reprocess is held back by the schema drift guard.
    """
    kind = _kind(snapshot, by)
    values = {
        "kind": kind,
        "query": snapshot.query,
        "ids": None if snapshot.ids is None else list(snapshot.ids),
        "max_id": snapshot.max_id,
        "as_of": snapshot.as_of,
        "expected_count": snapshot.count,
        "created_by": by,
        "door": door,
        "reason": moves.checked_reason(reason, is_required=kind is OperationKind.DISCARD),
        "options": _options(kind, options or {}),
    }
    if kind is OperationKind.REPROCESS:
        _refuse_drifted(snapshot)
        values |= _pace(mode or ReprocessMode.CURRENT, waves, rows_per_minute, halt_percent)
    elif mode or waves or rows_per_minute or halt_percent:
        raise ActRefusedError("Waves, pace and what is sent are chosen for a reprocess only.", field="mode")
    return _once(snapshot.digest, values)


def _refuse_drifted(snapshot: Snapshot) -> None:
    """Unless this confirmation has made its operation already."""
    if not BulkOperation.objects.filter(token_digest=snapshot.digest).exists():
        drift_guard.refuse_among(snapshot.entries().reprocessable())


def _kind(snapshot: Snapshot, by: User) -> OperationKind:
    if snapshot.kind.value not in set(OperationKind):
        raise ActRefusedError(f"“{snapshot.kind}” is no bulk operation; there are {', '.join(OperationKind)}.", field="kind")
    if snapshot.user_id != by.pk:
        raise ActRefusedError("This confirmation belongs to another user. Choose the dead letters again.")
    if not snapshot.nonce:
        raise ActRefusedError("This confirmation was made by an earlier version. Choose the dead letters again.")
    if not snapshot.count:
        raise ActRefusedError("No dead letter matches any more. Somebody else may have worked on them.")
    return OperationKind(snapshot.kind.value)


def _options(kind: OperationKind, options: Mapping[str, Any]) -> dict[str, Any]:
    if kind is not OperationKind.ASSIGN:
        return {}
    if "owner" not in options:
        raise ActRefusedError("Choose who gets the dead letters, or nobody.", field="owner")
    owner = options["owner"]
    if owner is not None and not get_user_model().objects.filter(pk=owner, is_active=True).exists():
        raise ActRefusedError("There is no active user of that name. Choose another one.", field="owner")
    return {"owner": owner}


def _pace(
    mode: ReprocessMode, waves: Sequence[int] | None, rows_per_minute: int | None, halt_percent: int | None
) -> dict[str, Any]:
    sizes = list(settings.RETL["WAVE_SIZES"] if waves is None else waves)
    if not 1 <= len(sizes) <= WAVES_MAX or not all(1 <= size <= WAVE_MAX for size in sizes):
        raise ActRefusedError(
            f"Wave sizes are 1 to {WAVES_MAX} numbers from 1 to {WAVE_MAX:,}, for example 1, 10, 100, 1000.", field="waves"
        )
    if rows_per_minute is not None and not 1 <= rows_per_minute <= RATE_MAX:
        raise ActRefusedError(
            f"Give the rows a minute, from 1 to {RATE_MAX:,}, or leave it empty for no limit.", field="rows_per_minute"
        )
    percent = 100 if halt_percent is None else halt_percent
    if not 1 <= percent <= 100:
        raise ActRefusedError("The share at which it halts is 1 to 100 percent.", field="halt_percent")
    return {
        "mode": ReprocessMode(mode),
        "wave_sizes": sizes,
        "rows_per_minute": rows_per_minute,
        "halt_percent": percent,
    }


def undo(operation: BulkOperation, *, by: User, reason: str, door: Door) -> BulkOperation:
    """Reopen what a discard closed. Undoing it again returns the first undo, unless that was cancelled or failed.

    Raises ``ActRefusedError`` when it is no discard, not over, discarded nothing, or its time has passed.
    """
    first = BulkOperation.objects.get(pk=operation.pk)
    earlier = list(BulkOperation.objects.filter(of_operation=first).order_by("pk"))
    if earlier and earlier[-1].status not in (OperationStatus.CANCELLED, OperationStatus.FAILED):
        return earlier[-1]
    now = timezone.now()
    _refuse_undo(first, now)
    values = {
        "kind": OperationKind.REOPEN,
        "of_operation": first,
        "max_id": first.max_id,
        "as_of": now,
        "expected_count": first.done_count,
        "created_by": by,
        "door": door,
        "reason": moves.checked_reason(reason, is_required=False),
    }
    return _once(hashlib.sha256(f"undo {first.pk} {len(earlier)}".encode()).hexdigest(), values)


def _refuse_undo(operation: BulkOperation, now: Any) -> None:
    if operation.kind != OperationKind.DISCARD:
        raise ActRefusedError("Only a discard can be undone.")
    if not operation.is_over:
        raise ActRefusedError("It is still under way. Cancel it first; then what it discarded can be undone.")
    if not operation.done_count:
        raise ActRefusedError("It discarded nothing, so there is nothing to undo.")
    if operation.undo_until is None or operation.undo_until < now:
        raise ActRefusedError(
            f"A discard can be undone as a whole for {settings.RETL['UNDO_DAYS']} days. Reopen single dead letters instead: "
            "filter the list by status discarded."
        )


def _once(digest: str, values: Mapping[str, Any]) -> BulkOperation:
    """Insert it unless the same confirmation made one before."""
    found = BulkOperation.objects.filter(token_digest=digest).first()
    if found is not None:
        return found
    try:
        with transaction.atomic():
            made: BulkOperation = BulkOperation.objects.create(token_digest=digest, **values)
            detail = {"kind": made.kind, "expected": made.expected_count, "reason": made.reason}
            audit.record("begun", made, by=made.created_by, door=made.door, detail=detail)
            doorbell.ring(made.pk)
            return made
    except IntegrityError:  # the other of two posts at the same moment
        return BulkOperation.objects.get(token_digest=digest)
