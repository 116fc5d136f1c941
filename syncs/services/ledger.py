"""The ledger in the database: set-based look-ups, one statement per chunk of keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import orjson
from django.db import IntegrityError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from syncs.engine.hashing import KEY_SEPARATOR
from syncs.engine.ports import LedgerRow, Rejected, chunked
from syncs.models import DeliveredRow
from syncs.records import Record

_CHUNK = 2000
# Many texts as one: a list parameter costs the client a regular expression a value.
_TEXTS = f"string_to_array(%s, '{KEY_SEPARATOR}')"
_ACCEPT = (
    "INSERT INTO syncs_deliveredrow (sync_id, row_key, payload_hash, accepted_at, held_hash, is_hold_permanent, run_id, "
    "seen_run_id) "
)
_ACCEPT_AGAIN = (
    " ON CONFLICT (sync_id, row_key) DO UPDATE SET payload_hash = excluded.payload_hash, accepted_at = excluded.accepted_at, "
    "held_hash = NULL, is_hold_permanent = excluded.is_hold_permanent, run_id = excluded.run_id, "
    "seen_run_id = excluded.seen_run_id"
)


def _joined(keys: Iterable[str]) -> str:
    return KEY_SEPARATOR.join(keys)


class DatabaseLedger:
    """One sync's ledger, for one run (``engine.ports.Ledger``)."""

    def __init__(self, *, sync_id: int, run_id: int) -> None:
        self._sync_id = sync_id
        self._run_id = run_id
        self._is_postgresql = connection.vendor == "postgresql"

    def is_empty(self) -> bool:
        return not DeliveredRow.objects.filter(sync_id=self._sync_id).exists()

    def _key_condition(self, keys: Sequence[str]) -> tuple[str, str]:
        """One parameter for any number of keys, whatever the database's limit on parameters."""
        if self._is_postgresql:
            return f"row_key = ANY({_TEXTS})", _joined(keys)
        return "row_key IN (SELECT value FROM json_each(%s))", orjson.dumps(list(keys)).decode()

    def lookup(self, keys: Sequence[str]) -> Mapping[str, LedgerRow]:
        condition, parameter = self._key_condition(keys)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT row_key, payload_hash, held_hash, is_hold_permanent, run_id FROM syncs_deliveredrow "
                f"WHERE sync_id = %s AND {condition}",
                [self._sync_id, parameter],
            )
            return {row[0]: LedgerRow(row[1], row[2], bool(row[3]), row[4]) for row in cursor.fetchall()}

    def mark_seen(self, keys: Sequence[str]) -> None:
        condition, parameter = self._key_condition(keys)
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE syncs_deliveredrow SET seen_run_id = %s WHERE sync_id = %s AND {condition}",
                [self._run_id, self._sync_id, parameter],
            )

    def _accepted(self) -> Q:
        return Q(sync_id=self._sync_id, payload_hash__isnull=False)

    def _unseen(self) -> Q:
        return self._accepted() & (Q(seen_run_id__isnull=True) | ~Q(seen_run_id=self._run_id))

    def count_vanished(self) -> tuple[int, int]:
        rows = DeliveredRow.objects
        return rows.filter(self._unseen()).count(), rows.filter(self._accepted()).count()

    def vanished(self) -> Iterator[list[tuple[str, int | None]]]:
        """By keyset: rows deleted meanwhile do not disturb the walk."""
        after = ""
        while True:
            rows = list(
                DeliveredRow.objects.filter(self._unseen(), row_key__gt=after)
                .order_by("row_key")
                .values_list("row_key", "held_hash", "is_hold_permanent")[:_CHUNK]
            )
            if not rows:
                return
            after = rows[-1][0]
            yield [(key, held if permanent else None) for key, held, permanent in rows]

    # -- writing; inside the recorder's transaction

    def accept(self, records: Iterable[Record]) -> None:
        """What the destination accepted; nothing is held back for these keys any more."""
        absent: dict[str, int] = {}
        present: dict[str, int] = {}
        for record in records:
            (present if record.in_ledger else absent)[record.key] = record.payload_hash
        if absent and not (self._is_postgresql and self._insert(absent)):
            present |= absent
        if present:
            self._write_accepted(present, _ACCEPT_AGAIN)

    def _insert(self, rows: Mapping[str, int]) -> bool:
        """Without a look for conflicts, which costs PostgreSQL as much again. False: a row is there already, and nothing was
        written; so it is when a commit whose answer was lost is repeated."""
        try:
            with transaction.atomic():
                self._write_accepted(rows, "")
        except IntegrityError:
            return False
        return True

    def _write_accepted(self, rows: Mapping[str, int], on_conflict: str) -> None:
        now = timezone.now()
        with connection.cursor() as cursor:
            if self._is_postgresql:
                cursor.execute(
                    f"{_ACCEPT}SELECT %s, k, h, %s, NULL, false, %s, %s "
                    f"FROM unnest({_TEXTS}, string_to_array(%s, ',')::bigint[]) AS t(k, h){on_conflict}",
                    [self._sync_id, now, self._run_id, self._run_id, _joined(rows), ",".join(map(str, rows.values()))],
                )
            else:
                cursor.executemany(
                    _ACCEPT + "VALUES (%s, %s, %s, %s, NULL, 0, %s, %s)" + on_conflict,
                    [(self._sync_id, key, content, now, self._run_id, self._run_id) for key, content in rows.items()],
                )

    def forget(self, keys: Iterable[str]) -> None:
        """Deleted at the destination because it vanished from the warehouse."""
        for chunk in chunked(keys, _CHUNK):
            condition, parameter = self._key_condition(chunk)
            with connection.cursor() as cursor:
                cursor.execute(
                    f"DELETE FROM syncs_deliveredrow WHERE sync_id = %s AND {condition}",
                    [self._sync_id, parameter],
                )

    def hold(self, rejected: Iterable[Rejected]) -> None:
        """The content that waits in the DLQ now."""
        rows = {item.key: (item.content_hash, item.error.permanent) for item in rejected}
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO syncs_deliveredrow (sync_id, row_key, payload_hash, accepted_at, held_hash, is_hold_permanent, "
                "run_id, seen_run_id) VALUES (%s, %s, NULL, NULL, %s, %s, %s, %s) "
                "ON CONFLICT (sync_id, row_key) DO UPDATE SET held_hash = excluded.held_hash, "
                "is_hold_permanent = excluded.is_hold_permanent, run_id = excluded.run_id, seen_run_id = excluded.seen_run_id",
                [
                    (self._sync_id, key, content, permanent, self._run_id, self._run_id)
                    for key, (content, permanent) in rows.items()
                ],
            )

    def unhold(self, keys: Iterable[str]) -> None:
        """The warehouse row is again what was accepted: nothing is held back any more."""
        for chunk in chunked(keys, _CHUNK):
            condition, parameter = self._key_condition(chunk)
            with connection.cursor() as cursor:
                cursor.execute(
                    "UPDATE syncs_deliveredrow SET held_hash = NULL, is_hold_permanent = %s "
                    f"WHERE sync_id = %s AND payload_hash IS NOT NULL AND {condition}",
                    [False, self._sync_id, parameter],
                )
