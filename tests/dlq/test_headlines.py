"""What is wrong, in a few words for people."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dlq.headlines import MAX_HEADLINE, headline
from syncs.errors import ErrorType


@pytest.mark.parametrize(
    ("error_type", "code", "field", "message", "said"),
    [
        ("validation", "INVALID_EMAIL", "email", "…: not an address", "email is not a valid email address"),
        ("validation", "X", "phone", "Property … value … is not a valid phone number", "phone is not a valid phone number"),
        ("validation", "E1", "age", "Property age is not valid", "age is not valid"),
        ("validation", "", "email", "Property email: … is not valid", "email is not a valid email address"),
        ("validation", "STRING_TOO_LONG", "email", "has … characters, at most … fit", "email is too long"),
        ("validation", "", "mobile_phone", "mobile_phone is required", "mobile_phone is missing"),
        ("validation", "INVALID_OPTION", "country", "… is not one of the options", "country is not one of the allowed values"),
        ("validation", "INVALID_FORMAT", "code", "must be four capital letters", "code has the wrong format"),
        ("validation", "", "", "Property email: … is not valid", "Property email: … is not valid"),
        ("validation", "", "vat", "Rule … was broken", "vat: Rule … was broken"),
        ("validation", "", "", "", "Validation"),
        ("validation", "P42", "", "…", "Validation: P42"),
        ("mapping", "wrong_type", "age", "age: … is not an integer (expected: integer).", "age is not a whole number"),
        ("mapping", "out_of_range", "age", "age: … is less than … (expected: decimal).", "age is out of range"),
        ("mapping", "too_long", "name", "name: … has … characters; the field takes … (expected: string).", "name is too long"),
        ("missing_required", "X", "city", "whatever", "city is missing"),
        ("duplicate_key", "", "email", "Another contact already has …", "email is already used by another record"),
        ("reference_not_found", "", "account_id", "", "account_id points at a record that does not exist"),
        ("invalid_key", "doubled_key", "", "", "Several rows have the same key"),
        ("timeout", "", "", "read timed out after … s", "The destination did not answer in time"),
        ("unknown", "", "", "something odd happened.", "Something odd happened"),
        ("unknown", "", "total", "total must be a number", "total is not a number"),
    ],
)  # fmt: skip
def test_headline_examples(error_type: str, code: str, field: str, message: str, said: str) -> None:
    assert headline(error_type, code, field, message) == said


@example(ErrorType.VALIDATION, "\n", "", "")
@given(st.sampled_from(list(ErrorType)), st.text(max_size=20), st.text(max_size=300), st.text(max_size=400))
def test_a_headline_is_one_short_line_and_never_empty(kind: ErrorType, code: str, field: str, message: str) -> None:
    said = headline(kind, code, field, message)
    assert 0 < len(said) <= MAX_HEADLINE
    assert "\n" not in said
