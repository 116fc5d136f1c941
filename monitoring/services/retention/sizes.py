"""How much room tables take, as far as the database says so without counting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.db import connection, models


@dataclass(frozen=True, slots=True)
class Size:
    """``rows``: the database's own estimate. ``bytes``: with indexes."""

    rows: int
    bytes: int


def tables(chosen: Iterable[type[models.Model]]) -> Mapping[str, Size]:
    """By table name; nothing where the database cannot say. One query."""
    if connection.vendor != "postgresql":
        return {}
    names = [model._meta.db_table for model in chosen]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, GREATEST(reltuples, 0)::bigint, pg_total_relation_size(oid) FROM pg_class "
            "WHERE relname = ANY(%s) AND relkind = 'r' AND pg_table_is_visible(oid)",
            [names],
        )
        return {name: Size(rows, size) for name, rows, size in cursor.fetchall()}


def row_bytes(chosen: Iterable[type[models.Model]]) -> float:
    """What one row of the first of these takes, with what hangs on it in the others. 0: nobody knows."""
    models_of = list(chosen)
    found = tables(models_of)
    first = found.get(models_of[0]._meta.db_table)
    if first is None or not first.rows:
        return 0.0
    return sum(size.bytes for size in found.values()) / first.rows
