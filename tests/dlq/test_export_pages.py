"""Pages of exports: the choices, the progress, the download, and who may."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from dlq.choices import Door, ExportStatus
from dlq.models import DLQEntry, DLQEvent, Export
from dlq.services import exports, snapshots
from dlq.services.entry_filter import EntryFilter
from dlq.services.snapshots import BulkKind
from tests.dlq.objects import logged_in, make_entries, make_group, make_run, make_user
from tests.syncs.objects import make_sync

MAY = ("view_dlqentry", "export_dlqentry", "view_export")


@pytest.fixture(autouse=True)
def small(settings: Any, tmp_path: Path, db: None) -> None:
    settings.RETL = {**settings.RETL, "EXPORT_DIR": str(tmp_path / "exports"), "EXPORT_STREAM_ROWS": 5}


def entries(count: int) -> None:
    run = make_run(make_sync())
    make_entries(count, run, make_group(run.sync), message="=1+1 person1@example.test")


def confirmed(client: Client, **choices: Any) -> Any:
    """The answer to the confirmation of everything that is open."""
    page = client.post(reverse("admin:dlq_dlqentry_bulk"), {"act": "export", "filter": "status=open", "across": "1"})
    assert page.status_code == 200
    token = page.context["token"]
    return client.post(reverse("admin:dlq_dlqentry_perform", args=("export",)), {"token": token, "format": "csv", **choices})


def made_by(user: User, **values: Any) -> Export:
    snapshot = snapshots.take(BulkKind.EXPORT, EntryFilter(), user=user)
    made = exports.create(snapshot, format="csv", by=user, door=Door.ADMIN, **values)
    exports.work(made.pk)
    made.refresh_from_db()
    return made


def body(answer: Any) -> bytes:
    """Read to its end, which closes the file."""
    return b"".join(answer.streaming_content)


def test_confirmation_offers_masked_values_only_without_the_permission() -> None:
    entries(3)
    form = {"act": "export", "filter": "status=open", "across": "1"}
    page = logged_in(make_user(*MAY)).post(reverse("admin:dlq_dlqentry_bulk"), form).content.decode()
    assert 'name="raw"' not in page
    assert 'value="xlsx"' in page
    assert "masked" in page
    raw = logged_in(make_user(*MAY, "exportraw_dlqentry")).post(reverse("admin:dlq_dlqentry_bulk"), form).content.decode()
    assert 'name="raw"' in raw


def test_few_are_downloaded_at_once_with_the_chosen_columns() -> None:
    entries(5)
    answer = confirmed(logged_in(make_user(*MAY)), column=["id", "message", "payload"], flat="1", reason="T-1")
    assert answer.status_code == 200
    assert answer["Content-Disposition"].startswith('attachment; filename="dead-letters-')
    assert "no-store" in answer["Cache-Control"]
    assert answer["X-Content-Type-Options"] == "nosniff"
    rows = list(csv.DictReader(io.StringIO(body(answer).decode(), newline="")))
    assert list(rows[0]) == ["id", "message", "payload.id", "payload.email", "payload_rest"]
    assert rows[0]["message"] == "'=1+1 p***@e***.test"
    assert rows[0]["payload.email"] == "p***@e***.test"
    assert DLQEvent.objects.filter(kind="exported", reason="T-1").count() == 5


def test_many_lead_to_the_page_of_the_export() -> None:
    entries(8)
    user = make_user(*MAY)
    client = logged_in(user)
    answer = confirmed(client)
    made = Export.objects.get()
    assert answer.url == reverse("admin:dlq_export_change", args=(made.pk,))
    page = client.get(answer.url).content.decode()
    assert "It waits for a worker" in page
    progress = client.get(reverse("admin:dlq_export_progress", args=(made.pk,))).json()
    assert progress["is_active"]
    assert client.get(reverse("admin:dlq_export_file", args=(made.pk,)), follow=True).redirect_chain
    exports.work(made.pk)
    page = client.get(answer.url).content.decode()
    made.refresh_from_db()
    assert made.sha256 in page
    answer = client.get(reverse("admin:dlq_export_file", args=(made.pk,)))
    assert "no-store" in answer["Cache-Control"]
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert "attachment" in answer["Content-Disposition"]
    raw = body(answer)
    assert len(raw) == made.byte_count
    assert b"@example.test" not in raw


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"format": "pdf"}, "Choose a file format"),
        ({"column": ["nope"]}, "is no column"),
        ({"raw": "1"}, "masked values only"),
        ({"reason": "\0"}, "NUL"),
    ],
)
def test_bad_choice_shows_the_form_again(choices: dict[str, Any], said: str) -> None:
    entries(3)
    answer = confirmed(logged_in(make_user(*MAY)), **choices)
    assert answer.status_code == 400
    assert said in answer.content.decode()
    assert not DLQEvent.objects.exists()


def test_unmasked_asks_for_a_reason_and_keeps_the_choices() -> None:
    entries(3)
    client = logged_in(make_user(*MAY, "exportraw_dlqentry"))
    answer = confirmed(client, raw="1", format="jsonl", column=["message"])
    assert answer.status_code == 400
    page = answer.content.decode()
    assert "Give a reason" in page
    assert 'name="raw" value="1" checked' in page
    assert 'value="jsonl" checked' in page
    assert b"person1@example.test" in body(confirmed(client, raw="1", reason="asked for"))


def test_exports_are_their_owners_alone() -> None:
    entries(3)
    made = made_by(make_user(*MAY))
    other = logged_in(make_user(*MAY))
    for name in ("change", "progress", "file"):
        assert other.get(reverse(f"admin:dlq_export_{name}", args=(made.pk,))).status_code == 404
    for act in ("cancel", "delete"):
        assert other.post(reverse("admin:dlq_export_act", args=(made.pk, act))).status_code == 404
    assert f"/{made.pk}/" not in other.get(reverse("admin:dlq_export_changelist")).content.decode()
    root = logged_in(User.objects.create_superuser("root"))
    assert root.get(reverse("admin:dlq_export_change", args=(made.pk,))).status_code == 200
    assert body(root.get(reverse("admin:dlq_export_file", args=(made.pk,))))


def test_owner_who_may_no_longer_export_gets_no_file() -> None:
    entries(3)
    user = make_user(*MAY)
    made = made_by(user)
    user.user_permissions.remove(user.user_permissions.get(codename="export_dlqentry"))
    client = logged_in(User.objects.get(pk=user.pk))
    assert client.get(reverse("admin:dlq_export_file", args=(made.pk,))).status_code == 403


def test_unmasked_file_asks_for_the_permission_again() -> None:
    entries(3)
    user = make_user(*MAY, "exportraw_dlqentry")
    made = made_by(user, is_raw=True, reason="r")
    user.user_permissions.remove(user.user_permissions.get(codename="exportraw_dlqentry"))
    client = logged_in(User.objects.get(pk=user.pk))
    assert client.get(reverse("admin:dlq_export_file", args=(made.pk,))).status_code == 403


def test_expired_file_is_not_offered_and_says_why() -> None:
    entries(3)
    user = make_user(*MAY)
    made = made_by(user)
    Export.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    exports.look_after()
    client = logged_in(user)
    url = reverse("admin:dlq_export_file", args=(made.pk,))
    assert "The file is deleted" in client.get(url, follow=True).content.decode()
    assert url not in client.get(reverse("admin:dlq_export_changelist")).content.decode()


def test_missing_file_is_said_not_raised(tmp_path: Path) -> None:
    entries(3)
    user = make_user(*MAY)
    made = made_by(user)
    (tmp_path / "exports" / made.file_name).unlink()
    client = logged_in(user)
    page = client.get(reverse("admin:dlq_export_change", args=(made.pk,))).content.decode()
    assert "The file is gone" in page
    said = client.get(reverse("admin:dlq_export_file", args=(made.pk,)), follow=True).content.decode()
    assert "not in the export folder any more" in said


def test_cancel_and_delete_change_state_by_post_only() -> None:
    entries(3)
    user = make_user(*MAY)
    made = made_by(user)
    client = logged_in(user)
    url = reverse("admin:dlq_export_act", args=(made.pk, "delete"))
    assert client.get(url).status_code == 405
    assert "The file is deleted" in client.post(url, follow=True).content.decode()
    assert "over already" in client.post(url, follow=True).content.decode()
    assert client.post(reverse("admin:dlq_export_act", args=(made.pk, "explode"))).status_code == 404
    made.refresh_from_db()
    assert made.status == ExportStatus.EXPIRED


def test_failed_export_says_why_and_hostile_reason_is_harmless() -> None:
    entries(3)
    user = make_user(*MAY)
    made = made_by(user, reason="<script>alert(1)</script>\u202e")
    Export.objects.update(status=ExportStatus.FAILED, message="The disk is <b>full</b>")
    page = logged_in(user).get(reverse("admin:dlq_export_change", args=(made.pk,))).content.decode()
    assert "<script>alert" not in page
    assert "<b>full" not in page
    assert "⟨U+202E⟩" in page


def test_list_pages_by_position() -> None:
    user = make_user(*MAY)
    values = {"format": "csv", "max_id": 1, "as_of": timezone.now(), "expected_count": 1, "created_by": user}
    Export.objects.bulk_create(Export(**values, token_digest=str(number)) for number in range(60))
    client = logged_in(user)
    first = client.get(reverse("admin:dlq_export_changelist"))
    assert len(first.context["rows"]) == 50
    second = client.get(reverse("admin:dlq_export_changelist"), {"after": first.context["older"]})
    assert len(second.context["rows"]) == 10
    assert client.get(reverse("admin:dlq_export_changelist"), {"after": "x"}).status_code == 400


def test_pages_cost_few_queries(django_assert_max_num_queries: Any) -> None:
    entries(3)
    user = make_user(*MAY)
    made = made_by(user)
    client = logged_in(user)
    for name, args in (("changelist", ()), ("change", (made.pk,)), ("progress", (made.pk,))):
        with django_assert_max_num_queries(12):
            client.get(reverse(f"admin:dlq_export_{name}", args=args))
    with django_assert_max_num_queries(12):
        client.post(reverse("admin:dlq_dlqentry_bulk"), {"act": "export", "filter": "status=open", "across": "1"})


def test_nobody_without_the_permission_sees_exports() -> None:
    entries(3)
    made = made_by(make_user(*MAY))
    client = logged_in(make_user("view_dlqentry"))
    assert client.get(reverse("admin:dlq_export_changelist")).status_code == 403
    assert client.get(reverse("admin:dlq_export_file", args=(made.pk,))).status_code == 403
    form = {"act": "export", "filter": "status=open", "across": "1"}
    assert client.post(reverse("admin:dlq_dlqentry_bulk"), form).status_code == 403
    assert DLQEntry.objects.count() == 3
