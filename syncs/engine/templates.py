"""Liquid templates over the columns of a row: a fixed set of tags and filters, no files, no includes, bounded work.

Everything a template may cost is limited: source, output, loops, variables, the size of each filter's result and their sum.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import wraps
from typing import Any

import liquid
from liquid.exceptions import LiquidError, ResourceLimitError

from syncs.engine import template_math
from syncs.engine.timestamps import parse_moment
from syncs.engine.values import CoercionError, bounded, json_value, scalar_text, type_name

MAX_SOURCE = 10_000
MAX_OUTPUT = 100_000
MAX_LOOPS = 1_000
MAX_ITEMS = 10_000
MAX_WORK = 2_000_000  # characters and items that all filters of one rendering may produce together

_TAGS_LEFT_OUT = ("include", "render", "tablerow", "doc")
_work = threading.local()


class _Environment(liquid.Environment):
    output_stream_limit = MAX_OUTPUT
    loop_iteration_limit = MAX_LOOPS
    local_namespace_limit = MAX_OUTPUT * 4


def _spend(amount: int) -> None:
    _work.left = getattr(_work, "left", MAX_WORK) - amount - 1
    if _work.left < 0:
        raise ResourceLimitError("the template does too much work", token=None)


def _size(value: Any) -> int:
    kind = type(value)  # not isinstance: a strict undefined raises as soon as anyone asks for its class
    if kind is int:
        return int(value.bit_length())
    if kind in (list, tuple, range, dict):
        return len(value) if len(value) <= MAX_ITEMS else MAX_WORK
    return len(value) if issubclass(kind, str) else 1


def _bounded_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter, refusing work before it is done where the result grows with the product of its arguments."""

    @wraps(function)
    def limited(value: Any, *args: Any, **kwargs: Any) -> Any:
        _spend(_size(value))
        if name in ("replace", "join", "newline_to_br", "escape", "url_encode", "times", "sum", "uniq", "escapejs"):
            _spend(_size(value) * (1 + max((_size(argument) for argument in args), default=0)) // 4)
        result = function(value, *args, **kwargs)
        _spend(_size(result))
        return result

    return limited


def _date(value: Any, form: str = "%Y-%m-%d") -> str:
    """The ``date`` filter, without the host's clock and time zone: a moment, a day, ISO text or seconds since 1970, in UTC."""
    if value is None or liquid.is_undefined(value):
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        value = dt.datetime.fromtimestamp(value, dt.UTC)
    elif isinstance(value, str):
        value = parse_moment(value)
    if not isinstance(value, dt.date):
        raise CoercionError("wrong_type", f"is {type_name(value)}, which the filter date cannot read", value)
    if len(form) > 100:
        raise CoercionError("template_error", "is too long for a date format", form)
    return value.strftime(form)


def _environment() -> _Environment:
    environment = _Environment(undefined=liquid.StrictDefaultUndefined, strict_filters=True)
    for name in _TAGS_LEFT_OUT:
        del environment.tags[name]
    environment.filters |= {"date": _date, **template_math.FILTERS}
    environment.filters = {name: _bounded_filter(name, function) for name, function in environment.filters.items()}
    return environment


_ENVIRONMENT = _environment()


def _reason(problem: BaseException) -> str:
    """The library's own words, on one line, without its picture of the source."""
    return " ".join(str(problem).split("\n", 1)[0].split())[:200] or type(problem).__name__


def parse_template(source: str) -> liquid.BoundTemplate:
    """Raises ``ValueError`` with a sentence."""
    if not source.strip():
        raise ValueError("The template is empty.")
    if len(source) > MAX_SOURCE:
        raise ValueError(f"The template is longer than {MAX_SOURCE:,} characters.")
    try:
        template = _ENVIRONMENT.from_string(source)
        unknown = sorted(set(template.filter_names()) - set(_ENVIRONMENT.filters))
    except (LiquidError, RecursionError, ValueError) as problem:
        raise ValueError(f"The template cannot be read: {_reason(problem)}.") from None
    if unknown:
        raise ValueError(f"The template uses the filter “{unknown[0]}”, which does not exist.")
    return template


def template_columns(template: liquid.BoundTemplate) -> tuple[str, ...]:
    """Names the template takes from the row, in order of appearance."""
    return tuple(template.global_variables())


def compile_template(source: str, columns: Sequence[str]) -> Callable[[Sequence[Any]], str | None]:
    """A function from row to text; blank text counts as NULL. It raises ``CoercionError``.

    Raises ``ValueError`` with a sentence for a template that cannot be read or names a column that is not there.
    """
    template = parse_template(source)
    positions = {name: index for index, name in enumerate(columns)}
    wanted = template_columns(template)
    for name in wanted:
        if name not in positions:
            raise ValueError(f"The template uses “{name}”, which is not a column of the query.")
    indexes = [(name, positions[name]) for name in wanted]

    def render(row: Sequence[Any]) -> str | None:
        _work.left = MAX_WORK
        try:
            text = template.render({name: _template_value(row[index], name) for name, index in indexes})
        except CoercionError:
            raise
        except ResourceLimitError as problem:
            raise CoercionError("template_limit", f"was stopped: {_reason(problem)}") from None
        except Exception as problem:  # noqa: BLE001 - one row's values must never end the run, whatever a filter makes of them
            raise CoercionError("template_error", f"failed: {_reason(problem)}") from None
        return text if text and not text.isspace() else None

    return render


def _template_value(value: Any, name: str) -> Any:
    """What a template sees: numbers, text, booleans, lists and objects as they are, everything else (dates too) as text."""
    if value is None or value.__class__ in (bool, int, str):
        return value
    if isinstance(value, Decimal):
        return bounded(value)
    if isinstance(value, dict | list | tuple):
        return json_value(value)
    text = scalar_text(value)
    if text is None:
        raise CoercionError("wrong_type", f"(column {name}) is {type_name(value)}, which a template cannot show", value)
    return float(value) if isinstance(value, float) else text
