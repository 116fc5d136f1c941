"""What is hidden, and what is not."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import Any

import pytest
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from dlq.services import documents, masking
from dlq.services.masking import mask_entry, mask_text
from dlq.services.masking_rules import Names, shape, words

PAYLOAD = {
    "Email": "jane.doe@example.com",
    "firstName": "Jane",
    "contact": {"mobile_phone": "+49 170 1234567", "name": {"last": "Döhring"}},
    "company": "Janeiro Inc.",
    "amount": 12.5,
    "iban": "DE89370400440532013000",
    "api_token": "tok_123456",
    "zip_code": "12345",
    "shipping_method": "post",
    "description": "A ship for Mr D",
    "email_opt_in": True,
    "properties": [{"property": "phone", "value": "0301234567"}, {"property": "size", "value": "L"}],
}


def masked(payload: Any, **texts: str) -> dict[str, Any]:
    found = mask_entry({"payload": json.dumps(payload), **texts})
    return {**found, "payload": json.loads(found["payload"])}


@pytest.mark.parametrize(
    ("name", "is_hidden"),
    [
        ("email", True), ("EMAIL", True), ("E-Mail", True), ("workEmailAddress", True), ("emailaddress", True),
        ("FirstName", True), ("contact_first_name", True), ("firstname", True), ("first", False), ("name", False),
        ("ip", True), ("IPAddress", True), ("client_ip", True), ("zip", True), ("shipping", False), ("description", False),
        ("trip", False), ("dob", True), ("birth_date", True), ("SSN", True), ("cardNumber", True), ("discard", False),
        ("company", False), ("id", False), ("", False), ("homephone2", True), ("BILLING_STREET", True),
    ],
)  # fmt: skip
def test_names_of_fields_decide(name: str, is_hidden: bool) -> None:
    assert masking.masker().names.hides(name) is is_hidden


def test_words_of_a_name() -> None:
    assert words("billingStreet_2") == ("billing", "street", "2")
    assert words("IPAddress") == ("ip", "address")
    assert words("Straße-Nr") == ("stra", "ß", "e", "nr")


def test_pattern_with_an_equals_sign_wants_the_whole_name() -> None:
    names = Names(["=name"])
    assert names.hides("Name")
    assert not names.hides("company_name")


@pytest.mark.parametrize(
    ("value", "mask"),
    [
        ("jane@example.com", "j***@e***.com"), ("+49 170 1234567", "+49*****67"), ("0301234567", "*****67"),
        ("DE89370400440532013000", "DE*****00"), ("Jane", "***"), ("=cmd@x.y", "***@x***.y"), ("\u202ea@b.c", "***@b***.c"),
        ("a@localhost", "a***@l***"), ("x" * 1_000_000, "***"), ("\0", "***"),
    ],
)  # fmt: skip
def test_shape_of_a_mask(value: str, mask: str) -> None:
    assert shape(value) == mask
    assert "***" in mask


def test_payload_is_masked_at_any_depth() -> None:
    found = masked(PAYLOAD)["payload"]
    assert found == {
        **PAYLOAD,
        "Email": "j***@e***.com",
        "firstName": "***",
        "contact": {"mobile_phone": "+49*****67", "name": {"last": "***"}},
        "iban": "DE*****00",
        "api_token": "***",
        "zip_code": "***",
        "properties": [{"property": "phone", "value": "*****67"}, {"property": "size", "value": "L"}],
    }


def test_values_are_masked_wherever_they_occur_in_the_entry() -> None:
    found = masked(
        PAYLOAD,
        source_row=json.dumps({"ID": "JANE.DOE@example.com", "N": "Jane", "T": 301234567, "C": "Janeiro Inc."}),
        message="Jane D\u00f6hring <jane.doe@EXAMPLE.com> at Janeiro Inc. has 01701234567 already, not +491701234567.",
        response_excerpt='{"message": "D\\u00f6hring: DE89 3704 0044 0532 0130 00 or jane.doe%40example.com&x=tok_123456"}',
        row_key="jane.doe@example.com",
        request_id="other@person.org",
    )
    assert json.loads(found["source_row"]) == {"ID": "j***@e***.com", "N": "***", "T": "*****67", "C": "Janeiro Inc."}
    assert found["message"] == "*** *** <j***@e***.com> at Janeiro Inc. has +49*****67 already, not +49*****67."
    assert found["response_excerpt"] == '{"message": "***: DE*****00 or j***@e***.com&x=***"}'
    assert found["row_key"] == "j***@e***.com"
    assert found["request_id"] == "o***@p***.org"


def test_equal_values_have_equal_masks() -> None:
    one = mask_entry({"payload": '{"email":"a@b.de"}'})
    other = mask_entry({"payload": '{"mail":{"Email":"a@b.de"}}', "message": "a@b.de"})
    assert "a***@b***.de" in one["payload"]
    assert "a***@b***.de" in other["payload"]
    assert other["message"] == "a***@b***.de"


def test_numbers_stay_exact_and_hidden_numbers_become_masks() -> None:
    payload = '{"price": 1.10, "big": 123456789012345678901234567890, "ssn": 123456789, "n": null, "email": "", "phone": null}'
    found = mask_entry({"payload": payload, "message": "123456789 is taken"})
    assert '"price":1.10,"big":123456789012345678901234567890,"ssn":"***","n":null,"email":"","phone":null' in found["payload"]
    assert found["message"] == "*** is taken"


def test_lone_surrogates_and_nul_survive() -> None:
    payload = '{"note": "a\\ud800b\\u0000c", "email": "x\\ud800@y.com"}'
    found = json.loads(mask_entry({"payload": payload})["payload"])
    assert found == {"note": "a\ud800b\0c", "email": "x***@y***.com"}


@pytest.mark.parametrize("text", ["no json a@b.de", '{"email": "a@b.de"', "[" * 5000 + "]" * 5000, '{"email": "a@b.de"} x'])
def test_document_that_cannot_be_read_is_hidden_as_a_whole(text: str) -> None:
    found = json.loads(mask_entry({"payload": text})["payload"])
    assert found == f"*** ({len(text):,} characters that cannot be read as JSON)"


def test_deep_document_is_masked_or_hidden() -> None:
    text = '{"a":' * 900 + '{"email":"jane@example.com"}' + "}" * 900
    assert "jane" not in mask_entry({"payload": text})["payload"]


def test_members_named_by_addresses_are_renamed_and_none_is_lost() -> None:
    found = masked({"by": {"jane@example.com": 1, "john@example.com": 2}})["payload"]
    assert found == {"by": {"j***@e***.com": 1, "j***@e***.com (2)": 2}}


def test_cut_value_is_hidden_in_a_text() -> None:
    street = "Karl-Marx-Allee 1, Hinterhaus, dritter Stock links, bei Familie Schmidt klingeln, 10178 Berlin"
    found = masked({"street": street}, message=f"“{street[:80]}…” is too long; {street} too; Karl-Marx-Allee 2 not")
    assert found["message"] == "“***…” is too long; *** too; Karl-Marx-Allee 2 not"


def test_short_values_are_hidden_only_by_themselves() -> None:
    found = masked({"first_name": "Al", "last_name": "X"}, message='Al also said "al", X.')
    assert found["message"] == '*** also said "***", X.'


def test_many_values_hide_the_texts_as_a_whole() -> None:
    found = masked({f"email{n}": f"a{n}@b.de" for n in range(400)}, message="hello")
    assert found["message"] == "*** (5 characters)"


def test_free_text_hides_addresses_cards_and_accounts() -> None:
    said = mask_text("4111 1111 1111 1111, 4111111111111112, GB82 WEST 1234 5698 7654 32, j@x.org, 2026-11-23T10:00:00")
    assert said == "*****1111, 4111111111111112, GB*****32, j***@x***.org, 2026-11-23T10:00:00"


@pytest.mark.parametrize(
    "payload",
    [
        json.dumps({"email": "a" * 1_000_000, "note": "b" * 1_000_000}),
        json.dumps({f"phone{n}": f"030{n:07}" for n in range(20_000)}),
        json.dumps({"note": "@" * 300_000}),
        json.dumps({"note": "a@" * 200_000}),
        json.dumps([{"email": f"p{n}@x.de"} for n in range(20_000)]),
    ],
    ids=["long", "many", "ats", "pairs", "list"],
)
def test_cost_is_bounded(payload: str) -> None:
    began = time.process_time()
    mask_entry({"payload": payload, "source_row": payload, "message": "1" * 90_000, "note": "a." * 40_000 + "@"})
    assert time.process_time() - began < 4


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)


@given(json_values)
def test_document_without_hidden_names_stays_as_it_is(value: Any) -> None:
    text = json.dumps(value)
    with override_settings(RETL={"MASKED_FIELDS": ()}):
        found = mask_entry({"payload": text})["payload"]
    if "@" not in text and "%40" not in text:
        assert json.loads(found, parse_float=Decimal) == json.loads(text, parse_float=Decimal)


@given(st.dictionaries(st.text(max_size=8), json_values, max_size=5), st.text())
def test_hidden_value_never_survives(other: dict[str, Any], message: str) -> None:
    secret = "Zq7x-ß-canary"
    text = json.dumps({**other, "password": secret, "copy": f"<{secret}>"})
    found = mask_entry({"payload": text, "message": f"{message}{secret}{message}"})
    assert "canary" not in found["payload"]
    assert "canary" not in found["message"]


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_path_of_names_is_reversible(names: list[str]) -> None:
    path = ""
    for name in names:
        path = documents.join(path, name) if path else documents.join("", name)
    if all(names):
        assert documents.split(path) == names
