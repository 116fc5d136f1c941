"""What the database says about the table: columns, keys, constraints. Read once per destination, again after a change."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import NoSuchTableError, SAWarning

from syncs.destinations.base import Field
from syncs.destinations.database_values import Converter, converter


class TableMissingError(LookupError):
    """There is no such table; ``str()`` is a sentence."""


@dataclass(frozen=True, slots=True)
class ColumnInfo:
    name: str
    type_name: str
    convert: Converter
    is_required: bool
    max_length: int | None
    options: tuple[str, ...]
    position: int
    is_writable: bool = True  # False: the database computes it

    @property
    def key(self) -> str:
        """Name of its bind parameter: column names may hold anything."""
        return f"c{self.position}"


@dataclass(slots=True)
class TableInfo:
    """``constraints``: name of a unique, foreign key, check or exclusion constraint -> its columns, as far as known.

    ``can_tell_created``: PostgreSQL heap tables show by xmax whether an upsert inserted the row.
    """

    name: str
    schema: str | None
    columns: dict[str, ColumnInfo]
    primary_key: tuple[str, ...]
    unique_sets: set[frozenset[str]]
    constraints: dict[str, tuple[str, ...]] = field(default_factory=dict)
    can_tell_created: bool = False
    clause: sa.Table = field(init=False)

    def __post_init__(self) -> None:
        # No types and no keys: values arrive converted, and SQLAlchemy must not fetch or cast anything by itself.
        columns: list[sa.Column[Any]] = [sa.Column(column.name, key=column.key) for column in self.columns.values()]
        self.clause = sa.Table(self.name, sa.MetaData(), *columns, schema=self.schema)

    @property
    def label(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name

    def is_unique(self, names: Iterable[str]) -> bool:
        return frozenset(names) in self.unique_sets

    def fields(self, forbidden: Collection[str] = ()) -> list[Field]:
        """``forbidden``: columns that the connection's user may not write."""
        return [
            Field(
                name=column.name,
                type=column.type_name,
                is_required=column.is_required,
                is_key=column.name in self.primary_key or frozenset([column.name]) in self.unique_sets,
                max_length=column.max_length,
                options=column.options,
                is_writable=column.is_writable and column.name not in forbidden,
            )
            for column in self.columns.values()
        ]


def split_name(object_name: str) -> tuple[str | None, str]:
    """``schema.table`` or ``table``."""
    schema, dot, name = object_name.strip().partition(".")
    return (schema, name) if dot else (None, schema)


def read_table(connection: sa.Connection, object_name: str) -> TableInfo:
    """Raises ``TableMissingError``, or SQLAlchemy's errors where the database cannot be asked."""
    schema, name = split_name(object_name)
    inspector = sa.inspect(connection)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SAWarning)  # types SQLAlchemy does not know are written as text
        try:
            columns = inspector.get_columns(name, schema=schema)
        except NoSuchTableError:
            raise TableMissingError(_missing(inspector, object_name, schema, name)) from None
        primary_key = inspector.get_pk_constraint(name, schema=schema)
        uniques = inspector.get_unique_constraints(name, schema=schema)
        indexes = inspector.get_indexes(name, schema=schema)
        foreign_keys = inspector.get_foreign_keys(name, schema=schema)
        checks = inspector.get_check_constraints(name, schema=schema)
    is_sqlite = connection.dialect.name == "sqlite"
    keys = tuple(primary_key.get("constrained_columns") or ())
    table = TableInfo(
        name=name,
        schema=schema,
        columns={c["name"]: _column(c, position, keys, is_sqlite) for position, c in enumerate(columns)},
        primary_key=keys,
        unique_sets={frozenset(keys)} if keys else set(),
    )
    _add_unique(table, uniques, indexes)
    _add_constraints(table, primary_key, foreign_keys, checks)
    table.can_tell_created = not is_sqlite and _is_heap(connection, name, schema)
    return table


def forbidden_columns(connection: sa.Connection, table: TableInfo) -> frozenset[str]:
    """Columns that the connection's user may neither insert nor update. SQLite knows no such rights."""
    if connection.dialect.name == "sqlite":
        return frozenset()
    query = sa.text(
        "SELECT attname FROM pg_catalog.pg_attribute WHERE attrelid = to_regclass(:name) AND attnum > 0 AND NOT attisdropped "
        "AND NOT has_column_privilege(attrelid, attnum, 'INSERT') AND NOT has_column_privilege(attrelid, attnum, 'UPDATE')"
    )
    return frozenset(connection.execute(query, {"name": _full_name(connection, table.name, table.schema)}).scalars())


def _full_name(connection: sa.Connection, name: str, schema: str | None) -> str:
    quote = connection.dialect.identifier_preparer.quote_identifier
    return f"{quote(schema)}.{quote(name)}" if schema else quote(name)


def _missing(inspector: sa.Inspector, object_name: str, schema: str | None, name: str) -> str:
    known = sorted(inspector.get_table_names(schema=schema))
    close = [other for other in known if other.casefold() == name.casefold()]
    hint = f" Did you mean “{close[0]}”?" if close else f" Tables there: {', '.join(known)[:300] or 'none'}."
    return f"There is no table “{object_name}” in the database.{hint}"


def _column(column: Mapping[str, Any], position: int, keys: tuple[str, ...], is_sqlite: bool) -> ColumnInfo:
    column_type = column["type"]
    generated = column.get("identity") or column.get("computed")
    is_rowid = is_sqlite and keys == (column["name"],) and isinstance(column_type, sa.Integer)
    return ColumnInfo(
        name=column["name"],
        type_name=_type_name(column_type),
        convert=converter(column_type, is_sqlite=is_sqlite),
        is_required=not column["nullable"] and column.get("default") is None and not generated and not is_rowid,
        max_length=getattr(column_type, "length", None) if not isinstance(column_type, sa.Enum) else None,
        options=tuple(column_type.enums) if isinstance(column_type, sa.Enum) else (),
        position=position,
        is_writable=not column.get("computed") and not (column.get("identity") or {}).get("always"),
    )


def _type_name(column_type: sa.types.TypeEngine[Any]) -> str:
    if isinstance(column_type, sa.types.NullType):
        return ""
    return str(column_type).lower()


def _add_unique(table: TableInfo, uniques: Iterable[Mapping[str, Any]], indexes: Iterable[Mapping[str, Any]]) -> None:
    for unique in uniques:
        names = tuple(unique["column_names"])
        table.unique_sets.add(frozenset(names))
        if unique.get("name"):
            table.constraints[unique["name"]] = names
    for index in indexes:
        names = tuple(name for name in index["column_names"] if name)
        options = index.get("dialect_options") or {}
        is_partial = any(options.get(f"{dialect}_where") is not None for dialect in ("postgresql", "sqlite"))
        if not index.get("unique"):
            continue
        if index.get("name"):
            table.constraints.setdefault(index["name"], names)
        if not is_partial and len(names) == len(index["column_names"]):
            table.unique_sets.add(frozenset(names))


def _add_constraints(
    table: TableInfo,
    primary_key: Mapping[str, Any],
    foreign_keys: Iterable[Mapping[str, Any]],
    checks: Iterable[Mapping[str, Any]],
) -> None:
    if primary_key.get("name"):
        table.constraints[primary_key["name"]] = table.primary_key
    for key in foreign_keys:
        if key.get("name"):
            table.constraints[key["name"]] = tuple(key["constrained_columns"])
    for check in checks:
        if check.get("name"):
            words = set(_words(str(check.get("sqltext") or "")))
            table.constraints[check["name"]] = tuple(name for name in table.columns if name in words)


def _words(text: str) -> list[str]:
    return "".join(character if character.isalnum() or character in "_$" else " " for character in text).split()


def _is_heap(connection: sa.Connection, name: str, schema: str | None) -> bool:
    """A plain table: views, foreign and partitioned tables have no xmax to return."""
    query = sa.text("SELECT relkind = 'r' FROM pg_catalog.pg_class WHERE oid = to_regclass(:name)")
    return bool(connection.execute(query, {"name": _full_name(connection, name, schema)}).scalar())
