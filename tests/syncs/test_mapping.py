"""The compiled mapping: payloads, NULLs, nesting, errors as values, and what is refused before a row is read."""

from __future__ import annotations

import datetime as dt
import uuid
import zoneinfo
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncs.choices import FieldType, MappingKind, OnNull
from syncs.engine.hashing import canonical_body
from syncs.engine.mapping import MappingField, compile_mapping, key_fields, validate_mapping
from syncs.errors import ConfigError, ErrorType
from syncs.records import RowError

COLUMNS = ("id", "name", "city", "age", "meta")


def line(field: str, **values: Any) -> MappingField:
    values.setdefault("kind", "template" if "template" in values else "constant" if "constant" in values else "column")
    if values["kind"] == "column":
        values.setdefault("column", field.rpartition(".")[2])
    return MappingField.from_snapshot({"destination_field": field, **values})


def mapped(fields: list[MappingField], *row: Any) -> Any:
    return compile_mapping(fields, COLUMNS)((*row, *[None] * (len(COLUMNS) - len(row))))


def test_maps_columns_constants_and_templates_in_order() -> None:
    fields = [
        line("external_id", column="id", type="integer", is_key=True),
        line("full", template="{{ name | upcase }} of {{ city }}"),
        line("source", constant="warehouse"),
        line("age", type="decimal"),
    ]
    payload = mapped(fields, "7", "Zoë", "Köln", 3)
    assert payload == {"external_id": 7, "full": "ZOË of Köln", "source": "warehouse", "age": Decimal(3)}
    assert list(payload) == ["external_id", "full", "source", "age"]
    assert key_fields(fields) == ("external_id",)


def test_nests_and_collects() -> None:
    fields = [
        line("address.city"),
        line("address.geo.name", column="name"),
        line("tags[]", column="name"),
        line("tags[]", constant="vip"),
        line("tags[]", column="age", type="integer", on_null="omit"),
        line("address.lines[]", column="city"),
    ]
    assert mapped(fields, 1, "Ann", "Rome") == {
        "address": {"city": "Rome", "geo": {"name": "Ann"}, "lines": ["Rome"]},
        "tags": ["Ann", "vip"],
    }


def test_omit_leaves_no_empty_object_behind() -> None:
    fields = [line("id"), line("address.city", on_null="omit"), line("tags[]", column="name", on_null="omit")]
    assert mapped(fields, "1") == {"id": "1"}


@pytest.mark.parametrize("on_null, values, expected", [
    ("null", {}, {"name": None}),
    ("omit", {}, {}),
    ("default", {"default": " x "}, {"name": " x "}),
    ("default", {"default": "5", "type": "integer"}, {"name": 5}),
    ("default", {"default": "x", "is_required": True}, {"name": "x"}),
    ("null", {"options": {"empty_as_null": True}}, {"name": None}),
])  # fmt: skip
def test_null_becomes_what_the_policy_says(on_null: str, values: dict[str, Any], expected: dict[str, Any]) -> None:
    assert mapped([line("name", on_null=on_null, **values)], 1, None) == expected


def test_defaults_and_constants_are_not_shared_between_rows() -> None:
    listed = line("a", column="name", type="array", on_null="default", default=["x"])
    mapper = compile_mapping([listed, line("b", constant={"k": []}, type="json")], COLUMNS)
    first, second = mapper((1, None, None, None, None)), mapper((2, None, None, None, None))
    assert isinstance(first, dict)
    first["a"].append("y")
    first["b"]["k"].append("y")
    assert second == {"a": ["x"], "b": {"k": []}}


@pytest.mark.parametrize("values, words", [
    ({"is_required": True}, "is required"),
    ({"is_required": True, "on_null": "omit"}, "is required"),
    ({"on_null": "reject"}, "refuses NULL"),
    ({"is_key": True}, "is the key"),
    ({"is_required": True, "options": {"empty_as_null": True}}, "is required"),
])  # fmt: skip
def test_null_is_refused(values: dict[str, Any], words: str) -> None:
    row = (1, "" if "options" in values else None)
    error = mapped([line("nick.name", column="name", **values)], *row)
    assert isinstance(error, RowError)
    assert (error.type, error.code, error.field) == (ErrorType.MISSING_REQUIRED, "null_value", "nick.name")
    assert error.message.startswith("Column name is NULL")
    assert words in error.message


def test_blank_key_is_refused() -> None:
    error = mapped([line("name", is_key=True)], 1, "  ")
    assert isinstance(error, RowError)
    assert error.type is ErrorType.MISSING_REQUIRED


def test_coercion_failure_names_column_value_and_type() -> None:
    error = mapped([line("years", column="age", type="integer")], 1, None, None, "12,5" + "x" * 500)
    assert isinstance(error, RowError)
    assert (error.type, error.field, error.code) == (ErrorType.MAPPING, "years", "wrong_type")
    assert error.message.startswith("Column age: “12,5xxx")
    assert error.message.endswith("…” is not an integer (expected: integer).")
    assert len(error.message) < 160
    assert error.permanent


def test_row_that_is_too_short_is_an_error_not_an_exception() -> None:
    error = compile_mapping([line("meta")], COLUMNS)((1, 2))
    assert isinstance(error, RowError)
    assert "fewer values" in error.message


class Bomb(str):
    def isascii(self) -> bool:
        raise RuntimeError("boom")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("boom")

    def __hash__(self) -> int:
        raise RuntimeError("boom")


class Explosive(dict[str, Any]):
    def items(self) -> Any:
        raise RuntimeError("boom")


@pytest.mark.parametrize("type_", list(FieldType))
@pytest.mark.parametrize("value", [Explosive(a=1), object(), type, Decimal("sNaN"), lambda: 1], ids=range(5))
def test_hostile_values_are_row_errors_or_payloads(type_: str, value: Any) -> None:
    options = {"values": ["a"]} if type_ == "enum" else {}
    result = mapped([line("meta", type=type_, options=options)], 1, 2, 3, 4, value)
    assert isinstance(result, RowError)
    assert result.type is ErrorType.MAPPING
    assert "Column meta" in result.message


def test_text_subclass_that_raises_is_a_row_error_or_plain_text() -> None:
    for type_ in ("string", "integer", "enum", "json"):
        result = mapped([line("meta", type=type_, options={"values": ["a"]} if type_ == "enum" else {})], 1, 2, 3, 4, Bomb("x"))
        assert isinstance(result, RowError | dict)


REFUSED: list[tuple[list[MappingField], str, str]] = [
    ([], "mappings", "maps no field"),
    ([line("", column="id")], "mappings.0.destination_field", "has no name"),
    ([line("a..b", column="id")], "mappings.0.destination_field", "a name is missing"),
    ([line("a. b", column="id")], "mappings.0.destination_field", "spaces beside a dot"),
    ([line("a[].b", column="id")], "mappings.0.destination_field", "only once and at the end"),
    ([line("a[0]", column="id")], "mappings.0.destination_field", "only once and at the end"),
    ([line("[]", column="id")], "mappings.0.destination_field", "a name is missing"),
    ([line("a\x00", column="id")], "mappings.0.destination_field", "cannot be printed"),
    ([line(".".join("a" * 20), column="id")], "mappings.0.destination_field", "16 levels"),
    ([line("name"), line("name", column="city")], "mappings.1.destination_field", "mapped twice"),
    ([line("name"), line("name[]", column="city")], "mappings.1.destination_field", "as a list"),
    ([line("a", column="id"), line("a.b", column="city")], "mappings.1.destination_field", "hold “a.b”"),
    ([line("a.b.c", column="id"), line("a.b", column="city")], "mappings.1.destination_field", "hold “a.b.c”"),
    ([line("a[]", column="id"), line("a.b", column="city")], "mappings.1.destination_field", "at the same time"),
    ([line("nmae")], "mappings.0.column", "no column “nmae”. Did you mean “name”?"),
    ([line("x", column="zzz")], "mappings.0.column", "It returns: id, name"),
    ([line("x", column="")], "mappings.0.column", "choose the column"),
    ([line("x", column="name", kind="sql")], "mappings.0.kind", "column, constant or template"),
    ([line("x", column="name", type="float")], "mappings.0.type", "choose one of string"),
    ([line("x", column="name", type="enum")], "mappings.0.options", "allowed values"),
    ([line("x", column="name", on_null="zero")], "mappings.0.on_null", "choose one of null"),
    ([line("x", column="name", on_null="default")], "mappings.0.default", "no default"),
    ([line("x", column="name", on_null="default", default="x", type="integer")], "mappings.0.default", "not an integer"),
    ([line("x", constant="x", type="date")], "mappings.0.constant", "not a date"),
    ([line("x", constant=None, is_required=True)], "mappings.0.constant", "constant is empty"),
    ([line("x", constant="x", is_key=True)], "mappings", "Every key field is a constant"),
    ([line("x[]", column="id", is_key=True)], "mappings.0.is_key", "cannot be the key"),
    ([line("x", column="id", is_key=True, type="json")], "mappings.0.type", "one value"),
    ([line("x", column="id", is_key=True, on_null="default", default="1")], "mappings.0.on_null", "same key"),
    ([line("x", template="")], "mappings.0.template", "is empty"),
    ([line("x", template="{{ nmae }}")], "mappings.0.template", "no column “nmae”"),
    ([line("x", template="{{ now }}")], "mappings.0.template", "no column “now”"),
    ([line("x", template="{{ name")], "mappings.0.template", "cannot be read"),
]


@pytest.mark.parametrize("fields, where, words", REFUSED)
def test_mapping_that_cannot_work_is_refused(fields: list[MappingField], where: str, words: str) -> None:
    issues = validate_mapping(fields, COLUMNS)
    assert [issue.field for issue in issues if words in issue.message] == [where], issues
    with pytest.raises(ConfigError):
        compile_mapping(fields, COLUMNS)


def test_doubled_column_is_refused_where_it_is_used() -> None:
    columns = ("id", "name", "name")
    assert validate_mapping([line("id")], columns) == []
    assert "several columns" in validate_mapping([line("name")], columns)[0].message


def test_columns_that_are_not_known_yet_are_not_judged() -> None:
    assert validate_mapping([line("x", column="anything"), line("y", template="{{ anything }}")], None) == []


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.text(st.characters(blacklist_categories=()))
    | st.binary()
    | st.dates()
    | st.datetimes(timezones=st.none() | st.timezones())
    | st.times()
    | st.timedeltas()
    | st.uuids()
    | st.sampled_from(["2024-01-31", "1e5", "true", "[1]", "{}", "null", "  ", "\x00"])
    | st.sampled_from([10**400, memoryview(b"x"), Decimal("1E+999")])
)
NAMED = st.text() | st.integers()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(NAMED, inner), max_leaves=8)
TYPED: list[tuple[str, dict[str, Any]]] = [
    ("string", {}),
    ("string", {"trim": True, "max_length": 4, "on_overflow": "truncate", "encoding": "hex"}),
    ("string", {"on_invalid_text": "remove", "empty_as_null": True}),
    ("integer", {}),
    ("integer", {"min": -5, "max": 5}),
    ("decimal", {}),
    ("decimal", {"scale": 3, "rounding": "reject"}),
    ("boolean", {}),
    ("date", {"timezone": "Asia/Tokyo"}),
    ("date", {"format": "%d.%m.%Y"}),
    ("timestamp", {"timezone": "America/New_York"}),
    ("timestamp", {"epoch": "milliseconds"}),
    ("enum", {"values": ["a", "1"], "fold_case": True}),
    ("array", {}),
    ("array", {"separator": ",", "items": "decimal"}),
    ("json", {}),
]
POLICIES = st.sampled_from(["null", "omit", "reject"])
TEMPLATE = "{{ c | append: '!' | upcase }}{% if c > 3 %}{{ c | plus: 1 }}{% endif %}"


def is_payload_value(value: Any) -> bool:
    if isinstance(value, dict):
        return all(type(key) is str and is_payload_value(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(is_payload_value, value))
    if isinstance(value, str):
        return "\x00" not in value and value.encode() is not None
    return value is None or type(value) in (bool, int, float) or (isinstance(value, Decimal) and value.is_finite())


@given(value=VALUES, typed=st.sampled_from(TYPED), on_null=POLICIES, path=st.sampled_from(["f", "a.f", "f[]"]))
def test_every_row_gives_a_payload_or_a_row_error(value: Any, typed: tuple[str, Any], on_null: str, path: str) -> None:
    type_, options = typed
    result = compile_mapping([line(path, column="c", type=type_, options=options, on_null=on_null)], ["c"])((value,))
    if isinstance(result, RowError):
        assert result.field == path
        assert len(result.message) < 500
        result.message.encode()
    else:
        assert is_payload_value(result)
        assert canonical_body(result)


@given(value=VALUES)
def test_every_row_gives_text_or_a_row_error_from_a_template(value: Any) -> None:
    mapper = compile_mapping(
        [line("f", template="{{ c | append: '!' | upcase }}{% if c > 3 %}{{ c | plus: 1 }}{% endif %}")], ["c"]
    )
    result = mapper((value,))
    assert isinstance(result, RowError) or is_payload_value(result)


@given(
    value=st.datetimes(timezones=st.timezones())
    | st.dates()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.uuids()
    | st.integers()
)
def test_text_of_a_value_is_read_back_as_the_same_value(value: Any) -> None:
    kind = {dt.datetime: "timestamp", dt.date: "date", Decimal: "decimal", int: "integer", uuid.UUID: "string"}[type(value)]
    direct = compile_mapping([line("f", column="c", type=kind)], ["c"])((value,))
    text = compile_mapping([line("f", column="c", type="string")], ["c"])((value,))
    if isinstance(direct, dict) and isinstance(text, dict):
        assert compile_mapping([line("f", column="c", type=kind)], ["c"])((text["f"],)) == direct


def test_snapshot_round_trip_ignores_what_is_not_the_mappings() -> None:
    field = MappingField.from_snapshot({"destination_field": "a", "column": "id", "position": 3, "id": 9, "options": None})
    assert field == MappingField("a", column="id")
    assert (field.kind, field.type, field.on_null) == (MappingKind.COLUMN, FieldType.STRING, OnNull.NULL)


PARIS = zoneinfo.ZoneInfo("Europe/Paris")
MOMENTS = {
    "UTC": dt.datetime(2026, 1, 31, 12, 30, 5, tzinfo=dt.UTC),
    "microseconds": dt.datetime(2026, 1, 31, 12, 30, 5, 120, tzinfo=dt.UTC),
    "no zone": dt.datetime(2026, 1, 31, 12, 30, 5),
    "long ago": dt.datetime(9, 1, 31, tzinfo=dt.UTC),
    "London in winter": dt.datetime(2026, 1, 31, tzinfo=zoneinfo.ZoneInfo("Europe/London")),
    "London in summer": dt.datetime(2026, 7, 31, tzinfo=zoneinfo.ZoneInfo("Europe/London")),
    "seconds beside UTC": dt.datetime(2026, 1, 31, tzinfo=dt.timezone(dt.timedelta(seconds=30))),
    "before standard time": dt.datetime(1890, 1, 31, tzinfo=PARIS),
    "text": "2026-01-31 12:30:05+02",
    "date": dt.date(2026, 1, 31),
    "nothing": None,
}


@pytest.mark.parametrize("other", list(MOMENTS))
def test_timestamps_by_column_are_those_row_by_row(other: str) -> None:
    mapper = compile_mapping([line("at", column="name", type="timestamp")], COLUMNS)
    rows = [(1, MOMENTS["UTC"], None, None, None), (2, MOMENTS[other], None, None, None), (3, MOMENTS["UTC"], None, None, None)]
    assert mapper.many(rows) == [mapper(row) for row in rows]


def test_field_names_are_never_code() -> None:
    name = "a\"'}; raise SystemExit #\\"
    mapper = compile_mapping([line("v0", column="id", type="integer"), line(name, column="name")], COLUMNS)
    assert mapper.many([(1, "Ann", None, None, None)]) == [{"v0": 1, name: "Ann"}]
