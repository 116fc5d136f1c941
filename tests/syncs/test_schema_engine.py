"""Fields of a destination object: the answer checked, two of them compared, a mapping and a payload held against them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from syncs.choices import SchemaChangeKind as Kind
from syncs.destinations.base import Field
from syncs.engine import schema_fields
from syncs.engine.mapping import MappingField as Line
from syncs.engine.schema_diff import Change, differences
from syncs.engine.schema_drift import sentence, touches
from syncs.engine.schema_fields import Family, checked, digest, family
from syncs.engine.schema_fit import MisfitKind, misfits, violations
from syncs.errors import ConfigError

ID, NAME, AGE = Field("id", type="string", is_key=True), Field("name", type="string"), Field("age", type="integer")
TIER = Field("tier", type="string", is_required=True)


@pytest.mark.parametrize(
    "found, said",
    [
        ("no list", "is no list"),
        ({}, "is no list"),
        ([], "names no field at all"),
        ([Field(f"f{n}") for n in range(5_001)], "5,001 fields"),
        ([Field("a"), Field("b"), Field("a")], "“a” twice"),
        ([Field("")], "empty name for its field number 1"),
        ([ID, Field("x" * 256)], "256 characters for its field number 2"),
        ([Field("a\0b")], "control characters"),
        ([Field("a\nb")], "control characters"),
        ([Field("\ud800")], "control characters"),
        ([Field(17)], "no name for its field number 1"),  # type: ignore[arg-type]
        ([{"name": "id"}], "no name for its field number 1"),
        ([Field("a", options=tuple(map(str, range(5_001))))], "5,001 allowed values for “a”"),
    ],
)
def test_an_answer_that_is_none_is_refused_whole(found: Any, said: str):
    with pytest.raises(ConfigError) as problem:
        checked(found)
    assert said in problem.value.message
    assert problem.value.code == "schema_answer"


def test_five_thousand_fields_are_taken_and_junk_beside_the_name_is_cleaned():
    assert len(checked([Field(f"field {n}", options=("a", "b")) for n in range(5_000)])) == 5_000
    odd: Any = Field("<script>", 5, ["text"], "yes", 1, -3, ("a", "a", None, "b\0", "c"), None)  # type: ignore[arg-type]
    assert checked([odd]) == [Field("<script>", "5", "", False, False, None, ("a", "c"), True)]


def test_fields_survive_the_way_through_json_and_labels_or_order_are_no_change():
    fields = [ID, Field("t", "T", "enum", True, False, 9, ("b", "a"), False)]
    assert schema_fields.from_json(schema_fields.as_json(fields)) == fields
    moved = [Field("t", "Other label", "enum", True, False, 9, ("a", "b"), False), ID]
    assert digest(moved) == digest(fields)
    assert digest([ID, NAME]) != digest([ID])


@pytest.mark.parametrize(
    "word, expected",
    [
        ("character varying(50)", Family.SQL_TEXT), ("VARCHAR", Family.SQL_TEXT), ("string", Family.TEXT), ("", Family.ANY),
        ("double precision", Family.NUMBER), ("timestamp with time zone", Family.TIMESTAMP), ("integer[]", Family.LIST),
        ("geography", Family.ANY), ("numeric(10, 2)", Family.NUMBER), ("bool", Family.BOOLEAN),
    ],
)  # fmt: skip
def test_family_of_a_type(word: str, expected: Family):
    assert family(word) is expected


@pytest.mark.parametrize(
    "before, after, expected",
    [
        ([ID], [ID, TIER], [(Kind.REQUIRED_ADDED, True)]),
        ([ID], [ID, NAME], [(Kind.FIELD_ADDED, False)]),
        ([ID], [ID, Field("x", is_required=True, is_writable=False)], [(Kind.FIELD_ADDED, False)]),
        ([ID, NAME], [ID], [(Kind.FIELD_REMOVED, True)]),
        ([Field("a")], [Field("a", is_required=True)], [(Kind.BECAME_REQUIRED, True)]),
        ([Field("a", is_required=True)], [Field("a")], [(Kind.BECAME_OPTIONAL, False)]),
        ([Field("a")], [Field("a", is_writable=False)], [(Kind.BECAME_READ_ONLY, True)]),
        ([Field("a", is_writable=False)], [Field("a")], [(Kind.BECAME_WRITABLE, False)]),
        ([Field("a", max_length=9)], [Field("a", max_length=5)], [(Kind.LENGTH_CHANGED, True)]),
        ([Field("a")], [Field("a", max_length=5)], [(Kind.LENGTH_CHANGED, True)]),
        ([Field("a", max_length=5)], [Field("a", max_length=9)], [(Kind.LENGTH_CHANGED, False)]),
        ([Field("a", max_length=5)], [Field("a")], [(Kind.LENGTH_CHANGED, False)]),
        ([Field("a", options=("x", "y"))], [Field("a", options=("x",))], [(Kind.OPTIONS_CHANGED, True)]),
        ([Field("a", options=("x",))], [Field("a", options=("x", "y"))], [(Kind.OPTIONS_CHANGED, False)]),
        ([Field("a")], [Field("a", options=("x",))], [(Kind.OPTIONS_CHANGED, True)]),
        ([Field("a", options=("x",))], [Field("a")], [(Kind.OPTIONS_CHANGED, False)]),
        ([Field("a", type="string")], [Field("a", type="integer")], [(Kind.TYPE_CHANGED, True)]),
        ([Field("a", type="varchar(50)")], [Field("a", type="text")], [(Kind.TYPE_CHANGED, False)]),
        ([Field("a", type="geography")], [Field("a", type="geometry")], [(Kind.TYPE_CHANGED, True)]),
        ([ID], [Field("id", type="string")], [(Kind.KEY_CHANGED, True)]),
        ([ID, NAME], [NAME, ID], []),
    ],
)  # fmt: skip
def test_difference_of_two_descriptions(before: list[Field], after: list[Field], expected: list[tuple[Kind, bool]]):
    assert [(change.kind, change.is_breaking) for change in differences(before, after)] == expected


def test_differences_name_what_was_and_what_is_and_put_breaks_first():
    found = differences([Field("b", max_length=9)], [Field("b", max_length=5), Field("a", type="date")])
    assert found == [Change(Kind.LENGTH_CHANGED, "b", True, 9, 5), Change(Kind.FIELD_ADDED, "a", False, None, "date")]


def line(name: str, **values: Any) -> Line:
    return Line(name, column=name, **values)


@pytest.mark.parametrize(
    "lines, fields, mode, expected",
    [
        ([line("id", is_key=True)], [ID, TIER], "upsert", [(MisfitKind.MISSING, "tier", None, True)]),
        ([line("id", is_key=True)], [ID, TIER], "update", []),
        ([line("id", is_key=True)], [ID, TIER], "delete", []),
        ([line("tier")], [TIER], "mirror", [(MisfitKind.NULLABLE, "tier", 0, True)]),
        ([line("tier", is_required=True)], [TIER], "mirror", []),
        ([line("tier", on_null="default", default="x")], [TIER], "insert", []),
        ([line("tier", kind="constant", constant="gold")], [TIER], "insert", []),
        ([line("gone")], [ID], "upsert", [(MisfitKind.UNKNOWN, "gone", 0, True)]),
        ([line("gone")], [ID], "delete", []),
        ([line("address.city")], [Field("address", type="json")], "upsert", []),
        ([line("address", type="json")], [Field("address.city", is_required=True)], "upsert", []),
        ([line("tags[]"), line("tags[]")], [Field("tags", type="strings")], "upsert", []),
        ([line("a")], [Field("a", is_writable=False)], "upsert", [(MisfitKind.READ_ONLY, "a", 0, True)]),
        ([line("a", type="integer")], [Field("a", type="string")], "upsert", [(MisfitKind.TYPE, "a", 0, False)]),
        ([line("a", type="integer")], [Field("a", type="varchar(9)")], "upsert", []),
        ([line("a", type="integer")], [Field("a", type="geography")], "upsert", []),
        ([line("a")], [Field("a", max_length=5)], "upsert", [(MisfitKind.LENGTH, "a", 0, False)]),
        ([line("a", options={"max_length": 5})], [Field("a", max_length=5)], "upsert", []),
        ([line("a")], [Field("a", options=("x",))], "upsert", [(MisfitKind.OPTIONS, "a", 0, False)]),
        ([line("a", type="enum", options={"values": ["x", "z"]})], [Field("a", options=("x",))], "upsert",
         [(MisfitKind.OPTIONS, "a", 0, True)]),
        ([line("a", type="enum", options={"map": {"1": "x"}})], [Field("a", options=("x",))], "upsert", []),
        ([line("a", kind="constant", constant="zz")], [Field("a", options=("x",))], "upsert",
         [(MisfitKind.OPTIONS, "a", 0, True)]),
        ([line("name", is_key=True)], [ID, NAME], "update", [(MisfitKind.KEY, "name", 0, False)]),
        ([line("name", is_key=True)], [NAME], "update", []),
    ],
)  # fmt: skip
def test_what_of_a_mapping_does_not_fit(lines: list[Line], fields: list[Field], mode: str, expected: list[Any]):
    found = [(misfit.kind, misfit.field, misfit.line, misfit.is_certain) for misfit in misfits(lines, fields, mode=mode)]
    assert found == expected


def test_misfits_become_issues_that_name_the_line_and_the_way_out():
    found = misfits([line("id"), line("tier")], [ID, TIER, Field("city", is_required=True)], mode="upsert")
    assert [misfit.issue.field for misfit in found] == ["mappings.1.on_null", "mappings"]
    assert "Give it a default" in found[0].issue.message
    assert "“city”, and no line fills it. Add a line" in found[1].issue.message


@pytest.mark.parametrize(
    "payload, field, operation, expected",
    [
        ({}, TIER, "upsert", ["tier"]),
        ({"tier": ""}, TIER, "upsert", ["tier"]),
        ({"tier": None}, TIER, "insert", ["tier"]),
        ({}, TIER, "update", []),
        ({"x": 1}, TIER, "delete", []),
        ({"nope": 1}, AGE, "upsert", ["nope"]),
        ({"age": "12"}, AGE, "upsert", []),
        ({"age": "12.5"}, AGE, "upsert", ["age"]),
        ({"age": Decimal("12.0")}, AGE, "upsert", []),
        ({"age": True}, AGE, "upsert", ["age"]),
        ({"age": "x"}, AGE, "upsert", ["age"]),
        ({"name": 5}, NAME, "upsert", ["name"]),
        ({"name": 5}, Field("name", type="text"), "upsert", []),
        ({"name": ["a"]}, NAME, "upsert", ["name"]),
        ({"name": ["a"]}, Field("name", type="strings"), "upsert", []),
        ({"name": {"a": 1}}, Field("name", type="jsonb"), "upsert", []),
        ({"name": "abcdef"}, Field("name", max_length=5), "upsert", ["name"]),
        ({"name": "b"}, Field("name", options=("a",)), "upsert", ["name"]),
        ({"name": "b"}, Field("name", is_writable=False), "upsert", ["name"]),
        ({"name": None}, Field("name", is_writable=False), "upsert", []),
        ({"address": {"city": "Bonn"}}, Field("address.city", is_required=True), "upsert", []),
        ({"address": {"city": ""}}, Field("address.city", is_required=True), "upsert", ["address.city"]),
        ({"address": {"zip": "1"}}, Field("address.city"), "upsert", ["address.zip"]),
    ],
)
def test_what_of_a_payload_would_be_refused(payload: dict[str, Any], field: Field, operation: str, expected: list[str]):
    assert [issue.field for issue in violations(payload, [field], operation)] == expected


@pytest.mark.parametrize(
    "before, after, lines, mode, is_touched, is_certain",
    [
        ([ID], [ID, TIER], [line("id")], "upsert", True, True),
        ([ID], [ID, TIER], [line("id")], "update", False, False),
        ([ID], [ID, TIER], [line("id"), line("tier", is_required=True)], "upsert", False, False),
        ([ID, NAME], [ID], [line("id")], "upsert", False, False),
        ([ID, NAME], [ID], [line("name")], "upsert", True, True),
        ([ID, Field("address", type="json")], [ID], [line("address.city")], "upsert", True, True),
        ([NAME], [Field("name", type="string", max_length=5)], [line("name")], "upsert", True, False),
        ([NAME], [Field("name", type="string", max_length=5)], [line("name", options={"max_length": 4})], "upsert",
         False, False),
        ([Field("a", type="geography")], [Field("a", type="geometry")], [line("a")], "upsert", True, False),
        ([Field("a", type="geography")], [Field("a", type="geometry")], [line("b")], "upsert", False, False),
        # What did not fit before, for another reason, is no news.
        ([Field("a", max_length=9)], [Field("a", max_length=9, is_required=True)], [line("a", is_required=True)], "upsert",
         False, False),
    ],
)  # fmt: skip
def test_breaks_that_touch_a_mapping(
    before: list[Field], after: list[Field], lines: list[Line], mode: str, is_touched: bool, is_certain: bool
):
    found = touches(differences(before, after), lines, after, mode=mode)
    assert bool(found) == is_touched
    assert any(touch.is_certain for touch in found) == is_certain


def test_sentence_of_a_drift_names_the_first_and_counts_the_rest():
    wide = [Field(f"f{n}") for n in range(6)]
    found = touches(differences(wide, [ID]), [line(f"f{n}") for n in range(6)], [ID], mode="upsert")
    assert sentence(found[:1]) == "the field “f0” is gone"
    assert sentence(found).endswith("the field “f3” is gone; and 2 more")
