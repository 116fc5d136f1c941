"""Messages of real systems that must, and must not, fall together."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlq.fingerprint import MAX_TITLE, fingerprint, masked

TITLES: list[tuple[str, str]] = [
    ("Property “+49-abc” is not a valid phone number", "Property … is not a valid phone number"),
    ('Property "555" is not a valid phone number', "Property … is not a valid phone number"),
    ("Column population: “12,5” is not an integer (expected: integer).",
     "Column population: … is not an integer (expected: integer)."),
    ("Contact already exists. Existing ID: 12345", "Contact already exists. Existing ID: …"),
    ("No such customer: 'cus_9s6XKzkNRiz8i3'", "No such customer: …"),
    ("No such customer: cus_9s6XKzkNRiz8i3", "No such customer: …"),
    ("entity is deleted: 0035g00000XyZAbAAN", "entity is deleted: …"),
    ("Email address jane.doe+x@example.co.uk is already in use", "Email address … is already in use"),
    ("duplicate value found: Email__c duplicates value on record with id: 0035g00000XyZAb",
     "duplicate value found: Email__c duplicates value on record with id: …"),
    ('duplicate key value violates unique constraint "contacts_email_key" Key (email)=(a@b.example) already exists.',
     'duplicate key value violates unique constraint "contacts_email_key" Key (email)=… already exists.'),
    ('null value in column "email" of relation "contacts" violates not-null constraint Failing row contains (17, null, Ann).',
     'null value in column "email" of relation "contacts" violates not-null constraint Failing row contains …'),
    ("UNIQUE constraint failed: contacts.email", "UNIQUE constraint failed: contacts.email"),
    ("value too long for type character varying(10)", "value too long for type character varying(…)"),
    ('invalid input syntax for type integer: "12a"', "invalid input syntax for type integer: …"),
    ("timeout after 30.5 s at 2026-10-01T12:00:00Z", "timeout after … s at …"),
    ("request 7f9c24e8-3b1a-4c6f-9a52-0c8e3fd1b2aa failed", "request … failed"),
    ("see https://api.example.com/v3/contacts/51?hapikey=abc&x=1.", "see https://api.example.com/v3/contacts/…?…."),
    ("object 0xdeadbeef at 10.0.0.12:8443", "object … at …"),
    ("It isn't valid: 'abc' doesn't exist", "It isn't valid: … doesn't exist"),
    ("Ticket SUP-4711 is closed", "Ticket … is closed"),
    ("Amount 1,234.50 exceeds 99%", "Amount … exceeds …"),
    ("Values [1, 2, 3] and (“a”, “b”) are wrong", "Values … and … are wrong"),
    ("address1 is required", "address1 is required"),
    ("oauth2 scope crm.objects.contacts.write is missing", "oauth2 scope crm.objects.contacts.write is missing"),
    ("STRING_TOO_LONG: First Name: data value too large", "STRING_TOO_LONG: First Name: data value too large"),
    ("", ""),
]  # fmt: skip


@pytest.mark.parametrize("message, title", TITLES)
def test_title_keeps_the_words_and_masks_the_values(message: str, title: str) -> None:
    assert masked(message) == title


TOGETHER: list[tuple[str, str]] = [
    ("Property “+49-abc” is not a valid phone number", "Property “call me” is not a valid phone number"),
    ("Contact already exists. Existing ID: 12345", "Contact already exists. Existing ID: 7"),
    ("Email a@b.example is invalid", "Email   zoe.x@long.example.org is invalid"),
    ('Key (email)=(a) already exists.', 'Key (email)=(b (c) d) already exists.'),
    ("The value 'it' is bad", "The value 'that’s all' is bad"),
    ("Row 17: bad date 2026-01-31", "Row 9000: bad date 2025-12-01"),
    ("GET https://x.example/a/1?t=2 failed", "GET https://x.example/a/2?t=3&u=4 failed"),
    ('{"id": "abc", "error": 5}', '{"id": "def, g", "error": 12}'),
    ("value \"unterminated and long", "value \"another one that was cut"),
    ("INVALID_EMAIL_ADDRESS: Email: invalid email address: joe@", "invalid_email_address: email: invalid email address: joe@"),
]  # fmt: skip


@pytest.mark.parametrize("one, other", TOGETHER)
def test_same_cause_has_the_same_fingerprint(one: str, other: str) -> None:
    assert fingerprint("validation", "X", "f", one) == fingerprint("validation", "X", "f", other)


APART: list[tuple[tuple[str, str, str, str], tuple[str, str, str, str]]] = [
    (("validation", "", "", "bad"), ("mapping", "", "", "bad")),
    (("validation", "22001", "", "bad"), ("validation", "22003", "", "bad")),
    (("validation", "", "email", "“x” is bad"), ("validation", "", "phone", "“x” is bad")),
    (("v", "", "", "UNIQUE constraint failed: contacts.email"), ("v", "", "", "UNIQUE constraint failed: contacts.phone")),
    (("v", "", "", 'null value in column "email"'), ("v", "", "", 'null value in column "phone"')),
    (("v", "", "", 'violates unique constraint "a_key"'), ("v", "", "", 'violates unique constraint "b_key"')),
    (("v", "", "", "Column age: “x” is not an integer"), ("v", "", "", "Column size: “x” is not an integer")),
    (("v", "", "", "is not a valid phone number"), ("v", "", "", "is not a valid email")),
    (("v", "", "", "address1 is required"), ("v", "", "", "address2 is required")),
    (("v", "ab", "c", "d"), ("v", "a", "bc", "d")),
]  # fmt: skip


@pytest.mark.parametrize("one, other", APART)
def test_another_cause_has_another_fingerprint(one: tuple[str, str, str, str], other: tuple[str, str, str, str]) -> None:
    assert fingerprint(*one) != fingerprint(*other)


@pytest.mark.parametrize("one, other", [
    ("contacts[17].email", "contacts[3].email"),
    ("records.3.email", "records.12.email"),
    ("0.email", "41.email"),
])  # fmt: skip
def test_list_positions_in_the_field_do_not_count(one: str, other: str) -> None:
    assert fingerprint("v", "", one, "m") == fingerprint("v", "", other, "m")


@pytest.mark.parametrize(
    "filler", ["x", "'", '"', "a@", "0", "1-", "https://a/", "“", "\\", "a1", "(", "[1,", "Key (", "…", " "]
)
def test_megabyte_message_is_cheap(filler: str) -> None:
    message = (filler * (1_000_000 // len(filler) + 1))[:1_000_000]
    started = time.process_time()
    for _ in range(10):
        masked(message)
    assert (time.process_time() - started) / 10 < 0.05


@given(st.text(), st.text(), st.text())
def test_any_text_has_a_fingerprint(code: str, field: str, message: str) -> None:
    result = fingerprint("unknown", code, field, message)
    assert len(result) == 32
    assert int(result, 16) >= 0
    assert len(masked(message)) <= MAX_TITLE


@pytest.mark.parametrize("title", [title for _, title in TITLES])
def test_title_masks_to_itself(title: str) -> None:
    assert masked(title) == title


def test_lone_surrogates_and_nul_do_no_harm() -> None:
    assert fingerprint("unknown", "", "\ud800", "a\x00b\ud800") == fingerprint("unknown", "", "\ud800", "ab\ud800")


def test_fingerprint_is_stable_across_releases() -> None:
    assert fingerprint("validation", "E1", "email", "“x” is not an email") == "8ad61863af1fb74648d37c18714ef5e2"
