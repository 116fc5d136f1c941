"""Corrections of payloads: what may be typed, what is kept, what is refused, when they are out of date."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from dlq.choices import Door, EditState, EntryStatus, EventKind
from dlq.models import DLQEntry, PayloadEdit
from dlq.services import edits, payloads
from dlq.services.moves import ActRefusedError
from syncs.models import DeliveredRow
from tests.dlq.objects import make_entry, make_user

STORED = '{"email":"bo@x","id":7,"price":1.10,"tags":["a"],"address":{"city":"Ulm"}}'


def correct(entry: DLQEntry, text: str | None = None, **values: Any) -> PayloadEdit:
    text = text if text is not None else entry.payload.replace("bo@x", "bo@x.test")
    given = {"reason": "VEND-1", "by": None, "door": Door.ADMIN, "seen_failed_at": entry.last_failed_at} | values
    return edits.save(entry, text=text, **given)


# --- what is typed


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "This is not JSON"),
        ('{"a": 1,\n "b" 2}', "line 2, column 6"),
        ("[1]", "JSON object"),
        ("null", "JSON object"),
        ('{"a": 1, "a": 2}', "Field a is there twice"),
        ('{"a": {"b": 1, "b": 2}}', "Field b is there twice"),
        ('{"a": NaN}', "NaN is not JSON"),
        ('{"a": -Infinity}', "-Infinity is not JSON"),
        ('{"a": "x\\u0000"}', "Field a contains a NUL character"),
        ('{"a": ["\\ud800"]}', "Field a contains the lone surrogate U+D800"),
        ('{"\\u0000": 1}', "Field \\x00 contains a NUL character"),
        ('{"a": 1e999999999}', "Field a has more than 400 digits"),
        ('{"a": 1e-999999999}', "Field a has more than 400 digits"),
        ('{"a": ' + "9" * 5000 + "}", "cannot be read"),
        ('{"a": ' + "9" * 2000 + "}", "Field a has more than 400 digits"),
        ('{"a": ' + "[" * 70 + "]" * 70 + "}", "Field a is nested deeper than 64 levels"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "too deeply"),
        ('{"a": "' + "x" * 2_000_000 + '"}', "2,000,000 is the most"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_its_place(text: str, said: str) -> None:
    with pytest.raises(ActRefusedError) as refusal:
        payloads.parsed(text)
    assert said in str(refusal.value)
    assert refusal.value.field == "payload"
    assert len(str(refusal.value)) < 300


def test_a_payload_over_the_limit_is_refused_whatever_its_spelling() -> None:
    with pytest.raises(ActRefusedError, match="1,000,000 is the most"):
        payloads.body_of(payloads.parsed(json.dumps({"a": "ü" * 500_001}, ensure_ascii=False)))


def test_numbers_and_hidden_characters_survive_the_editor_exactly() -> None:
    stored = '{"a":1.10,"b":12345678901234567890.123456789012345678901,"c":"x\u202ey\u00a0z","d":"\U0001f600","e":[],"f":{}}'
    shown = edits.pretty(stored)
    assert "1.10" in shown
    assert "12345678901234567890.123456789012345678901" in shown
    assert "\\u202e" in shown
    assert "\u202e" not in shown
    assert payloads.body_of(payloads.parsed(shown)) == stored
    assert edits.diff(stored, payloads.body_of(payloads.parsed(shown))) == []


def test_what_cannot_be_laid_out_is_shown_as_it_is() -> None:
    deep = "[" * 50_000 + "]" * 50_000
    for text in (deep, "not json"):
        assert edits.pretty(text) == text
        assert edits.diff(text, text) == []
    assert edits.pretty("") == "{}"


def test_the_difference_names_each_field_with_both_values() -> None:
    found = edits.diff(STORED, '{"id":7,"price":1.1,"tags":["a","b"],"address":{"city":null},"email":"bo@x","new":1}')
    assert [(one.field, one.before, one.after, one.kind) for one in found] == [
        ("address.city", '"Ulm"', "null", "changed"),
        ("new", None, "1", "added"),
        ("price", "1.10", "1.1", "changed"),
        ("tags", '["a"]', '["a","b"]', "changed"),
    ]


# --- what is kept


@pytest.mark.django_db
def test_a_correction_is_kept_with_its_reason_and_told_in_the_history() -> None:
    entry = make_entry(payload=STORED)
    user = make_user("edit_dlqentry", name="eve")
    edit = correct(entry, by=user)
    assert edits.ready(entry) == edit
    assert json.loads(edit.payload)["email"] == "bo@x.test"
    assert '"price":1.10' in edit.payload
    assert edit.before == STORED
    event = entry.events.get()
    assert (event.kind, event.actor, event.reason, event.door) == (EventKind.EDITED, user, "VEND-1", Door.ADMIN)
    assert event.detail == {"edit": edit.pk, "field_count": 1, "fields": [["email", '"bo@x"', '"bo@x.test"']]}


@pytest.mark.django_db
def test_a_newer_correction_replaces_the_one_that_waits() -> None:
    entry = make_entry(payload=STORED)
    first, second = correct(entry), correct(entry, STORED.replace("Ulm", "Bonn"))
    first.refresh_from_db()
    assert (first.state, edits.ready(entry)) == (EditState.DROPPED, second)
    assert edits.withdraw(entry, by=None, door=Door.ADMIN)
    assert edits.ready(entry) is None
    assert not edits.withdraw(entry, by=None, door=Door.ADMIN)
    assert entry.events.latest("pk").detail == {"withdrawn": second.pk}


@pytest.mark.django_db
@pytest.mark.parametrize("reason", ["", "   ", "x" * 256, "a\0b"])
def test_a_correction_needs_a_reason(reason: str) -> None:
    with pytest.raises(ActRefusedError) as refusal:
        correct(make_entry(payload=STORED), reason=reason)
    assert refusal.value.field == "reason"
    assert not PayloadEdit.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (STORED, "Nothing is changed"),
        (json.dumps(json.loads(STORED), indent=4).replace("1.1", "1.10"), "Nothing is changed"),
        (STORED.replace('"id":7', '"id":8'), "id is the key"),
        (STORED.replace('"id":7', '"id":"7"'), "id is the key"),
        (STORED.replace('"id":7,', ""), "id is the key"),
        (STORED.replace('"id":7', '"id":true'), "id is the key"),
    ],
)
def test_a_correction_changes_something_but_never_the_key(text: str, said: str) -> None:
    with pytest.raises(ActRefusedError, match=said):
        correct(make_entry(payload=STORED), text)


@pytest.mark.django_db
def test_what_was_never_sent_has_no_payload_to_correct() -> None:
    with pytest.raises(ActRefusedError, match="Nothing was sent of this row"):
        correct(make_entry(payload=""), '{"id": 1}')


@pytest.mark.django_db
@pytest.mark.parametrize("status", [status for status in EntryStatus if status != EntryStatus.OPEN])
def test_only_an_open_one_is_corrected(status: EntryStatus) -> None:
    entry = make_entry(payload=STORED, status=status, closed_at=None if status in ("queued", "inflight") else timezone.now())
    with pytest.raises(ActRefusedError, match="not open any more"):
        correct(entry)
    assert not PayloadEdit.objects.exists()
    assert not entry.events.exists()


@pytest.mark.django_db
def test_a_correction_is_for_the_failure_that_was_looked_at() -> None:
    entry = make_entry(payload=STORED)
    seen = entry.last_failed_at
    edit = correct(entry)
    DLQEntry.objects.update(last_failed_at=seen + timedelta(seconds=1))
    entry.refresh_from_db()
    assert edits.ready(entry) is None
    assert edits.standing(entry) == edit
    assert not DLQEntry.objects.filter(edits.has_ready()).exists()
    with pytest.raises(ActRefusedError, match="failed again since"):
        correct(entry, STORED.replace("Ulm", "Bonn"), seen_failed_at=seen)


@pytest.mark.django_db
def test_no_correction_of_what_newer_data_has_overtaken() -> None:
    entry = make_entry(payload=STORED)
    DeliveredRow.objects.create(
        sync=entry.sync, row_key=entry.row_key, payload_hash=1, run_id=entry.run_id,
        accepted_at=entry.last_failed_at + timedelta(seconds=1),
    )  # fmt: skip
    with pytest.raises(ActRefusedError, match="newer version of the row has been delivered"):
        correct(entry)


@pytest.mark.django_db
def test_hostile_stored_values_are_kept_in_the_history_without_harm() -> None:
    entry = make_entry(payload='{"id":7,"email":"a\\u0000b\\ud800' + "x" * 5_000 + '"}')
    correct(entry, '{"id":7,"email":"fine"}')
    (field,) = entry.events.get().detail["fields"]
    assert field[0] == "email"
    assert "\\u0000" in field[1]
    assert len(field[1]) <= 210
