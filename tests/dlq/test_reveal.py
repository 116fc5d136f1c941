"""Values of people on the pages: masked for everybody, shown once to who may see them and says why."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from dlq.choices import EventKind, RowState
from dlq.models import DLQEntry, DLQEvent, PayloadEdit
from dlq.services import sight
from dlq.services.comparison import compare
from dlq.services.live import Live
from dlq.services.sight import Sight
from syncs.errors import ErrorType
from syncs.models import FieldMapping, Step
from syncs.records import RowError
from tests.dlq.objects import client_of, make_entry, make_run
from tests.factories import World
from tests.syncs.objects import make_sync

PHONE, OLD_PHONE, EMAIL, NAME = "+49 171 5550123", "+49 30 9988776", "bo.berg@example.test", "Bodil Bergström"
SECRETS = (PHONE, OLD_PHONE, EMAIL, NAME, "5550123", "9988776", "bo.berg")
PAYLOAD = {"id": 7, "phone": PHONE, "contact": {"email": EMAIL, "full_name": NAME}, "plan": "gold"}
ROW = {"id": 7, "phone": PHONE, "email": EMAIL, "full_name": NAME, "plan": "gold"}
READ = ("view_dlqentry", "view_errorgroup")


def url(entry: DLQEntry, name: str = "change", *args: Any) -> str:
    return reverse(f"admin:dlq_dlqentry_{name}", args=(entry.pk, *args))


def entry_with_everything() -> DLQEntry:
    """Secrets in every place that a page shows."""
    run = make_run(make_sync())
    entry = make_entry(
        run, row_key="7", field="phone", payload=json.dumps(PAYLOAD), source_row=json.dumps(ROW), step_number=3,
        message=f"Property “phone” value “{PHONE}” of {NAME} is not valid",
        response_excerpt=json.dumps({"error": {"received": PHONE, "contact": EMAIL}}), request_id="req-7",
    )  # fmt: skip
    now = timezone.now()
    attempt = {
        "number": 1, "started_at": now.isoformat(), "row_count": 2, "http_status": 422, "milliseconds": 12,
        "request": f"POST https://crm.test/contacts?email={EMAIL}", "message": f"refused {PHONE}",
        "excerpt": json.dumps({"results": [{"phone": OLD_PHONE}, {"phone": PHONE}]})[:-9],
    }  # fmt: skip
    Step.objects.create(run=run, number=3, kind="upload", status="failed", started_at=now, row_count=2, attempts=[attempt])
    old = {"message": f"Property “phone” value “{OLD_PHONE}” is not valid", "step": 3}
    DLQEvent.objects.create(entry=entry, kind="failed", run=run, detail=old)
    DLQEvent.objects.create(entry=entry, kind="failed", run=run, detail={"message": entry.message[:300], "step": 3})
    told = {"edit": 1, "field_count": 2, "fields": [["phone", json.dumps(OLD_PHONE), json.dumps(PHONE)],
                                                   ["contact.email", None, json.dumps(EMAIL)]]}  # fmt: skip
    DLQEvent.objects.create(entry=entry, kind="edited", reason="VEND-1", detail=told)
    PayloadEdit.objects.create(
        entry=entry, before=entry.payload, payload=json.dumps(PAYLOAD | {"phone": OLD_PHONE, "plan": "silver"}),
        base_failed_at=entry.last_failed_at, reason="VEND-1",
    )  # fmt: skip
    return entry


def leaks(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text or json.dumps(secret)[1:-1] in text]


@pytest.mark.django_db
def test_no_page_shows_values_of_people() -> None:
    entry = entry_with_everything()
    client = client_of(*READ, "edit_dlqentry", "reveal_dlqentry", "annotate_dlqentry", "resend_dlqentry")
    addresses = [
        url(entry), f"{url(entry)}?live=1", url(entry, "row"), url(entry, "passport"), url(entry, "edit"),
        reverse("admin:dlq_dlqentry_changelist"), reverse("admin:dlq_errorgroup_change", args=(entry.group_id,)),
        reverse("admin:dlq_errorgroup_changelist"), *(url(entry, "text", part) for part in ("payload", "row", "response")),
    ]  # fmt: skip
    for address in addresses:
        answer = client.get(address)
        assert answer.status_code == 200, address
        assert leaks(answer.content.decode()) == [], address
    page = client.get(url(entry)).content.decode()
    for seen in ("+49*****23", "b***@e***.test", "gold", "silver", "is not valid", ">7<", "VEND-1", "req-7"):
        assert seen in page, seen
    assert "Values of people and secrets are masked" in page
    assert not DLQEvent.objects.filter(kind=EventKind.REVEALED).exists()


@pytest.mark.django_db
def test_revealing_shows_the_true_values_once_and_is_noted() -> None:
    entry = entry_with_everything()
    client = client_of(*READ, "reveal_dlqentry")
    before = entry.updated_at
    answer = client.post(url(entry, "reveal"), {"reason": "VEND-4711"})
    html = answer.content.decode()
    assert answer.status_code == 200
    for seen in (PHONE, OLD_PHONE, EMAIL, NAME):
        assert seen in html
    assert "no-store" in answer["Cache-Control"]
    assert f'data-url="{url(entry, "row")}"' not in html  # nothing loads masked values over them
    event = DLQEvent.objects.get(kind=EventKind.REVEALED)
    assert (event.entry_id, event.reason, event.door) == (entry.pk, "VEND-4711", "admin")
    assert event.actor is not None
    entry.refresh_from_db()
    assert entry.updated_at == before
    again = client.get(url(entry)).content.decode()
    assert leaks(again) == []
    assert "VEND-4711" in again
    assert set(answer.cookies) <= {"csrftoken"}


@pytest.mark.django_db
def test_revealing_needs_right_and_reason_and_no_link_does_it() -> None:
    entry = entry_with_everything()
    assert client_of(*READ, "edit_dlqentry").post(url(entry, "reveal"), {"reason": "x"}).status_code == 403
    client = client_of(*READ, "reveal_dlqentry")
    assert client.get(f"{url(entry, 'reveal')}?reason=x").status_code == 405
    assert leaks(client.get(f"{url(entry)}?reveal=1&reason=x").content.decode()) == []
    for reason in ("", "  ", "a\0b", "x" * 300):
        answer = client.post(url(entry, "reveal"), {"reason": reason}, follow=True)
        assert leaks(answer.content.decode()) == []
    assert not DLQEvent.objects.filter(kind=EventKind.REVEALED).exists()
    assert "Reveal values" in client.get(url(entry)).content.decode()
    assert "Reveal values" not in client_of(*READ).get(url(entry)).content.decode()


@pytest.mark.django_db
def test_what_holds_nothing_of_people_offers_no_reveal_and_opens_the_editor_at_once() -> None:
    text = '{ "id" : 7,  "price": 1.10 }'
    entry = make_entry(payload=text, source_row='{"id":7}', message="Property price is wrong", response_excerpt="no")
    client = client_of(*READ, "edit_dlqentry", "reveal_dlqentry")
    assert "Reveal values" not in client.get(url(entry)).content.decode()
    assert client.get(url(entry, "text", "payload")).content.decode() == text
    assert 'id="id_payload"' in client_of(*READ, "edit_dlqentry").get(url(entry, "edit")).content.decode()


@pytest.mark.django_db
def test_the_editor_opens_by_a_reveal_of_its_own() -> None:
    entry = entry_with_everything()
    PayloadEdit.objects.all().delete()
    assert client_of(*READ, "edit_dlqentry").get(url(entry, "edit")).status_code == 403
    client = client_of(*READ, "edit_dlqentry", "reveal_dlqentry")
    forged = {"payload": '{"id":7}', "reason": "x", "seen": entry.last_failed_at.isoformat()}
    for step in ("look", "keep", "send", "back"):  # the difference would show what was there before
        html = client.post(url(entry, "edit"), forged | {"step": step, "pass": "forged"}).content.decode()
        assert "Open the payload" in html
        assert leaks(html) == []
    assert "Give a reason" in client.post(url(entry, "edit"), {"step": "open", "reason": " "}).content.decode()
    assert not DLQEvent.objects.filter(kind=EventKind.REVEALED).exists()

    answer = client.post(url(entry, "edit"), {"step": "open", "reason": "VEND-9"})
    html = answer.content.decode()
    assert EMAIL in html
    assert 'value="VEND-9"' in html  # the reason is not asked for twice
    assert "no-store" in answer["Cache-Control"]
    event = DLQEvent.objects.get(kind=EventKind.REVEALED)
    assert (event.reason, event.detail) == ("VEND-9", {"purpose": "edit"})
    found = re.search(r'name="pass" value="([^"]+)"', html)
    assert found
    given = forged | {"pass": found.group(1), "payload": json.dumps(PAYLOAD | {"phone": "none"})}
    assert PHONE in client.post(url(entry, "edit"), given | {"step": "look"}).content.decode()
    other = client_of(*READ, "edit_dlqentry", "reveal_dlqentry")
    assert "Open the payload" in other.post(url(entry, "edit"), given | {"step": "look"}).content.decode()
    assert client.post(url(entry, "edit"), given | {"step": "keep"}).status_code == 302
    assert PayloadEdit.objects.get().reason == "x"
    assert DLQEvent.objects.filter(kind=EventKind.REVEALED).count() == 1
    assert leaks(client.get(url(entry)).content.decode()) == []


@pytest.mark.django_db(transaction=True)
def test_differences_stay_true_under_the_mask(tmp_path: Path) -> None:
    """Two values with one mask are still told apart; equal ones are still the same."""
    world = World(tmp_path, [(2, "Bo", -1)])
    FieldMapping.objects.filter(sync=world.sync, destination_field="name").update(destination_field="phone")
    world.destination.bad = {"2": RowError(ErrorType.VALIDATION, "wrong", field="phone")}
    world.sql("UPDATE people SET name = '+49 171 5550123'")
    world.run()
    entry = DLQEntry.objects.get()
    world.sql("UPDATE people SET name = '+49 172 7770123'")
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    html = client.get(url(entry, "row")).content.decode()
    assert "5550123" not in html
    assert "7770123" not in html
    assert html.count("+49*****23") >= 4
    assert "Changed since" in html
    assert "The row has changed since." in html
    assert DLQEntry.objects.get().row_state == RowState.UNKNOWN
    shown = client.post(url(entry, "reveal"), {"reason": "x"}).content.decode()
    assert "+49 171 5550123" in shown
    assert "+49 172 7770123" in shown


@pytest.mark.django_db
def test_house_that_shows_values_asks_for_no_reveal(settings: Any) -> None:
    settings.RETL = settings.RETL | {"MASK_PAGES": False}
    entry = entry_with_everything()
    client = client_of(*READ, "edit_dlqentry")
    html = client.get(url(entry)).content.decode()
    for seen in (PHONE, OLD_PHONE, EMAIL, NAME):
        assert seen in html
    assert "are masked" not in html
    assert client.get(url(entry, "text", "payload")).content.decode() == entry.payload
    assert 'id="id_payload"' in client.get(url(entry, "edit")).content.decode()
    assert PHONE in client.get(reverse("admin:dlq_dlqentry_changelist")).content.decode()


@pytest.mark.django_db
def test_message_of_a_row_that_was_not_kept_loses_what_it_quotes() -> None:
    entry = make_entry(payload="", source_row="", message="Value “Bodil” of 5550123 is wrong")
    client = client_of(*READ)
    for address in (url(entry), reverse("admin:dlq_dlqentry_changelist")):
        html = client.get(address).content.decode()
        assert "Bodil" not in html
        assert "5550123" not in html
        assert "is wrong" in html


@pytest.mark.django_db
def test_names_that_the_mask_changes_hide_the_whole_table() -> None:
    """A member named by an e-mail address is renamed by its mask, so that the mapping no longer finds it."""
    entry = make_entry(payload=json.dumps({EMAIL: "x1", "phone": PHONE}), source_row="{}")
    assert entry.version is not None
    entry.version.snapshot["mappings"] = [{"destination_field": f"{EMAIL}", "kind": "column", "column": "a"}]
    seen = Sight(entry, using=sight.masker())
    shown = seen.live(None)
    seen.close()
    found = compare(entry, None, shown=(seen.entry, shown()))
    texts = json.dumps([[row.sent, row.read] for row in found.fields])
    assert PHONE not in texts
    assert len(found.fields) == len(compare(entry).fields)


@pytest.mark.django_db
def test_a_megabyte_is_masked_in_bounded_time_and_the_copy_leaves_the_entry_alone() -> None:
    payload = json.dumps({f"phone_{n}": f"+49171{n:07d}" for n in range(30_000)})
    entry = make_entry(payload=payload, source_row=payload, message="Value +491710000001 is wrong")
    begun = timezone.now()
    seen = Sight(entry, using=sight.masker())
    live = seen.live(Live(begun, RowState.SAME, payload, payload))
    seen.close()
    assert timezone.now() - begun < timedelta(seconds=20)
    assert entry.payload == payload
    found = live()
    assert found is not None
    for text in (seen.entry.payload, seen.entry.source_row, found.row, found.payload, seen.entry.message):
        assert "+491710000001" not in text
