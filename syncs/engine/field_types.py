"""From a destination's own word for a type, and from the values of a column, to the types of the mapping. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from syncs.choices import FieldType
from syncs.engine.coercion import Coercer, compile_coercer
from syncs.engine.schema_fields import Family, family
from syncs.engine.values import CoercionError

_TYPES = {
    Family.TEXT: FieldType.STRING,
    Family.SQL_TEXT: FieldType.STRING,
    Family.INTEGER: FieldType.INTEGER,
    Family.NUMBER: FieldType.DECIMAL,
    Family.BOOLEAN: FieldType.BOOLEAN,
    Family.DATE: FieldType.DATE,
    Family.TIMESTAMP: FieldType.TIMESTAMP,
    Family.LIST: FieldType.ARRAY,
}


def type_of(word: str) -> FieldType | None:
    """``varchar(80)`` -> string, ``datetime`` -> timestamp; None where nobody can tell."""
    return _TYPES.get(family(word))


_PROBED = (
    FieldType.BOOLEAN,
    FieldType.INTEGER,
    FieldType.DECIMAL,
    FieldType.DATE,
    FieldType.TIMESTAMP,
    FieldType.ARRAY,
    FieldType.JSON,
)
_COERCERS: dict[FieldType, Coercer] = {kind: compile_coercer(kind, {}) for kind in _PROBED}


def fits(values: Iterable[Any]) -> frozenset[FieldType]:
    """Types that each of these values can become, by the coercers that a run uses. Empty: there is no value to judge by."""
    known = [value for value in values if value is not None]
    if not known:
        return frozenset()
    found = {FieldType.STRING, FieldType.ENUM}
    for kind, coerce in _COERCERS.items():
        if all(_becomes(coerce, value) for value in known):
            found.add(kind)
    return frozenset(found)


def _becomes(coerce: Coercer, value: Any) -> bool:
    try:
        coerce(value)
    except CoercionError:
        return False
    except Exception:  # noqa: BLE001 - a hostile value may raise anything
        return False
    return True


def natural(values: Sequence[Any]) -> FieldType:
    """The type that these values have already, for a line whose destination says nothing of its type; string where in doubt."""
    kinds = {_own(value) for value in values if value is not None}
    if kinds == {FieldType.INTEGER, FieldType.DECIMAL}:
        return FieldType.DECIMAL
    return kinds.pop() if len(kinds) == 1 else FieldType.STRING


def _own(value: Any) -> FieldType:
    if isinstance(value, bool):
        return FieldType.BOOLEAN
    if isinstance(value, int):
        return FieldType.INTEGER
    if isinstance(value, float | Decimal):
        return FieldType.DECIMAL
    if isinstance(value, dt.datetime):
        return FieldType.TIMESTAMP
    if isinstance(value, dt.date):
        return FieldType.DATE
    if isinstance(value, list | tuple | set | frozenset):
        return FieldType.ARRAY
    return FieldType.JSON if isinstance(value, dict) else FieldType.STRING
