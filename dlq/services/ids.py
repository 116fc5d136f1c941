"""Many ids in one condition: one parameter, whatever the database's limit, and no planner that has to guess how many match."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import BooleanField, F, Func


class AnyOf(Func):
    """Condition for ``filter``: the integer column is one of these."""

    output_field = BooleanField()
    arity = 1

    def __init__(self, column: str, ids: Iterable[int]) -> None:
        super().__init__(F(column))
        self._list = ",".join(str(int(one)) for one in ids)

    def as_postgresql(self, compiler: Any, connection: Any, **_: Any) -> tuple[str, Any]:
        column, params = compiler.compile(self.source_expressions[0])
        return f"{column} = ANY(%s::bigint[])", (*params, f"{{{self._list}}}")

    def as_sqlite(self, compiler: Any, connection: Any, **_: Any) -> tuple[str, Any]:
        column, params = compiler.compile(self.source_expressions[0])
        return f"{column} IN (SELECT value FROM json_each(%s))", (*params, f"[{self._list}]")  # noqa: S608 - a column's name
