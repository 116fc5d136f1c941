"""Liquid's arithmetic, exact and strict: Decimals stay exact, and what is no number is an error instead of a silent 0."""

from __future__ import annotations

import decimal
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from syncs.engine.values import CoercionError, bounded, finite, type_name

Number = int | Decimal

_TEXT = re.compile(r"[+-]?\d{1,60}(\.\d{0,60})?", re.ASCII)
_CONTEXT = decimal.Context(prec=60, rounding=decimal.ROUND_HALF_UP)


def _number(value: Any) -> Number:
    if isinstance(value, bool) or value is None:
        raise CoercionError("template_error", "is not a number; give it one with the filter default", value)
    if isinstance(value, int):
        return _kept(value)
    if isinstance(value, float):
        return Decimal(repr(finite(value)))
    if isinstance(value, Decimal):
        return bounded(value)
    if isinstance(value, str) and _TEXT.fullmatch(value.strip()):
        text = value.strip()
        return Decimal(text) if "." in text else int(text)
    raise CoercionError("template_error", f"is {type_name(value)}, not a number", value)


def _kept(value: Number) -> Number:
    """The number itself, refused where it has outgrown any use."""
    if isinstance(value, int):
        if value.bit_length() > 4_000:
            raise CoercionError("out_of_range", "is too big a number", value)
        return value
    exponent = int(bounded(value).as_tuple().exponent)
    return int(value) if exponent > 0 else value


def _binary(exact: Callable[[Number, Number], Number]) -> Callable[[Any, Any], Number]:
    def apply(value: Any, other: Any) -> Number:
        with decimal.localcontext(_CONTEXT):
            return _kept(exact(_number(value), _number(other)))

    return apply


def _divided(value: Number, other: Number) -> Number:
    if other == 0:
        raise CoercionError("template_error", "is divided by zero", value)
    return value // other if isinstance(value, int) and isinstance(other, int) else Decimal(value) / Decimal(other)


def _modulo(value: Number, other: Number) -> Number:
    if other == 0:
        raise CoercionError("template_error", "is divided by zero", value)
    if isinstance(value, int) and isinstance(other, int):
        return value % other
    rest = Decimal(value) % Decimal(other)
    return rest + Decimal(other) if rest and (rest < 0) != (other < 0) else rest


def _round(value: Any, digits: Any = 0) -> Number:
    places = _number(digits)
    if not isinstance(places, int) or not 0 <= places <= 60:
        raise CoercionError("template_error", "is not a number of digits from 0 to 60", digits)
    rounded = Decimal(_number(value)).quantize(Decimal(1).scaleb(-places), context=_CONTEXT)
    return rounded if places else int(rounded)


def _to_whole(rounding: str) -> Callable[[Any], Number]:
    def apply(value: Any) -> Number:
        return int(Decimal(_number(value)).to_integral_value(rounding=rounding))

    return apply


FILTERS: dict[str, Callable[..., Any]] = {
    "plus": _binary(lambda a, b: Decimal(a) + b if isinstance(b, Decimal) else a + b),
    "minus": _binary(lambda a, b: Decimal(a) - b if isinstance(b, Decimal) else a - b),
    "times": _binary(lambda a, b: Decimal(a) * b if isinstance(b, Decimal) else a * b),
    "divided_by": _binary(_divided),
    "modulo": _binary(_modulo),
    "at_least": _binary(max),
    "at_most": _binary(min),
    "round": _round,
    "ceil": _to_whole(decimal.ROUND_CEILING),
    "floor": _to_whole(decimal.ROUND_FLOOR),
    "abs": lambda value: abs(_number(value)),
}
