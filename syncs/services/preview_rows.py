"""Rows of a preview, mapped and judged by the rules that a run goes by: keys, mapping, change detection, mode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from syncs.choices import Detection, SyncMode
from syncs.connectors import Issue
from syncs.engine import detection
from syncs.engine.hashing import canonical_body, hash64, hash_unmapped, key_problem, row_key
from syncs.engine.mapping import MappingField, compile_mapping
from syncs.engine.plan import Plan
from syncs.engine.ports import LedgerRow
from syncs.errors import ErrorType
from syncs.models import Run, Sync
from syncs.records import Operation, RowError, RowValues
from syncs.services import targets
from syncs.services.ledger import DatabaseLedger


class Verdict(StrEnum):
    """Against the ledger: never sent, differs from what was accepted, equals it, waits in the DLQ, cannot be sent."""

    NEW = "new"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    HELD = "held"
    REFUSED = "refused"


class Act(StrEnum):
    """What a run in the sync's mode would do. ``create``: as far as the ledger knows; the destination may have the record."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    LEAVE = "leave"
    SKIP = "skip"
    REFUSE = "refuse"


Mapped = dict[str, Any] | RowError
_ACTS = {Verdict.UNCHANGED: Act.LEAVE, Verdict.HELD: Act.SKIP, Verdict.REFUSED: Act.REFUSE}


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """``key`` is None where the row has none. Either ``payload`` or ``error`` is set. ``is_waiting``: refused, and a dead
    letter of this very content waits. ``violations``: what of the payload the destination's fields would refuse, by dotted
    path.
    """

    key: str | None
    values: RowValues
    payload: dict[str, Any] | None
    error: RowError | None
    verdict: Verdict
    act: Act
    operation: Operation
    is_waiting: bool = False
    violations: tuple[Issue, ...] = ()

    @property
    def is_sendable(self) -> bool:
        return self.payload is not None and self.key is not None


@dataclass(frozen=True, slots=True)
class JudgedRows:
    rows: list[PreviewRow]
    starts_over: bool


def judged(
    sync: Sync,
    mapping: Sequence[MappingField],
    columns: tuple[str, ...],
    rows: Sequence[RowValues],
    snapshot: Mapping[str, Any],
) -> JudgedRows:
    """``snapshot``: of the sync now. Raises ``ConfigError`` for a mapping that does not work. Two queries."""
    mapper = compile_mapping(mapping, columns)
    indexes = [columns.index(name) for name in sync.key_column_list]
    keys = [_key(row, indexes) for row in rows]
    doubled = {key for key, count in Counter(keys).items() if count > 1}
    starts_over = _starts_over(sync, snapshot)
    ledger = DatabaseLedger(sync_id=sync.pk, run_id=0)
    known = {} if starts_over else ledger.lookup([key for key in set(keys) if key is not None])
    plan = Plan(0, sync.pk, sync.key_column_list, SyncMode(sync.mode), Detection(sync.detection))
    found = []
    for key, row in zip(keys, rows, strict=True):
        result = _mapped(mapper(row), key, doubled, sync)
        found.append(_judged(plan, key, row, result, known.get(key or ""), columns))
    return JudgedRows(found, starts_over)


def _key(row: RowValues, indexes: Sequence[int]) -> str | None:
    key = row_key([row[index] for index in indexes])
    return None if key is None or key_problem(key) else key


def _mapped(
    result: dict[str, Any] | RowError, key: str | None, doubled: set[str | None], sync: Sync
) -> dict[str, Any] | RowError:
    if key is None or key in doubled:
        text = "Several rows have this row key." if key else "The row key is empty or too long."
        return RowError(ErrorType.INVALID_KEY, text, field=", ".join(sync.key_column_list))
    try:
        if isinstance(result, dict):
            canonical_body(result)
    except UnicodeEncodeError:
        return RowError(ErrorType.MAPPING, "A value is not valid Unicode (lone surrogate).", code="invalid_unicode")
    return result


def _judged(
    plan: Plan,
    key: str | None,
    row: RowValues,
    result: Mapped,
    known: LedgerRow | None,
    columns: tuple[str, ...],
) -> PreviewRow:
    if isinstance(result, RowError):
        is_waiting = detection.judge_unmapped(plan, known, hash_unmapped(columns, row)) is detection.Verdict.SKIPPED
        return PreviewRow(key, row, None, result, Verdict.REFUSED, Act.REFUSE, plan.operation, is_waiting)
    said = detection.judge(plan, known, hash64(canonical_body(result)))
    verdict = _verdict(said, known)
    return PreviewRow(key, row, result, None, verdict, _act(verdict, plan.mode), plan.operation)


def _verdict(said: detection.Verdict, known: LedgerRow | None) -> Verdict:
    if said is detection.Verdict.SKIPPED:
        return Verdict.HELD
    if said in (detection.Verdict.UNCHANGED, detection.Verdict.MOOT):
        return Verdict.UNCHANGED
    return Verdict.NEW if known is None or known.payload_hash is None else Verdict.CHANGED


def _act(verdict: Verdict, mode: SyncMode) -> Act:
    if verdict in _ACTS:
        return _ACTS[verdict]
    if mode is SyncMode.DELETE:
        return Act.DELETE
    if mode is SyncMode.UPDATE:
        return Act.UPDATE
    return Act.CREATE if verdict is Verdict.NEW or mode is SyncMode.INSERT else Act.UPDATE


def delivered(sync: Sync, keys: Sequence[str]) -> tuple[str, ...]:
    """Of rows that the warehouse does not have: those that a mirror delivered, and would delete now."""
    if sync.mode != SyncMode.MIRROR or not keys:
        return ()
    known = DatabaseLedger(sync_id=sync.pk, run_id=0).lookup(keys)
    return tuple(key for key in keys if key in known and known[key].payload_hash is not None)


def _starts_over(sync: Sync, snapshot: Mapping[str, Any]) -> bool:
    """As ``targets.start_over_elsewhere``: the last run wrote to another destination, object or key, or deleted."""
    ran = Run.objects.filter(sync_id=sync.pk, progress_at__isnull=False, version__isnull=False)
    last = ran.order_by("-progress_at").select_related("version").first()
    if last is None or last.version is None:
        return False
    return targets.target(last.version.snapshot) != targets.target(snapshot)
