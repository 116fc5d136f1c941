"""From warehouse rows to records: keys, mapping, hashes, the ledger. Everything before a batch is cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from syncs.choices import SyncMode
from syncs.engine import hashing
from syncs.engine.detection import Verdict, judge, judge_unmapped
from syncs.engine.hashing import canonical_body, hash64
from syncs.engine.plan import Plan
from syncs.engine.ports import Counts, Ledger, LedgerRow, Mapper, Rejected, Rows
from syncs.errors import ConfigError, ErrorType, FatalError
from syncs.records import Operation, Record, RowError, RowValues

Keyed = tuple[str, RowValues]
_NO_LEDGER: dict[str, LedgerRow] = {}
_NOT_UNICODE = RowError(ErrorType.MAPPING, "A value is not valid Unicode (lone surrogate).", code="invalid_unicode")
_SYNTHETIC_REMEMBERED = 50_000  # bounds memory when millions of rows have no key


@dataclass(slots=True)
class Intake:
    """What one chunk of rows became. ``records`` are to be sent; ``passed``: keys that needed nothing."""

    records: list[Record] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    resolved_unchanged: list[str] = field(default_factory=list)


class Reader:
    """Turns the row stream into intakes; counts read, unchanged and skipped rows as it goes.

    Equal keys stand next to each other in the stream (sources order by the key), so doubled keys are found with one chunk in
    memory. Raises ``ConfigError`` when a key column is missing or a column name is doubled, ``FatalError`` when a mapping error
    is to fail the run.
    """

    def __init__(self, *, plan: Plan, rows: Rows, mapper: Mapper, ledger: Ledger, counts: Counts) -> None:
        self._plan = plan
        self._rows = rows
        self._mapper = mapper
        self._ledger = ledger
        self._counts = counts
        self._columns = rows.columns
        self._key_indexes = key_indexes(rows.columns, plan.key_columns)
        self._operation = plan.operation
        self._use_ledger = True
        self._held: list[Keyed] = []
        self._synthetic: dict[str, int] = {}
        self._invalid: list[Rejected] = []

    def credit_this_run(self) -> None:
        """The ledger may already hold what this run settled: count such rows as it says, as for a run that was resumed."""
        self._plan = replace(self._plan, is_resumed=True)

    def __iter__(self) -> Iterator[Intake]:
        self._use_ledger = not self._ledger.is_empty()
        for chunk in self._rows:
            intake = Intake()
            self._take(self._keyed(chunk), intake)
            self._settle_invalid(intake)
            yield intake
        last = Intake()
        self._settle(self._held, last)
        self._held = []
        self._settle_invalid(last)
        yield last

    def _keyed(self, chunk: Sequence[RowValues]) -> list[Keyed]:
        """Rows with a usable key; the others are set aside."""
        self._counts.read += len(chunk)
        indexes = self._key_indexes
        single = indexes[0] if len(indexes) == 1 else None
        if single is not None:
            values = [row[single] for row in chunk]
            if set(map(type, values)) == {int}:  # no such key can be wrong, save by a length that no column has
                keys = list(map(str, values))
                if max(map(len, keys)) <= hashing.MAX_KEY_LENGTH:
                    return list(zip(keys, chunk, strict=True))
        keyed: list[Keyed] = []
        for row in chunk:
            if single is not None:
                value = row[single]
                key = str(value) if value.__class__ is int else hashing.key_text(value)
            else:
                key = hashing.row_key([row[index] for index in indexes])
            if key is None:
                self._set_aside(row, "", "The row key is NULL or empty.")
            elif (len(key) > hashing.MAX_KEY_LENGTH or not key.isprintable()) and (problem := hashing.key_problem(key)):
                self._set_aside(row, key[:40], problem)
            else:
                keyed.append((key, row))
        return keyed

    def _take(self, keyed: list[Keyed], intake: Intake) -> None:
        """Hold the last key's rows back: the next chunk may go on with the same key."""
        rows = self._held + keyed
        if not rows:
            return
        last_key = rows[-1][0]
        cut = len(rows) - 1
        while cut > 0 and rows[cut - 1][0] == last_key:
            cut -= 1
        self._held = rows[cut:]
        self._settle(rows[:cut], intake)

    def _settle(self, keyed: list[Keyed], intake: Intake) -> None:
        if not keyed:
            return
        keys = [key for key, _ in keyed]
        if self._plan.mode is SyncMode.MIRROR:
            self._ledger.mark_seen(list(dict.fromkeys(keys)))
        if len(set(keys)) != len(keys):
            keyed = self._without_doubled(keyed)
            keys = [key for key, _ in keyed]
        known = self._ledger.lookup(keys) if self._use_ledger and keys else _NO_LEDGER
        payloads = self._mapper.many([row for _, row in keyed])
        for (key, row), payload in zip(keyed, payloads, strict=True):
            ledger_row = known.get(key)
            try:
                body = canonical_body(payload) if isinstance(payload, dict) else b""
            except UnicodeEncodeError:
                payload = _NOT_UNICODE
            if not isinstance(payload, dict):
                self._settle_unmapped(key, row, payload, ledger_row, intake)
                continue
            content = hash64(body)
            is_known = ledger_row is not None
            record = Record(key, self._operation, payload, body, content, row, self._plan.is_forced, is_known)
            if ledger_row is None:
                intake.records.append(record)
            else:
                record.had_entry = record.had_entry or ledger_row.held_hash is not None
                self._count(judge(self._plan, ledger_row, content), record, intake)

    def _without_doubled(self, keyed: list[Keyed]) -> list[Keyed]:
        count: dict[str, int] = {}
        for key, _ in keyed:
            count[key] = count.get(key, 0) + 1
        single = []
        for key, row in keyed:
            if count[key] == 1:
                single.append((key, row))
            else:
                self._set_aside(row, key, f"{count[key]} rows share the row key “{key}”; none was sent.")
        return single

    def _count(self, verdict: Verdict, record: Record, intake: Intake) -> None:
        counts = self._counts
        if verdict is Verdict.SEND:
            intake.records.append(record)
        elif verdict is Verdict.UNCHANGED:
            counts.unchanged += 1
        elif verdict is Verdict.MOOT:
            counts.unchanged += 1
            intake.resolved_unchanged.append(record.key)
        elif verdict is Verdict.SKIPPED:
            counts.skipped += 1
        elif verdict is Verdict.CREDITED_ACCEPTED:
            counts.accepted += 1
        else:
            counts.dead_lettered += 1

    def _settle_unmapped(self, key: str, row: RowValues, error: RowError, known: LedgerRow | None, intake: Intake) -> None:
        if self._plan.fail_on_mapping_error:
            raise FatalError(
                f"Row {key}: {error.message} The sync is set to fail on mapping errors.",
                field=error.field,
                code=error.code,
                error_type=error.type,
            )
        content = hashing.hash_unmapped(self._columns, row)
        verdict = judge_unmapped(self._plan, known, content)
        if verdict is Verdict.SKIPPED:
            self._counts.skipped += 1
        elif verdict is Verdict.CREDITED_DEAD:
            self._counts.dead_lettered += 1
        else:
            self._counts.dead_lettered += 1
            intake.rejected.append(Rejected(key, row, error, content, operation=self._plan.operation, attempts=0))

    def _set_aside(self, row: RowValues, key: str, message: str) -> None:
        """A row whose key says nothing gets a synthetic key from its content, so that each such row has its own dead letter."""
        content = hashing.hash_row(self._columns, row)
        synthetic = f"{_printable(key)}~{content & 0xFFFFFFFFFFFFFFFF:016x}"
        seen = self._synthetic.get(synthetic, 0) + 1
        if seen > 1 or len(self._synthetic) < _SYNTHETIC_REMEMBERED:
            self._synthetic[synthetic] = seen
        if seen > 1:  # the very same row again
            synthetic = f"{synthetic}~{seen}"
        error = RowError(ErrorType.INVALID_KEY, message, code="doubled_key" if key else "null_key")
        self._invalid.append(
            Rejected(synthetic, row, error, content, operation=self._plan.operation, attempts=0, is_synthetic=True)
        )

    def _settle_invalid(self, intake: Intake) -> None:
        if not self._invalid:
            return
        rows, self._invalid = self._invalid, []
        known = self._ledger.lookup([rejected.key for rejected in rows]) if self._use_ledger else _NO_LEDGER
        again = []
        for rejected in rows:
            verdict = judge_unmapped(self._plan, known.get(rejected.key), rejected.content_hash)
            if verdict is Verdict.SKIPPED:
                self._counts.skipped += 1
                again.append(rejected.key)
                continue
            self._counts.dead_lettered += 1
            if verdict is Verdict.CREDITED_DEAD:
                again.append(rejected.key)
            else:
                intake.rejected.append(rejected)
        if again:
            self._ledger.mark_seen(again)


def _printable(key: str) -> str:
    text = key.encode("utf-8", "replace").decode()
    return "".join(char if char.isprintable() else "·" for char in text)[:200]


def key_indexes(columns: Sequence[str], key_columns: Sequence[str]) -> list[int]:
    """Positions of the key columns. Raises ``ConfigError`` naming the column and what the query returns."""
    doubled = sorted({name for name in columns if list(columns).count(name) > 1})
    if doubled:
        raise ConfigError(
            f"The query returns the column {', '.join(doubled)} more than once. Give each column its own name with AS.",
            field="query",
        )
    missing = [name for name in key_columns if name not in columns]
    if missing or not key_columns:
        raise ConfigError(
            f"The query does not return the key column {', '.join(missing) or '(none is set)'}. "
            f"It returns: {', '.join(columns)}.",
            field="key_columns",
        )
    return [list(columns).index(name) for name in key_columns]


def vanished_records(plan: Plan, chunk: Iterable[tuple[str, int | None]]) -> list[Record]:
    """Delete records for keys that the warehouse no longer has (mirror mode), less those whose delete is held back."""
    records = []
    for key, held in chunk:
        parts = hashing.split_key(key, len(plan.key_columns))
        payload = dict(zip(plan.key_fields or plan.key_columns, parts, strict=False))
        body = canonical_body(payload)
        content = hash64(body)
        if content != held:
            records.append(Record(key, Operation.DELETE, payload, body, content, (), had_entry=True))
    return records
