"""What there is of each kind: rows, room, the oldest, the last purge and the next. A handful of queries, however much it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import connection
from django.db.models import Max, Sum
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from dlq.choices import CLOSED, EntryStatus
from dlq.models import EntryTally
from monitoring.choices import Retained
from monitoring.models import Purge
from monitoring.services.retention import passes, reading, rules, sizes
from monitoring.services.retention.catalogue import PARTS
from monitoring.services.retention.parts import Part
from monitoring.services.retention.reading import Line
from monitoring.services.retention.sizes import Size

COUNT_CAP = 10_000  # more are estimated, or said to be more
_STATUSES = {
    Retained.RESOLVED_ENTRIES: (EntryStatus.RESOLVED, EntryStatus.SUPERSEDED),
    Retained.DISCARDED_ENTRIES: (EntryStatus.DISCARDED,),
}


@dataclass(frozen=True, slots=True)
class Count:
    """``is_about``: the database's own estimate. ``is_more``: there are more, and they were not counted to the end."""

    rows: int
    is_about: bool = False
    is_more: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """``count``: rows there are now, old or not. ``bytes``: None where nobody knows. ``last``: the newest purge that deleted;
    ``look``: the newest dry run; ``going``: the one at work. ``next_at``: None where nothing is purged by the day."""

    kind: Retained
    name: str
    days: int | None
    kept: str
    is_default: bool
    count: Count
    bytes: int | None
    oldest: datetime | None
    last: Purge | None
    look: Purge | None
    going: Line | None
    next_at: datetime | None

    @property
    def about(self) -> rules.Kind:
        return rules.KINDS[self.kind]

    @property
    def least(self) -> int:
        return rules.least(self.kind)


def all_of_them(now: datetime | None = None) -> list[Figures]:
    """Every kind, in the order of the vocabulary."""
    now = now or timezone.now()
    kept, newest = rules.days(), _purges()
    found = sizes.tables({model for parts in PARTS.values() for part in parts for model in part.tables})
    counted, oldest = _look(found)
    closed = _closed()
    return [
        _figures(kind, kept[kind], closed.get(kind) or _count(kind, found, counted), oldest[kind], found, newest, now)
        for kind in Retained
    ]


def of(kind: Retained, now: datetime | None = None) -> Figures:
    return next(one for one in all_of_them(now) if one.kind == kind)


def _figures(
    kind: Retained,
    days: int | None,
    count: Count,
    oldest: datetime | None,
    found: Mapping[str, Size],
    newest: Mapping[tuple[str, bool, bool], Purge],
    now: datetime,
) -> Figures:
    going = newest.get((kind, True, False)) or newest.get((kind, False, False))
    return Figures(
        kind=kind, name=rules.name(kind), days=days, kept=rules.in_words(days), is_default=days == rules.KINDS[kind].days,
        count=count, bytes=_bytes(kind, found, count), oldest=oldest, last=newest.get((kind, False, True)),
        look=newest.get((kind, True, True)), going=reading.line(going) if going else None,
        next_at=None if days is None else passes.next_slot(now),
    )  # fmt: skip


def _purges() -> dict[tuple[str, bool, bool], Purge]:
    """(kind, is a dry run, is over) -> the newest such purge. One query."""
    alike = Purge.objects.order_by().values("kind", "is_dry_run", "is_over").annotate(newest=Max("pk"))
    chosen = Purge.objects.filter(pk__in=alike.values("newest")).select_related("requested_by")
    return {(purge.kind, purge.is_dry_run, purge.is_over): purge for purge in chosen}


def _closed() -> dict[Retained, Count]:
    """Closed dead letters from the tally: the table is never counted."""
    sums = EntryTally.objects.filter(status__in=CLOSED).order_by().values("status").annotate(sum=Sum("count"))
    of_status = dict(sums.values_list("status", "sum"))
    return {kind: Count(sum(of_status.get(status, 0) for status in wanted)) for kind, wanted in _STATUSES.items()}


def _look(found: Mapping[str, Size]) -> tuple[dict[str, int], dict[Retained, datetime | None]]:
    """Rows by table, up to ``COUNT_CAP`` and one more, where the database's own estimate is not larger; and the oldest of each
    kind. One statement of short look-ups, however many kinds there are."""
    tables = [part for kind, parts in PARTS.items() if kind not in _STATUSES for part in parts if not _is_large(part, found)]
    asked = [part.existing()[: COUNT_CAP + 1] for part in tables]
    timed = [(kind, part) for kind, parts in PARTS.items() for part in parts]
    columns: list[str] = []
    params: list[Any] = []
    for rows in asked:
        sql, values = rows.query.sql_with_params()
        columns.append(f"(SELECT COUNT(*) FROM ({sql}) AS counted)")  # noqa: S608 - Django's own SQL
        params += values
    for _kind, part in timed:
        sql, values = part.oldest().query.sql_with_params()
        columns.append(f"({sql})")
        params += values
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(columns)}", params)
        row = cursor.fetchone()
    counted = {part.tables[0]._meta.db_table: int(number) for part, number in zip(tables, row, strict=False)}
    oldest: dict[Retained, datetime | None] = dict.fromkeys(PARTS)
    for (kind, _part), value in zip(timed, row[len(tables) :], strict=True):
        at = _moment(value)
        before = oldest[kind]
        oldest[kind] = at if before is None else before if at is None else min(at, before)
    return counted, oldest


def _moment(value: Any) -> datetime | None:
    """SQLite gives the text of a time, in UTC."""
    at = parse_datetime(value) if isinstance(value, str) else value
    return at.replace(tzinfo=UTC) if isinstance(at, datetime) and at.tzinfo is None else at


def _is_large(part: Part, found: Mapping[str, Size]) -> bool:
    size = found.get(part.tables[0]._meta.db_table)
    return part.is_whole_table and size is not None and size.rows > COUNT_CAP


def _count(kind: Retained, found: Mapping[str, Size], counted: Mapping[str, int]) -> Count:
    rows, is_about, is_more = 0, False, False
    for part in PARTS[kind]:
        name = part.tables[0]._meta.db_table
        if _is_large(part, found):
            rows, is_about = rows + found[name].rows, True
        else:
            rows, is_more = rows + min(counted[name], COUNT_CAP), is_more or counted[name] > COUNT_CAP
    return Count(rows, is_about, is_more)


def _bytes(kind: Retained, found: Mapping[str, Size], count: Count) -> int | None:
    """Of dead letters, their share of the tables by number."""
    parts = PARTS[kind]
    named = {model._meta.db_table for part in parts for model in part.tables}
    if not found:
        return None
    whole = sum(found[name].bytes for name in named if name in found)
    if all(part.is_whole_table for part in parts):
        return whole
    rows = found[parts[0].tables[0]._meta.db_table].rows
    return round(whole * min(1.0, count.rows / rows)) if rows else None
