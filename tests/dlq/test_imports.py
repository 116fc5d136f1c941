"""Corrections by a file: matched, compared, refused by name, kept together or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from dlq.choices import Door, EditState, EntryStatus
from dlq.models import DLQEntry, DLQEvent, PayloadEdit
from dlq.services import export, import_files, import_keeping, imports
from dlq.services.export_plan import ExportFormat, Plan, all_columns
from dlq.services.imports import Proposal
from dlq.services.moves import ActRefusedError
from syncs.models import DeliveredRow, FieldMapping, Team
from tests.dlq.objects import logged_in, make_entry, make_group, make_run, make_user
from tests.syncs.objects import make_sync

MAY = ("view_dlqentry", "edit_dlqentry", "reprocess_dlqentry", "view_bulkoperation")
PAYLOAD = {"id": 7, "email": "jane@example.com", "amount": 1.5, "note": "=1+1", "tags": ["a"], "deep": {"city": "Köln\u202e"}}


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Path, db: None) -> Path:
    settings.RETL = {**settings.RETL, "EXPORT_DIR": str(tmp_path / "exports")}
    return tmp_path / "exports"


@pytest.fixture
def eve() -> User:
    return make_user(*MAY, name="eve")


def entry(payload: Any = None, **values: Any) -> DLQEntry:
    text = payload if isinstance(payload, str) else json.dumps(PAYLOAD if payload is None else payload)
    return make_entry(make_run(make_sync()), payload=text, source_row="{}", **values)


def exported(format: ExportFormat = ExportFormat.CSV, *, is_flat: bool = True, is_raw: bool = False) -> bytes:
    plan = Plan(format, all_columns(), is_flat=is_flat, is_raw=is_raw)
    with export.download(DLQEntry.objects.all(), plan).file as file:
        return file.read()


def edited(raw: bytes, change: Callable[[dict[str, str]], Any]) -> bytes:
    """An exported CSV with each row changed, as a spreadsheet would save it."""
    rows = list(csv.DictReader(io.StringIO(raw.decode(), newline="")))
    for row in rows:
        change(row)
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def table(*rows: dict[str, Any], delimiter: str = ",") -> bytes:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def look(raw: bytes, user: User) -> Proposal:
    return imports.propose(raw, "file.csv", by=user)


def bodies(proposal: Proposal) -> list[Any]:
    return [json.loads(one.body) for one in proposal.corrections]


@pytest.mark.parametrize("format", [ExportFormat.CSV, ExportFormat.XLSX])
@pytest.mark.parametrize("is_flat", [True, False])
@pytest.mark.parametrize("is_raw", [True, False])
def test_untouched_export_changes_nothing(format: ExportFormat, is_flat: bool, is_raw: bool, eve: User) -> None:
    entry()
    entry(
        {
            "email": "",
            "n": None,
            "big": 12345678901234567890,
            "s": "'=1",
            "x": {},
            "l": [],
            "t": True,
            "phone": "+49 170 1234567",
        }
    )
    entry('{"price": 1.50, "a.b": "c", "long": "' + "ü" * 40_000 + '", "\\u0000": "\\u0001\\r\\n"}')
    entry({"by": {"a@b.de": 1, "c@d.de": "x"}, "props": [{"name": "phone", "value": "0301234567"}]})
    proposal = look(exported(format, is_flat=is_flat, is_raw=is_raw), eve)
    assert [(one.field, one.reason) for one in proposal.refused] == []
    assert [one.lines for one in proposal.corrections] == []
    assert proposal.unchanged_count == 4


def test_corrected_fields_become_payloads_and_masks_stay_values(eve: User) -> None:
    entry()
    raw = edited(
        exported(), lambda row: row.update({"payload.amount": "-2.50", "payload.deep.city": "=Ulm", "payload.tags": '["b"]'})
    )
    proposal = look(raw, eve)
    assert proposal.refused == []
    assert bodies(proposal) == [{**PAYLOAD, "amount": -2.5, "deep": {"city": "=Ulm"}, "tags": ["b"]}]
    assert '"amount":-2.50' in proposal.corrections[0].body
    assert [line.field for line in proposal.corrections[0].lines] == ["amount", "deep.city", "tags"]
    assert "message" in proposal.ignored


def test_guarded_text_is_unguarded_once(eve: User) -> None:
    entry()
    raw = edited(exported(), lambda row: row.update({"payload.note": "'=2+2"}))
    assert bodies(look(raw, eve))[0]["note"] == "=2+2"


def test_corrected_whole_payload_keeps_what_is_masked(eve: User) -> None:
    entry()

    def change(row: dict[str, str]) -> None:
        payload = json.loads(row["payload"])
        assert payload["email"] == "j***@e***.com"
        row["payload"] = json.dumps({**payload, "amount": 9, "new": {"x": 1}})

    assert bodies(look(edited(exported(is_flat=False), change), eve)) == [{**PAYLOAD, "amount": 9, "new": {"x": 1}}]


def test_workbook_with_corrections(eve: User) -> None:
    first, second = entry(), entry()
    book = openpyxl.load_workbook(io.BytesIO(exported(ExportFormat.XLSX)))
    sheet = book["dead letters"]
    names = {cell.value: cell.column for cell in sheet[1]}
    sheet.cell(2, names["payload.amount"]).value = 3
    sheet.cell(3, names["payload.email"]).value = "new@example.com"
    sheet.cell(3, names["payload.note"]).value = "line\r\nbreak"
    file = io.BytesIO()
    book.save(file)
    proposal = look(file.getvalue(), eve)
    assert [one.entry.pk for one in proposal.corrections] == [first.pk, second.pk]
    assert bodies(proposal)[0]["amount"] == 3
    assert bodies(proposal)[1]["email"] == "new@example.com"
    assert bodies(proposal)[1]["note"].split() == ["line", "break"]


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        ({"payload.email": "x***@y***.com"}, "email", "mask"),
        ({"payload.note": "see j***@e***.com"}, "note", "mask"),
        ({"payload.amount": "1,5"}, "amount", "was a number"),
        ({"payload.amount": ""}, "amount", "was a number"),
        ({"payload.tags": "a"}, "tags", "was a list"),
        ({"id": "999999"}, "id", "is no dead letter"),
        ({"id": "1.5"}, "id", "is no dead letter"),
        ({"id": ""}, "id", "is no dead letter"),
        ({"row_key": "other"}, "row_key", "of another row"),
        ({"payload_rest": '{"x": 1}'}, "payload_rest", "export the payload whole"),
    ],
)
def test_line_is_refused_with_number_field_and_reason(change: dict[str, str], field: str, said: str, eve: User) -> None:
    entry()
    proposal = look(edited(exported(), lambda row: row.update(change)), eve)
    (refused,) = proposal.refused
    assert (refused.number, refused.field) == (2, field)
    assert said in refused.reason
    assert not proposal.corrections


@pytest.mark.parametrize(
    ("payload", "field", "said"),
    [
        ("{", "payload", "not JSON"), ("[1]", "payload", "no JSON object"), ('{"id": NaN}', "payload", "not JSON"),
        ('{"email": "k***@e***.com"}', "email", "mask"), ('{"x": "***"}', "x", "mask"), ("[" * 5000, "payload", "not JSON"),
    ],
)  # fmt: skip
def test_whole_payload_is_read_strictly(payload: str, field: str, said: str, eve: User) -> None:
    found = entry()
    proposal = look(table({"id": found.pk, "payload": payload}), eve)
    (refused,) = proposal.refused
    assert refused.field == field
    assert said in refused.reason


def test_key_fields_are_refused(eve: User) -> None:
    found = entry()
    FieldMapping.objects.update_or_create(
        sync=found.sync, destination_field="id", defaults={"position": 0, "column": "id", "type": "integer", "is_key": True}
    )
    (refused,) = look(edited(exported(), lambda row: row.update({"payload.id": "8"})), eve).refused
    assert (refused.field, "the key by which" in refused.reason) == ("id", True)


def test_entry_that_is_closed_overtaken_or_doubled_is_refused(eve: User) -> None:
    first, second, third = entry(), entry(), entry()
    DLQEntry.objects.filter(pk=first.pk).update(status=EntryStatus.DISCARDED, closed_at=timezone.now(), close_reason="r")
    DeliveredRow.objects.create(
        sync=second.sync, row_key=second.row_key, accepted_at=timezone.now(), payload_hash=1, run_id=second.run_id
    )
    rows = [{"id": one.pk, "payload.note": "new"} for one in (first, second, third, third)]
    proposal = look(table(*rows), eve)
    assert [(one.number, one.field) for one in proposal.refused] == [(2, "id"), (3, "id"), (5, "id")]
    assert "not open" in proposal.refused[0].reason
    assert "newer version" in proposal.refused[1].reason
    assert "line 4 already" in proposal.refused[2].reason
    assert len(proposal.corrections) == 1


def test_entry_of_which_nothing_was_sent_is_refused_only_when_something_is_written(eve: User) -> None:
    entry()
    entry("")
    untouched = look(exported(), eve)
    assert (untouched.refused, untouched.unchanged_count) == ([], 2)
    proposal = look(edited(exported(), lambda row: row.update({"payload.note": "new"})), eve)
    assert [(one.number, "Nothing was sent" in one.reason) for one in proposal.refused] == [(3, True)]


def test_rows_of_other_teams_are_not_there(eve: User) -> None:
    found = entry()
    found.sync.team = Team.objects.create(name="theirs")
    found.sync.save()
    (refused,) = look(table({"id": found.pk, "payload.note": "x"}), eve).refused
    assert "is no dead letter that you may see" in refused.reason


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_csv_of_any_spreadsheet(delimiter: str, start: bytes, eve: User) -> None:
    found = entry()
    raw = start + table({"id": found.pk, "payload.note": 'a,b;c\td\n"e"'}, delimiter=delimiter)
    assert bodies(look(raw, eve))[0]["note"] == 'a,b;c\td\n"e"'


def broken_zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as book:
        book.writestr("x", "y")
    return file.getvalue()


def bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as book, book.open("xl/worksheets/sheet1.xml", "w") as part:
        for _ in range(210):
            part.write(b" " * 1_000_000)
    return file.getvalue()


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "empty"), ("id,payload\n1,ü".encode("latin-1"), "not UTF-8"), ("id".encode("utf-16"), "UTF-16"),
        (b"\xd0\xcf\x11\xe0abc", "old Excel"), (b"a,b\n1,2\n", "no column “id”"), (b"id,note\n1,2\n", "no payload column"),
        (b"id,payload,payload.a\n1,2,3\n", "twice"), (b"id,id,payload\n", "there twice"), (b'id,payload\n1,"x', "no CSV"),
        (b"PK\x03\x04nonsense", "cannot be read"), (broken_zip(), "cannot be read"), (bomb(), "200 MB"),
        (b"x" * 10_000_001, "10,000,000 is the most"), (b"id,payload\n" + b"1,x\n" * 5_001, "more than 5,000 rows"),
    ],

)  # fmt: skip
def test_file_that_cannot_be_taken_says_why(raw: bytes, said: str, eve: User) -> None:
    with pytest.raises(ActRefusedError, match=said):
        look(raw, eve)


def test_cells_of_a_workbook_that_are_no_texts(eve: User) -> None:
    found = [entry() for _ in range(3)]
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["id", "payload.note"])
    sheet.append([found[0].pk, "=1+1"])
    sheet.append([found[1].pk, timezone.now().replace(tzinfo=None)])
    sheet.append([found[2].pk, True])
    file = io.BytesIO()
    book.save(file)
    proposal = look(file.getvalue(), eve)
    assert [(one.number, one.field) for one in proposal.refused] == [(2, "payload.note"), (3, "payload.note")]
    assert "formula" in proposal.refused[0].reason
    assert "date" in proposal.refused[1].reason
    assert bodies(proposal)[0]["note"] == "true"


# --- Keeping


def test_corrections_are_kept_together_with_reason_and_history(eve: User) -> None:
    found = [entry() for _ in range(3)]
    PayloadEdit.objects.create(entry=found[0], before="{}", payload="{}", base_failed_at=found[0].last_failed_at, reason="old")
    proposal = look(edited(exported(), lambda row: row.update({"payload.note": "fixed"})), eve)
    assert import_keeping.keep(proposal, reason="T-7", by=eve, door=Door.ADMIN) == 3
    ready = PayloadEdit.objects.filter(state=EditState.READY)
    assert {json.loads(one.payload)["note"] for one in ready} == {"fixed"}
    assert {json.loads(one.payload)["email"] for one in ready} == {"jane@example.com"}
    assert ready.count() == 3
    assert PayloadEdit.objects.get(reason="old").state == EditState.DROPPED
    event = DLQEvent.objects.filter(kind="edited", entry=found[1]).get()
    assert (event.actor, event.reason, event.detail["file"]) == (eve, "T-7", True)
    assert event.detail["fields"] == [["note", '"=1+1"', '"fixed"']]


@pytest.mark.parametrize("change", [{"last_failed_at": timezone.now()}, {"status": EntryStatus.QUEUED}])
def test_nothing_is_kept_when_one_entry_has_changed(change: dict[str, Any], eve: User) -> None:
    found = [entry() for _ in range(3)]
    proposal = look(edited(exported(), lambda row: row.update({"payload.note": "fixed"})), eve)
    DLQEntry.objects.filter(pk=found[2].pk).update(**change)
    with pytest.raises(ActRefusedError, match="Line 4: the dead letter has changed"):
        import_keeping.keep(proposal, reason="T-7", by=eve, door=Door.ADMIN)
    assert not PayloadEdit.objects.exists()
    assert not DLQEvent.objects.exists()


def test_queries_of_an_import_do_not_grow_with_lines(eve: User, django_assert_max_num_queries: Any) -> None:
    run = make_run(make_sync())
    group = make_group(run.sync)
    for _ in range(300):
        make_entry(run, group=group, payload=json.dumps(PAYLOAD))
    raw = edited(exported(), lambda row: row.update({"payload.note": "fixed"}))
    with django_assert_max_num_queries(8):
        proposal = look(raw, eve)
    with django_assert_max_num_queries(12):
        import_keeping.keep(proposal, reason="T-7", by=eve, door=Door.ADMIN)


# --- Pages


def upload(client: Client, raw: bytes, name: str = "fixed.csv") -> Any:
    return client.post(reverse("admin:dlq_dlqentry_import"), {"file": SimpleUploadedFile(name, raw)})


def test_journey_from_file_to_reprocess(eve: User, folder: Path) -> None:
    found = [entry() for _ in range(2)]
    client = logged_in(eve)
    assert "Import corrections" in client.get(reverse("admin:dlq_dlqentry_import")).content.decode()
    page = upload(
        client, edited(exported(), lambda row: row.update({"payload.note": "<b>fixed</b>", "payload.email": "new@x.de"}))
    )
    text = page.content.decode()
    assert "2 corrections" in text
    assert "&lt;b&gt;fixed" in text
    assert "jane@example.com" not in text, "a hidden value is not shown to who may not see it"
    assert "j***@e***.com" in text
    assert not PayloadEdit.objects.exists()
    assert len(list(folder.glob("import-*"))) == 1
    token = page.context["token"]
    url = reverse("admin:dlq_dlqentry_import")
    refused = client.post(url, {"token": token, "reason": " "})
    assert refused.status_code == 400
    assert "Give a reason" in refused.content.decode()
    kept = client.post(url, {"token": token, "reason": "T-7"})
    assert "2 corrections kept" in kept.content.decode()
    assert list(folder.glob("import-*")) == []
    again = client.post(url, {"token": token, "reason": "T-7"})
    assert (again.status_code, PayloadEdit.objects.count()) == (400, 2)
    (part,) = kept.context["parts"]
    form = {"act": "reprocess", "mode": "edited", "filter": "status=open", "entry": part["ids"]}
    confirm = client.post(kept.context["bulk_url"], form)
    assert "Reprocess 2 dead letters" in confirm.content.decode()
    assert 'value="edited" checked' in confirm.content.decode()
    assert {one.pk for one in found} == set(part["ids"])


def test_page_shows_the_difference_anew_when_entries_changed(eve: User) -> None:
    found = [entry() for _ in range(2)]
    client = logged_in(eve)
    page = upload(client, edited(exported(), lambda row: row.update({"payload.note": "fixed"})))
    DLQEntry.objects.filter(pk=found[0].pk).update(last_failed_at=timezone.now())
    again = client.post(reverse("admin:dlq_dlqentry_import"), {"token": page.context["token"], "reason": "r"})
    assert again.status_code == 400
    assert "nothing is kept yet" in again.content.decode()
    assert not PayloadEdit.objects.exists()
    client.post(reverse("admin:dlq_dlqentry_import"), {"token": again.context["token"], "reason": "r"})
    assert PayloadEdit.objects.count() == 2


def test_token_is_its_owners_and_lasts_an_hour(eve: User, folder: Path) -> None:
    entry()
    raw = edited(exported(), lambda row: row.update({"payload.note": "fixed"}))
    page = upload(logged_in(eve), raw)
    token = page.context["token"]
    with pytest.raises(ActRefusedError):
        import_keeping.load(token, by=make_user(*MAY))
    with pytest.raises(ActRefusedError):
        import_keeping.load(token[:-1], by=eve)
    (path,) = folder.glob("import-*")
    assert path.stat().st_mode & 0o777 == 0o600
    os.utime(path, (0, 0))
    import_keeping.remove_old()
    with pytest.raises(ActRefusedError, match="over an hour ago"):
        import_keeping.load(token, by=eve)


@pytest.mark.parametrize("raw", [b"", b"junk", b"PK\x03\x04x"])
def test_page_says_what_is_wrong_with_a_file(raw: bytes, eve: User) -> None:
    client = logged_in(eve)
    assert upload(client, raw, "x.csv").status_code == 400
    assert client.post(reverse("admin:dlq_dlqentry_import")).status_code == 400
    assert client.post(reverse("admin:dlq_dlqentry_import"), {"token": "junk"}).status_code == 400


def test_import_needs_the_permission_to_edit() -> None:
    client = logged_in(make_user("view_dlqentry", "export_dlqentry", "reprocess_dlqentry"))
    assert client.get(reverse("admin:dlq_dlqentry_import")).status_code == 403
    assert upload(client, b"id,payload\n").status_code == 403


def test_numbers_of_lines_are_those_of_the_spreadsheet() -> None:
    _names, lines = import_files.read(b"id,payload\n\n1,x\n,,\n2,y\n", "x.csv")
    assert [line.number for line in lines] == [3, 5]
