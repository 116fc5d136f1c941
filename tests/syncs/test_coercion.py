"""Each type by tables: what passes and as what, what is refused and with which words."""

from __future__ import annotations

import datetime as dt
import ipaddress
import uuid
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest

from syncs.choices import FieldType
from syncs.engine.coercion import compile_coercer
from syncs.engine.hashing import canonical_body
from syncs.engine.type_options import OPTIONS, option_problems
from syncs.engine.values import CoercionError, shown

BERLIN = dt.timezone(dt.timedelta(hours=2))
NOON = dt.datetime(2024, 7, 1, 12, 0, tzinfo=dt.UTC)


class Shout(str):
    pass


class Color(Enum):
    RED = "red"


def numbered(cases: list[tuple[Any, ...]]) -> list[str]:
    """Ids of our own: pytest's would print values that are megabytes long or not text at all."""
    return [f"{case[0]}-{number}" for number, case in enumerate(cases)]


def coerce(type_: str, value: Any, **options: Any) -> Any:
    assert not list(option_problems(FieldType(type_), options))
    return compile_coercer(FieldType(type_), options)(value)


PASSES: list[tuple[str, dict[str, Any], Any, Any]] = [
    ("string", {}, "abc", "abc"),
    ("string", {}, "", ""),
    ("string", {}, "Zoë 😀", "Zoë 😀"),
    ("string", {}, Shout("abc"), "abc"),
    ("string", {"trim": True}, "\t abc\u00a0\n", "abc"),
    ("string", {"max_length": 3}, "abc", "abc"),
    ("string", {"max_length": 3, "on_overflow": "truncate"}, "abcd", "abc"),
    ("string", {"max_length": 3, "on_overflow": "truncate"}, "éèêë", "éèê"),
    ("string", {"max_length": 3, "on_overflow": "truncate", "trim": True}, " ab cd", "ab"),
    ("string", {"on_invalid_text": "remove"}, "a\x00b\ud800c", "abc"),
    ("string", {}, 5, "5"),
    ("string", {}, True, "true"),
    ("string", {}, 1.5, "1.5"),
    ("string", {}, Decimal("1.50"), "1.50"),
    ("string", {}, Decimal("1E+3"), "1000"),
    ("string", {}, 10**30, "1" + "0" * 30),
    ("string", {}, dt.date(2024, 1, 2), "2024-01-02"),
    ("string", {}, dt.datetime(2024, 1, 2, 3, 4), "2024-01-02T03:04:00"),
    ("string", {}, dt.datetime(2024, 1, 2, 3, 4, tzinfo=BERLIN), "2024-01-02T01:04:00Z"),
    ("string", {}, dt.time(3, 4), "03:04:00"),
    ("string", {}, dt.timedelta(days=1, hours=2), "P1DT2H"),
    ("string", {}, dt.timedelta(seconds=-0.5), "-PT0.5S"),
    ("string", {}, dt.timedelta(0), "P0D"),
    ("string", {}, uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ("string", {}, ipaddress.ip_address("10.0.0.1"), "10.0.0.1"),
    ("string", {}, {"b": 1, "a": [Decimal("1.10")]}, '{"a":[1.10],"b":1}'),
    ("string", {"encoding": "hex"}, b"\x00\xff", "00ff"),
    ("string", {"encoding": "base64"}, memoryview(b"abc"), "YWJj"),
    ("string", {"encoding": "utf-8"}, bytearray("é".encode()), "é"),
    ("string", {"empty_as_null": True}, " \t", None),
    ("integer", {}, 5, 5),
    ("integer", {}, True, 1),
    ("integer", {}, 5.0, 5),
    ("integer", {}, Decimal("5.00"), 5),
    ("integer", {}, " -12 ", -12),
    ("integer", {}, "+7.0", 7),
    ("integer", {}, 2**63 - 1, 2**63 - 1),
    ("integer", {}, 2**64, Decimal(2**64)),
    ("integer", {}, Decimal("123456789012345678901234567890"), Decimal("123456789012345678901234567890")),
    ("integer", {"min": 0, "max": 10}, 10, 10),
    ("integer", {"empty_as_null": True}, "", None),
    ("decimal", {}, Decimal("1.10"), Decimal("1.10")),
    ("decimal", {}, 0.1, Decimal("0.1")),
    ("decimal", {}, 3, Decimal("3")),
    ("decimal", {}, " 1.5e3 ", Decimal("1.5e3")),
    ("decimal", {}, ".5", Decimal(".5")),
    ("decimal", {"scale": 2}, Decimal("1.005"), Decimal("1.01")),
    ("decimal", {"scale": 2, "rounding": "half_even"}, Decimal("1.005"), Decimal("1.00")),
    ("decimal", {"scale": 2, "rounding": "down"}, "1.999", Decimal("1.99")),
    ("decimal", {"scale": 0, "rounding": "floor"}, "-1.1", Decimal("-2")),
    ("decimal", {"scale": 2, "rounding": "reject"}, "1.500", Decimal("1.50")),
    ("boolean", {}, False, False),
    ("boolean", {}, 1, True),
    ("boolean", {}, Decimal("0.0"), False),
    ("boolean", {}, " YES ", True),
    ("boolean", {}, "off", False),
    ("boolean", {"true_words": ["ja"], "false_words": ["nein"]}, "NEIN", False),
    ("date", {}, dt.date(2024, 1, 31), "2024-01-31"),
    ("date", {}, dt.date(1, 1, 1), "0001-01-01"),
    ("date", {}, dt.datetime(2024, 1, 31, 23, 59), "2024-01-31"),
    ("date", {"timezone": "Asia/Tokyo"}, dt.datetime(2024, 1, 31, 23, 0, tzinfo=dt.UTC), "2024-02-01"),
    ("date", {}, " 2024-02-29 ", "2024-02-29"),
    ("date", {}, "2024-01-31T23:30:00-02:00", "2024-02-01"),
    ("date", {"format": "%d.%m.%Y"}, "31.01.2024", "2024-01-31"),
    ("timestamp", {}, NOON, "2024-07-01T12:00:00Z"),
    ("timestamp", {}, dt.datetime(2024, 7, 1, 12, tzinfo=BERLIN), "2024-07-01T10:00:00Z"),
    ("timestamp", {}, dt.datetime(2024, 7, 1, 12, 0, 0, 1), "2024-07-01T12:00:00.000001Z"),
    ("timestamp", {"timezone": "Europe/Berlin"}, dt.datetime(2024, 7, 1, 12), "2024-07-01T10:00:00Z"),
    ("timestamp", {"timezone": "Europe/Berlin"}, dt.date(2024, 1, 1), "2023-12-31T23:00:00Z"),
    ("timestamp", {}, "2024-07-01 12:00", "2024-07-01T12:00:00Z"),
    ("timestamp", {}, "2024-07-01T12:00:00.123456789+02", "2024-07-01T10:00:00.123456Z"),
    ("timestamp", {}, "2024-07-01 12:00:00.5 +0530", "2024-07-01T06:30:00.500000Z"),
    ("timestamp", {}, "2024-07-01t12:00:00z", "2024-07-01T12:00:00Z"),
    ("timestamp", {"epoch": "milliseconds"}, 1719835200000, "2024-07-01T12:00:00Z"),
    ("timestamp", {"epoch": "seconds"}, Decimal("1719835200.5"), "2024-07-01T12:00:00.500000Z"),
    ("timestamp", {"precision": "milliseconds"}, NOON, "2024-07-01T12:00:00.000Z"),
    ("timestamp", {"format": "%d/%m/%Y %H:%M"}, "01/07/2024 12:00", "2024-07-01T12:00:00Z"),
    ("enum", {"values": ["free", "pro"]}, "pro", "pro"),
    ("enum", {"values": ["free", "pro"]}, " pro ", "pro"),
    ("enum", {"values": ["Free", "Pro"], "fold_case": True}, "PRO", "Pro"),
    ("enum", {"map": {"1": "active", "0": "gone"}}, 1, "active"),
    ("enum", {"map": {"true": 1}}, True, 1),
    ("enum", {"values": [1, 2]}, 2, 2),
    ("enum", {"values": ["free"], "empty_as_null": True}, " ", None),
    ("array", {}, ["a", 1, None], ["a", 1, None]),
    ("array", {}, (1, 2), [1, 2]),
    ("array", {}, {"b", "a"}, ["a", "b"]),
    ("array", {}, '["a", 1.10]', ["a", Decimal("1.10")]),
    ("array", {"separator": ";"}, "a; b;;c ", ["a", "b", "c"]),
    ("array", {"separator": ",", "items": "integer"}, "1,2", [1, 2]),
    ("array", {"items": "date"}, [dt.date(2024, 1, 1), None], ["2024-01-01", None]),
    ("json", {}, {"a": {"b": [1, None, True]}}, {"a": {"b": [1, None, True]}}),
    ("json", {}, '{"a": 1.000000000000000000001}', {"a": Decimal("1.000000000000000000001")}),
    ("json", {}, {1: NOON, "u": uuid.UUID(int=0)}, {"1": "2024-07-01T12:00:00Z", "u": str(uuid.UUID(int=0))}),
    ("json", {}, [2**70], [Decimal(2**70)]),
    ("json", {}, "null", None),
    ("json", {}, 5, 5),
]


@pytest.mark.parametrize("type_, options, value, expected", PASSES, ids=numbered(PASSES))
def test_coerces(type_: str, options: dict[str, Any], value: Any, expected: Any) -> None:
    result = coerce(type_, value, **options)
    assert result == expected
    assert type(result) is type(expected)
    canonical_body({"v": result})


REFUSED: list[tuple[str, dict[str, Any], Any, str, str]] = [
    ("string", {}, "a\x00b", "invalid_text", "NUL"),
    ("string", {}, "a\ud800b", "invalid_text", "U+D800"),
    ("string", {"max_length": 3}, "abcd", "too_long", "4 characters; the field takes 3"),
    ("string", {}, b"abc", "wrong_type", "encoding"),
    ("string", {"encoding": "utf-8"}, b"\xff", "invalid_text", "not UTF-8"),
    ("string", {}, float("nan"), "not_finite", "finite"),
    ("string", {}, Decimal("1E+9999"), "out_of_range", "digits"),
    ("string", {}, Color.RED, "wrong_type", "no text form"),
    ("integer", {}, 1.5, "wrong_type", "fraction"),
    ("integer", {}, float("inf"), "not_finite", "finite"),
    ("integer", {}, Decimal("NaN"), "not_finite", "finite"),
    ("integer", {}, Decimal("sNaN"), "not_finite", "finite"),
    ("integer", {}, "12a", "wrong_type", "not an integer"),
    ("integer", {}, "1_000", "wrong_type", "not an integer"),
    ("integer", {}, "١٢", "wrong_type", "not an integer"),
    ("integer", {}, "", "wrong_type", "not an integer"),
    ("integer", {}, "9" * 5000, "wrong_type", "not an integer"),
    ("integer", {}, 10**5000, "out_of_range", "digits"),
    ("integer", {}, dt.date(2024, 1, 1), "wrong_type", "a date"),
    ("integer", {"min": 0}, -1, "out_of_range", "less than 0"),
    ("integer", {"max": 10}, "11", "out_of_range", "greater than 10"),
    ("decimal", {}, "12,5", "wrong_type", "not a decimal"),
    ("decimal", {}, "NaN", "wrong_type", "not a decimal"),
    ("decimal", {}, "1e999999", "wrong_type", "not a decimal"),
    ("decimal", {}, "1e999", "out_of_range", "digits"),
    ("decimal", {}, Decimal("1E+500"), "out_of_range", "digits"),
    ("decimal", {}, True, "wrong_type", "boolean"),
    ("decimal", {}, dt.timedelta(1), "wrong_type", "interval"),
    ("decimal", {"scale": 2, "rounding": "reject"}, "1.005", "out_of_range", "more than 2 digits"),
    ("boolean", {}, "maybe", "wrong_type", "known words"),
    ("boolean", {}, 2, "wrong_type", "not a boolean"),
    ("boolean", {}, "", "wrong_type", "not a boolean"),
    ("boolean", {}, Decimal("NaN"), "wrong_type", "not a boolean"),
    ("date", {}, "2023-02-29", "wrong_type", "day is out of range"),
    ("date", {}, "20240131", "wrong_type", "YYYY-MM-DD"),
    ("date", {}, "31.01.2024", "wrong_type", "YYYY-MM-DD"),
    ("date", {}, 20240131, "wrong_type", "not a date"),
    ("date", {"format": "%d.%m.%Y"}, "2024-01-31", "wrong_type", "%d.%m.%Y"),
    ("timestamp", {}, "yesterday", "wrong_type", "YYYY-MM-DD"),
    ("timestamp", {}, "2024-13-01T00:00:00Z", "wrong_type", "month"),
    ("timestamp", {}, "2024-01-01T24:61:00Z", "wrong_type", "not a timestamp"),
    ("timestamp", {}, 1719835200, "wrong_type", "epoch"),
    ("timestamp", {"epoch": "seconds"}, 10**20, "out_of_range", "years"),
    ("timestamp", {"epoch": "seconds"}, float("nan"), "not_finite", "finite"),
    ("timestamp", {}, dt.datetime.min.replace(tzinfo=BERLIN), "out_of_range", "years 1 to 9999"),
    ("timestamp", {}, dt.time(1), "wrong_type", "not a timestamp"),
    ("enum", {"values": ["free", "pro"]}, "PRO", "not_allowed", "free, pro"),
    ("enum", {"values": ["free"]}, b"free", "not_allowed", "free"),
    ("enum", {"values": ["free"]}, {"a": 1}, "not_allowed", "free"),
    ("array", {}, "a,b", "wrong_type", "separator"),
    ("array", {}, "[1", "wrong_type", "list"),
    ("array", {}, 5, "wrong_type", "a number"),
    ("array", {}, b"ab", "wrong_type", "binary"),
    ("array", {"items": "integer", "separator": ","}, "1,x", "wrong_type", "item 2"),
    ("array", {"max_items": 1}, [1, 2], "too_long", "2 items"),
    ("array", {}, [b"x"], "wrong_type", "item 1"),
    ("json", {}, "{", "not_json", "line 1"),
    ("json", {}, "NaN", "not_json", "not valid JSON"),
    ("json", {}, '{"a":"\\u0000"}', "invalid_text", "NUL"),
    ("json", {}, '["\\ud800"]', "invalid_text", "surrogate"),
    ("json", {}, [float("inf")], "not_finite", "finite"),
    ("json", {}, "[" * 100_000, "not_json", "not valid JSON"),
    ("json", {}, {b"k": 1}, "wrong_type", "name of a member"),
    ("json", {}, {"a": b"x"}, "wrong_type", "binary"),
    ("json", {}, "9" * 5000, "not_json", "not valid JSON"),
]


@pytest.mark.parametrize("type_, options, value, code, words", REFUSED, ids=numbered(REFUSED))
def test_refuses(type_: str, options: dict[str, Any], value: Any, code: str, words: str) -> None:
    with pytest.raises(CoercionError) as caught:
        coerce(type_, value, **options)
    assert caught.value.code == code
    assert words in caught.value.reason


def test_json_refuses_a_list_that_holds_itself() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(CoercionError, match="nested deeper than 64"):
        coerce("json", loop)


@pytest.mark.parametrize("moment, expected", [
    (dt.datetime(2024, 3, 31, 2, 30), "2024-03-31T01:30:00Z"),  # does not exist in Berlin: read with the offset before the jump
    (dt.datetime(2024, 10, 27, 2, 30), "2024-10-27T00:30:00Z"),  # exists twice: the first
])  # fmt: skip
def test_timestamp_around_a_clock_change(moment: dt.datetime, expected: str) -> None:
    assert coerce("timestamp", moment, timezone="Europe/Berlin") == expected


BAD_OPTIONS: list[tuple[str, dict[str, Any], str]] = [
    ("string", {"max_lenght": 3}, "no option “max_lenght”"),
    ("string", {"max_length": 0}, "whole number from 1"),
    ("string", {"max_length": "3"}, "whole number"),
    ("string", {"trim": 1}, "true or false"),
    ("string", {"on_overflow": "cut"}, "reject, truncate"),
    ("integer", {"min": "x"}, "write a number"),
    ("integer", {"min": 5, "max": 4}, "no value could pass"),
    ("decimal", {"scale": -1}, "whole number from 0"),
    ("decimal", {"rounding": "bankers"}, "half_even"),
    ("boolean", {"true_words": []}, "list of words"),
    ("boolean", {"true_words": ["x"], "false_words": ["X "]}, "both true and false"),
    ("date", {"timezone": "Mars/Base"}, "IANA time zone"),
    ("date", {"timezone": "../../etc/passwd"}, "IANA time zone"),
    ("date", {"format": "dd.mm.yyyy"}, "strptime"),
    ("timestamp", {"epoch": "hours"}, "seconds"),
    ("enum", {}, "allowed values"),
    ("enum", {"map": {"a": None}}, "object of warehouse value"),
    ("array", {"items": "enum"}, "choose one of"),
    ("array", {"separator": 5}, "write text"),
]


@pytest.mark.parametrize("type_, options, words", BAD_OPTIONS)
def test_options_that_are_wrong_are_named(type_: str, options: dict[str, Any], words: str) -> None:
    problems = [message for _, message in option_problems(FieldType(type_), options)]
    assert any(words in message for message in problems), problems


def test_every_type_declares_options_with_defaults_that_pass() -> None:
    for field_type in FieldType:
        defaults = {option.name: option.default for option in OPTIONS[field_type] if option.default is not None}
        if field_type is not FieldType.ENUM:
            assert not list(option_problems(field_type, defaults)), field_type


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no")


HOSTILE = [
    "x" * 10_000_000, "\ud800\x00\n" * 50, b"\x00" * 10_000_000, 10**100_000, [["a" * 1000] * 1000] * 1000, Hostile(),
    Decimal("1" * 5000), {"k" * 500: object()}, memoryview(b"abc"),
]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_shown_is_short_printable_and_never_raises(value: Any) -> None:
    text = shown(value)
    assert len(text) <= 110
    assert text.isprintable()
    text.encode()
