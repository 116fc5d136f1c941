"""Helpers of the source tests."""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import make_url

from syncs.sources import postgresql
from syncs.sources.base import Source, SourceQuery


def postgres_config(url: str, **changes: Any) -> dict[str, Any]:
    parts = make_url(url)
    config = {"host": parts.host, "port": parts.port or 5432, "database": parts.database, "user": parts.username}
    return {**config, **changes}


def postgres_source(url: str, **changes: Any) -> postgresql.PostgresqlSource:
    return postgresql.build(postgres_config(url, **changes), {"password": make_url(url).password or ""})


def read(source: Source, sql: str, *, chunk_rows: int = 1000, **query: Any) -> list[tuple[Any, ...]]:
    with source.stream(SourceQuery(sql, **query), chunk_rows=chunk_rows) as rows:
        return [row for chunk in rows for row in chunk]
