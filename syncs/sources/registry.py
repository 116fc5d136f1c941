"""Kinds of source: the name in the database -> what people read and where the code is (imported on first use)."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from syncs.errors import ConfigError
from syncs.sources.base import Source

SOURCE_KINDS: dict[str, tuple[str, str]] = {
    "postgresql": ("PostgreSQL", "syncs.sources.postgresql"),
    "sqlite": ("SQLite file", "syncs.sources.sqlite"),
    "duckdb": ("DuckDB file", "syncs.sources.duckdb"),
    "snowflake": ("Snowflake", "syncs.sources.snowflake"),
    "sqlalchemy": ("Any SQLAlchemy URL", "syncs.sources.any_url"),
}


def module(kind: str) -> Any:
    """The kind's module: ``FIELDS: tuple[ConfigField, ...]``, ``validate(config, secrets) -> list[Issue]``,
    ``build(config, secrets) -> Source``. Raises ``ConfigError`` for an unknown kind."""
    try:
        return import_module(SOURCE_KINDS[kind][1])
    except KeyError:
        raise ConfigError(f"There is no source kind “{kind}”. Known: {', '.join(SOURCE_KINDS)}.", field="kind") from None


def build(kind: str, config: Mapping[str, Any], secrets: Mapping[str, Any]) -> Source:
    source: Source = module(kind).build(config, secrets)
    return source
