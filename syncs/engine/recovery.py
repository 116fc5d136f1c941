"""After a crash: calls whose answer was never recorded are put together again and repeated, or their rows set aside.

The keys of such a call are known, its content is read again. Same rows, same content: the same call, under the same key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from syncs.engine.hashing import idempotency_key
from syncs.engine.plan import Plan
from syncs.engine.ports import Rejected, Send
from syncs.engine.sending import Sending, UploadStep, new_sending
from syncs.errors import ErrorType
from syncs.records import Operation, Record, RowError

ISOLATE_AFTER_CRASHES = 2  # a batch that was in flight at this many crashes goes out with nothing beside it
SINGLES_AFTER_CRASHES = 5  # three of them alone: it is the cause. Its rows go out one by one, each with nothing beside it
SET_ASIDE_AFTER_CRASHES = 5  # the same for what cannot be taken apart: it is dead-lettered


class Recovery:
    """Batches whose answer was never recorded, put together again from the same keys, so that the same call is repeated.

    ``claim`` takes a record that belongs to one of them. A batch whose keys did not all come by (unchanged now, or gone) waits
    for the end of the read.
    """

    def __init__(self, sends: Iterable[Send]) -> None:
        self._groups: list[_Group] = []
        self._by_key: dict[str, _Group] = {}
        for send in sends:
            self.add(send)

    def add(self, send: Send) -> None:
        group = _Group(send, Counter(send.keys))
        self._groups.append(group)
        self._by_key.update(dict.fromkeys(send.keys, group))

    def __bool__(self) -> bool:
        return bool(self._groups)

    def claim(self, record: Record) -> bool:
        group = self._by_key.get(record.key)
        if group is None or group.send.operation is not record.operation:
            return False
        group.records[record.key] = record
        return True

    def complete(self) -> Iterator[tuple[Send, list[Record]]]:
        """Groups all of whose keys have come by."""
        done = [group for group in self._groups if len(group.records) == len(group.expected)]
        yield from self._release(done)

    def rest(self) -> Iterator[tuple[Send, list[Record]]]:
        """At the end of the read: what is left, with fewer records where keys no longer need sending."""
        yield from self._release(list(self._groups))

    def _release(self, groups: list[_Group]) -> Iterator[tuple[Send, list[Record]]]:
        for group in groups:
            self._groups.remove(group)
            for key in group.send.keys:
                self._by_key.pop(key, None)
            yield group.send, [group.records[key] for key in group.send.keys if key in group.records]


@dataclass(slots=True, eq=False)
class _Group:
    send: Send
    expected: Counter[str]
    records: dict[str, Record] = field(default_factory=dict)


def may_repeat(plan: Plan, send: Send, records: list[Record]) -> bool:
    """Whether a call whose answer was never recorded may go out again. Records are found by their key; an insert is known by
    its idempotency key alone, so only the very same call may be repeated."""
    if not send.may_have_landed:
        return True
    if send.operation not in plan.idempotent:
        return False
    return (
        send.operation is not Operation.INSERT or idempotency_key(plan.sync_id, send.operation, records) == send.idempotency_key
    )


def recovered_sendings(plan: Plan, step: UploadStep, send: Send, records: list[Record]) -> list[Sending]:
    if not records:
        return []
    is_split = len(records) > 1 and send.crash_count >= SINGLES_AFTER_CRASHES and send.operation is not Operation.INSERT
    parts = [[record] for record in records] if is_split else [records]
    sendings = []
    for part in parts:
        sending = new_sending(plan, step, part)
        # One by one, only the row that is under way at the next crashes gets the blame for them.
        sending.crash_count = ISOLATE_AFTER_CRASHES if is_split else send.crash_count
        sending.is_alone = send.crash_count >= ISOLATE_AFTER_CRASHES
        sending.may_have_landed = send.may_have_landed
        sendings.append(sending)
    return sendings


def crashed(record: Record, crash_count: int) -> Rejected:
    error = RowError(ErrorType.WORKER_CRASH, f"The worker stopped {crash_count} times while this row was being sent.")
    return Rejected(record.key, record.row, error, record.payload_hash, record, record.operation, attempts=crash_count)


def unanswered(record: Record) -> Rejected:
    text = "Nobody can say whether the row was written: the worker stopped before the answer was recorded."
    error = RowError(ErrorType.UNKNOWN_OUTCOME, text, code="unanswered")
    return Rejected(record.key, record.row, error, record.payload_hash, record, record.operation)
