"""Which column is suggested for which field: by names, and by what the values can become."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from syncs.choices import FieldType
from syncs.engine.field_types import fits, natural, type_of
from syncs.engine.suggestions import Candidate, Wanted, suggest

ALIKE = [
    ("first_name", "FirstName"), ("firstname", "First Name"), ("FNAME", "first_name"), ("surname", "LastName"),
    ("mail", "email"), ("E-Mail", "email"), ("customer_email", "Email"), ("phone_number", "phone"), ("tel", "Phone"),
    ("ZIP", "postal_code"), ("zip", "zip_code"), ("city", "address.city"), ("mailing_city", "MailingCity__c"),
    ("address_street", "address.street"), ("created", "created_at"), ("signup_date", "signed_up_at"), ("url", "website"),
    ("company_name", "company"), ("customer_id", "id"), ("id", "external_id"), ("external_id", "External_Id__c"),
    ("is_active", "active"), ("Müller", "muller"), ("adress", "address"), ("subscriptoin_plan", "subscription_plan"),
    ("labels", "tags[]"),
]  # fmt: skip
APART = [
    ("email_opt_in", "email"), ("order_id", "id"), ("contact_id", "customer_id"), ("first_order_at", "firstname"),
    ("telephone", "mobile"), ("address1", "address2"), ("line_item_1", "line_item_2"), ("age", "wage"), ("name", "firstname"),
    ("id", "valid"), ("", "x"), ("city", "capacity"), ("state", "estate"),
]  # fmt: skip


@pytest.mark.parametrize(("column", "field"), ALIKE)
def test_column_is_suggested_for_a_field_that_means_the_same(column: str, field: str):
    assert suggest([Candidate("other"), Candidate(column)], [Wanted(field)])[field].column == column


@pytest.mark.parametrize(("column", "field"), APART)
def test_column_is_not_suggested_for_a_field_that_only_looks_alike(column: str, field: str):
    assert suggest([Candidate(column)], [Wanted(field)]) == {}


def test_label_counts_where_the_name_says_nothing():
    assert suggest([Candidate("phone")], [Wanted("cf_1029", "Phone number")])["cf_1029"].column == "phone"


def test_column_goes_once_to_the_field_it_fits_best():
    found = suggest([Candidate("email"), Candidate("customer_email")], [Wanted("contact_email"), Wanted("email")])
    assert {name: one.column for name, one in found.items()} == {"email": "email"}


def test_mapped_column_is_not_suggested_again():
    assert suggest([Candidate("email")], [Wanted("email")], used=["email"]) == {}


def test_column_whose_values_cannot_become_the_type_is_not_suggested():
    young = Candidate("age", fits(["young", "41"]))
    assert suggest([young], [Wanted("age", type=FieldType.INTEGER)]) == {}
    assert suggest([young], [Wanted("age", type=FieldType.STRING)])["age"].column == "age"
    assert suggest([Candidate("age", fits(["40", "41"]))], [Wanted("age", type=FieldType.INTEGER)])["age"].column == "age"
    assert suggest([Candidate("age", fits([None]))], [Wanted("age", type=FieldType.INTEGER)])["age"].column == "age"


def test_many_fields_and_columns_are_matched_at_once():
    columns = [Candidate(f"column_{number}_of_many") for number in range(200)]
    fields = [Wanted(f"field {number}") for number in range(1_000)] + [Wanted("Column 7 of many")]
    assert {one.column for one in suggest(columns, fields).values()} == {"column_7_of_many"}


T, D = FieldType, Decimal
FITS: list[tuple[list[Any], set[FieldType], set[FieldType]]] = [
    (["12", " 7 "], {T.INTEGER, T.DECIMAL, T.STRING}, {T.DATE, T.ARRAY}),
    (["1.5"], {T.DECIMAL}, {T.INTEGER, T.BOOLEAN}),
    (["2024-01-31", None], {T.DATE, T.TIMESTAMP}, {T.INTEGER}),
    (["yes", "no"], {T.BOOLEAN}, {T.INTEGER, T.JSON}),
    ([D("1.50"), 2], {T.DECIMAL}, {T.INTEGER, T.DATE}),
    ([datetime(2024, 1, 1, tzinfo=UTC)], {T.TIMESTAMP, T.DATE}, {T.INTEGER, T.BOOLEAN}),
    ([["a"]], {T.ARRAY, T.JSON, T.STRING}, {T.DATE, T.INTEGER}),
    (['["a"]'], {T.ARRAY, T.JSON}, {T.INTEGER}),
    ([float("nan")], {T.STRING}, {T.DECIMAL, T.INTEGER, T.JSON}),
    ([b"\xff"], {T.STRING}, {T.INTEGER, T.DECIMAL, T.DATE}),
]


@pytest.mark.parametrize(("values", "some", "none"), FITS, ids=[repr(case[0])[:40] for case in FITS])
def test_types_that_values_can_become(values: list[Any], some: set[FieldType], none: set[FieldType]):
    found = fits(values)
    assert some <= found
    assert not none & found


def test_values_nobody_knows_rule_nothing_out():
    assert fits([None, None]) == fits([]) == frozenset()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a", None], T.STRING), ([1, 2], T.INTEGER), ([1, D("1.5")], T.DECIMAL), ([True], T.BOOLEAN), ([], T.STRING),
        ([date(2024, 1, 1)], T.DATE), ([datetime(2024, 1, 1)], T.TIMESTAMP), ([{"a": 1}], T.JSON), ([["a"]], T.ARRAY),
        ([1, "a"], T.STRING),
    ],
)  # fmt: skip
def test_type_that_values_have_already(values: list[Any], expected: FieldType):
    assert natural(values) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("varchar(80)", T.STRING), ("character varying(50)", T.STRING), ("datetime", T.TIMESTAMP), ("number", T.DECIMAL),
        ("bool", T.BOOLEAN), ("int8", T.INTEGER), ("text[]", T.ARRAY), ("geometry", None), ("", None),
    ],
)  # fmt: skip
def test_type_that_a_destinations_word_means(word: str, expected: FieldType | None):
    assert type_of(word) is expected
