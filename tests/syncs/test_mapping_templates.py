"""Templates: what they can do, and that nothing in them can cost much, reach out or raise."""

from __future__ import annotations

import datetime as dt
import time
from decimal import Decimal
from typing import Any

import pytest

from syncs.engine.mapping import MappingField, compile_mapping
from syncs.engine.templates import compile_template, parse_template
from syncs.errors import ErrorType
from syncs.records import RowError


def rendered(source: str, **row: Any) -> Any:
    fields = [MappingField("out", kind="template", template=source)]
    result = compile_mapping(fields, list(row))(tuple(row.values()))
    return result["out"] if isinstance(result, dict) else result


@pytest.mark.parametrize("source, row, expected", [
    ("{{ a }} {{ b | upcase }}", {"a": "x", "b": "é"}, "x É"),
    ("{{ a }}", {"a": None}, None),
    (" {{ a }} ", {"a": ""}, None),
    ("{{ a | default: 'none' }}", {"a": None}, "none"),
    ("{{ a.b.c }}", {"a": {"b": {"c": 1}}}, "1"),
    ("{{ a.nick | default: 'x' }}", {"a": {}}, "x"),
    ("{{ a[0] }}", {"a": [5]}, "5"),
    ("{{ ['First Name'] }}", {"First Name": "Ann"}, "Ann"),
    ("{{ a }}", {"a": True}, "true"),
    ("{{ a }}", {"a": Decimal("12.50")}, "12.50"),
    ("{{ a | plus: 1 }}", {"a": Decimal("12.50")}, "13.50"),
    ("{{ a | times: 1.1 }}", {"a": Decimal("3")}, "3.3"),
    ("{{ a | divided_by: 2 }}", {"a": 5}, "2"),
    ("{{ a | divided_by: 2.0 }}", {"a": 5}, "2.5"),
    ("{{ a | modulo: 3 }}", {"a": -1}, "2"),
    ("{{ a | round: 1 }}", {"a": "2.25"}, "2.3"),
    ("{{ a | ceil }}", {"a": 1.2}, "2"),
    ("{{ 0.1 | plus: 0.2 }}", {"a": 1}, "0.3"),
    ("{{ a | at_least: 3 | minus: 1 }}", {"a": 1}, "2"),
    ("{% if a > 10 %}big{% else %}small{% endif %}", {"a": Decimal("10.5")}, "big"),
    ("{{ a | date: '%d.%m.%Y' }}", {"a": dt.date(2024, 1, 31)}, "31.01.2024"),
    ("{{ a | date: '%H:%M' }}", {"a": dt.datetime(2024, 1, 31, 12, 30, tzinfo=dt.UTC)}, "12:30"),
    ("{{ a | date: '%Y' }}", {"a": 0}, "1970"),
    ("{{ a | date: '%Y' }}", {"a": None}, None),
    ("{{ a }}", {"a": dt.datetime(2024, 1, 31, 12, tzinfo=dt.timezone(dt.timedelta(hours=1)))}, "2024-01-31T11:00:00Z"),
    ("{% for x in a %}{{ x }},{% endfor %}", {"a": ["p", "q"]}, "p,q,"),
    ("{{ a | split: ';' | join: '/' }}", {"a": "1;2"}, "1/2"),
    ("{% assign d = a | split: '@' %}{{ d[1] }}", {"a": "me@example.com"}, "example.com"),
    ("{{ '<' | append: a }}", {"a": "&"}, "<&"),
])  # fmt: skip
def test_renders(source: str, row: dict[str, Any], expected: Any) -> None:
    assert rendered(source, **row) == expected


@pytest.mark.parametrize("source, row, code, words", [
    ("{{ a.nick }}", {"a": {}}, "template_error", "a.nick is undefined"),
    ("{{ a.b }}", {"a": "text"}, "template_error", "a.b is undefined"),
    ("{{ a | divided_by: 0 }}", {"a": 1}, "template_error", "divided by zero"),
    ("{{ a | plus: 1 }}", {"a": "x"}, "template_error", "not a number"),
    ("{{ a | plus: 1 }}", {"a": None}, "template_error", "default"),
    ("{{ a | date: '%Y' }}", {"a": "soon"}, "wrong_type", "not a timestamp"),
    ("{{ a }}", {"a": b"x"}, "wrong_type", "binary"),
    ("{{ a }}", {"a": float("nan")}, "not_finite", "finite"),
    ("{{ a | truncate: 'x' }}", {"a": "abc"}, "template_error", "failed"),
    ("{% for i in (1..2000) %}{{ i }}{% endfor %}", {"a": 1}, "template_limit", "loop iteration limit"),
    ("{% for i in (1..900) %}{% for j in (1..900) %}x{% endfor %}{% endfor %}", {"a": 1}, "template_limit", "loop"),
    ("{{ (1..1000000000) | join: ',' }}", {"a": 1}, "template_limit", "too much work"),
    ("{{ a | " + " | ".join(["replace: 'a', 'aaaaaaaaaa'"] * 30) + " }}", {"a": "a"}, "template_limit", "too much work"),
    ("{% assign b = a %}{% for i in (1..900) %}{% assign b = b | append: b %}{% endfor %}{{ b }}", {"a": "x" * 999}, None, ""),
    ("{{ a | " + " | ".join(["times: 99999999999999999999"] * 99) + " }}", {"a": 9}, None, ""),
    ("{% for i in (1..999) %}{{ a }}{% endfor %}", {"a": "x" * 999}, "template_limit", "output"),
])  # fmt: skip
def test_what_fails_is_a_row_error_and_cheap(source: str, row: dict[str, Any], code: str | None, words: str) -> None:
    started = time.process_time()
    error = rendered(source, **row)
    assert time.process_time() - started < 2
    assert isinstance(error, RowError), error
    assert error.type is ErrorType.MAPPING
    assert error.field == "out"
    assert error.message.startswith("Template: ")
    assert code in (None, error.code)
    assert words in error.message


@pytest.mark.parametrize("source, words", [
    ("{% include 'settings.py' %}", "cannot be read"),
    ("{% render 'x' %}", "cannot be read"),
    ("{% if %}", "cannot be read"),
    ("{{ a | shell: 'ls' }}", "filter “shell”"),
    ("{{ a | upcase | nope }}", "filter “nope”"),
    ("  ", "is empty"),
    ("x" * 10_001, "longer than"),
    ("{% if a %}" * 400 + "{% endif %}" * 400, "cannot be read"),
])  # fmt: skip
def test_template_that_cannot_be_used_is_refused(source: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_template(source)


def test_template_sees_no_python_attributes() -> None:
    for source in ("{{ a.__class__ }}", "{{ a.__class__.__mro__ }}", "{{ a['__globals__'] }}", "{{ a.upper }}"):
        error = rendered(source, a="x")
        assert isinstance(error, RowError), source
        assert "undefined" in error.message


def test_template_gets_only_the_columns_it_names() -> None:
    render = compile_template("{{ a }}", ["a", "b"])
    assert render(("x", object())) == "x"


def test_template_result_is_coerced() -> None:
    fields = [MappingField("n", kind="template", template="{{ a }}{{ b }}", type="integer")]
    mapper = compile_mapping(fields, ["a", "b"])
    assert mapper((1, 2)) == {"n": 12}
    error = mapper((1, "x"))
    assert isinstance(error, RowError)
    assert error.message == "Template: “1x” is not an integer (expected: integer)."


def test_blank_template_result_of_a_required_field_is_missing() -> None:
    fields = [MappingField("n", kind="template", template="{{ a }}", is_required=True)]
    error = compile_mapping(fields, ["a"])((None,))
    assert isinstance(error, RowError)
    assert (error.type, error.message) == (ErrorType.MISSING_REQUIRED, "Template gives no value; the field n is required.")
