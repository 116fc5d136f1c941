"""How many dead letters there are, by status, sync, error type and response code, without counting the table.

Triggers on the entry table write signed changes to ``EntryTally``; their sum is the count, exact in every transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.db import connection, transaction
from django.db.models import Q, Sum

from dlq import triggers
from dlq.models import EntryTally

if TYPE_CHECKING:
    from dlq.services.entry_filter import EntryFilter

_LINES_MAX = 50  # combinations of type, status and code in one condition
_Line = tuple[int, str, str, int | None, int]  # sync, status, error type, response code, count


@dataclass(slots=True)
class Facets:
    """Exact counts. ``total``: of what the filter selects. Each other counter: value of that filter -> entries that would be
    selected if only this value of it were chosen, all other filters as they are. ``codes``: None is "no response".
    """

    total: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    syncs: Counter[int] = field(default_factory=Counter)
    error_types: Counter[str] = field(default_factory=Counter)
    codes: Counter[int | None] = field(default_factory=Counter)
    lines: list[_Line] = field(default_factory=list)  # combinations that make up the total, each with its count


def counts(found: EntryFilter) -> Facets | None:
    """From one small query. ``found`` as ``EntryFilter.at`` gave it; None when it filters by anything that is not tallied."""
    if not found.is_tallied:
        return None
    facets = Facets()
    if found.is_nothing:
        return facets
    reach = found.sync_reach()
    for sync_id, status, error_type, code, count in _lines():
        if reach is not None and sync_id not in reach:
            continue
        misses = (
            bool(found.statuses) and status not in found.statuses,
            bool(found.sync_ids) and sync_id not in found.sync_ids,
            bool(found.error_types) and error_type not in found.error_types,
            bool(found.codes) and code not in found.codes,
        )
        missed = sum(misses)
        if missed == 0:
            facets.total += count
            facets.lines.append((sync_id, status, error_type, code, count))
        if missed == misses[0]:
            facets.statuses[status] += count
        if missed == misses[1]:
            facets.syncs[sync_id] += count
        if missed == misses[2]:
            facets.error_types[error_type] += count
        if missed == misses[3]:
            facets.codes[code] += count
    return facets


def of_lines(lines: Sequence[_Line]) -> Q:
    """The entries of these combinations, in a form that the index over exactly these columns answers."""
    syncs: dict[tuple[str, str, int | None], list[int]] = {}
    for sync_id, status, error_type, code, _count in lines:
        syncs.setdefault((error_type, status, code), []).append(sync_id)
    if len(syncs) > _LINES_MAX:
        return Q()
    found = Q()
    for (error_type, status, code), ids in sorted(syncs.items(), key=str):
        of_code = Q(http_status__isnull=True) if code is None else Q(http_status=code)
        found |= Q(error_type=error_type, status=status, sync_id__in=ids) & of_code
    return found


def total(found: EntryFilter) -> int | None:
    """The exact number of entries that ``found`` selects; None when it filters by anything that is not tallied."""
    facets = counts(found)
    return None if facets is None else facets.total


def _lines() -> Iterable[_Line]:
    columns = ("sync_id", "status", "error_type", "http_status")
    return EntryTally.objects.order_by().values_list(*columns).annotate(entries=Sum("count")).exclude(entries=0)


@dataclass(frozen=True, slots=True)
class Wrong:
    """A line of the tally that did not agree with the entries."""

    sync_id: int
    status: str
    error_type: str
    http_status: int | None
    tallied: int
    entries: int

    def __str__(self) -> str:
        code = "no response" if self.http_status is None else f"response {self.http_status}"
        return (
            f"sync {self.sync_id}, {self.status}, {self.error_type}, {code}: tallied {self.tallied:,}, found {self.entries:,}"
        )


def fold(*, least: int = 300) -> int:
    """Sum up the changes into one line each, once there are more than ``least`` lines. Returns how many lines went away.

    Only PostgreSQL collects changes. Safe at any moment: one statement takes the lines that it sees and puts their sum in their
    place; lines that are written meanwhile stay for the next time.
    """
    if connection.vendor != "postgresql" or EntryTally.objects.count() <= least:
        return 0
    with transaction.atomic(), connection.cursor() as cursor:
        if not _is_alone(cursor):
            return 0
        cursor.execute(_FOLD)
        before, after = cursor.fetchone()
        return int(before - after)


def verify() -> list[Wrong]:
    """Lines of the tally that disagree with the entries, from one statement, so also while others write. Reads the table."""
    with connection.cursor() as cursor:
        cursor.execute(_WRONG)
        return [Wrong(*row) for row in cursor.fetchall()]


def repair() -> list[Wrong]:
    """Put the tally right, and its triggers if they are not there. Returns what was wrong (nothing is the promise)."""
    with transaction.atomic():
        if not triggers.are_there(connection):
            triggers.install(connection)
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])  # two repairs must not both correct
                cursor.execute(_CORRECT)
                wrong = [Wrong(*row) for row in cursor.fetchall()]
            else:
                wrong = verify()
                triggers.fill(connection)
        return wrong


def _is_alone(cursor: Any) -> bool:
    cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
    return bool(cursor.fetchone()[0])


_LOCK = 0x64_6C_71_74_61_6C_6C_79  # "dlqtally"
_KEY = "sync_id, status, error_type, http_status"
_WRONG = f"""
    SELECT {_KEY}, sum(tallied) AS tallied, sum(entries) AS entries FROM (
        SELECT {_KEY}, count AS tallied, 0 AS entries FROM dlq_entrytally
        UNION ALL SELECT {_KEY}, 0, count(*) FROM dlq_dlqentry GROUP BY {_KEY}
    ) AS both_sides GROUP BY {_KEY} HAVING sum(tallied) <> sum(entries) ORDER BY {_KEY}"""  # noqa: S608 - constants
_CORRECT = f"""
    WITH wrong AS ({_WRONG}), corrected AS (
        INSERT INTO dlq_entrytally ({_KEY}, count) SELECT {_KEY}, entries - tallied FROM wrong
    ) SELECT * FROM wrong"""  # noqa: S608 - constants
_FOLD = f"""
    WITH gone AS (DELETE FROM dlq_entrytally RETURNING {_KEY}, count), folded AS (
        INSERT INTO dlq_entrytally ({_KEY}, count)
        SELECT {_KEY}, sum(count) FROM gone GROUP BY {_KEY} HAVING sum(count) <> 0 RETURNING 1
    ) SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM folded)"""  # noqa: S608 - constants
