"""A wrong value of any filter is refused with a sentence, by every door that takes a filter; it never widens what is chosen."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.test import Client

from dlq.models import BulkOperation, DLQEntry
from dlq.services import selection
from dlq.services.selection import PARAMETERS
from tests.dlq.objects import make_entry

pytestmark = pytest.mark.django_db

LIST = "/admin/dlq/dlqentry/"
TEXTS = ("key", "error_code", "field", "q")  # any text may be right; these refuse what no row can hold
LONGEST = {"key": 255, "error_code": 120, "field": 255, "q": 200}
SEVERAL = ("status", "sync", "connection", "error_type", "error_code", "field", "code", "row")

ODD = ("junk", "0", "-1", "1.5", "٣", "9" * 30, "1 OR 1=1", "open'--", "<script>", "\u202eevil", "null", "*", "%", "a\0b")
CASES: list[tuple[str, list[str]]] = [
    *((name, [value]) for name in PARAMETERS if name not in TEXTS for value in ODD if (name, value) != ("attempts", "1.5")),
    *((name, ["x" * (LONGEST[name] + 1)]) for name in TEXTS),
    *((name, ["a\0b"]) for name in TEXTS),
    *((name, ["half \ud83d"]) for name in TEXTS),
    *((name, ["1d", "7d"]) for name in PARAMETERS if name not in SEVERAL),
    ("status", ["open", "junk"]),
    ("status", ["any", "junk"]),
    ("error_code", ["fine", "x" * 121]),
    ("row", ["same", "junk"]),
    ("row", [""] * 2 + ["SAME"]),
    ("attempts", ["1000001"]),
    ("attempts", ["1.5"]),
    ("age", ["30"]),
    ("age", ["10:00"]),
    ("age", ["23/11/2026"]),
    ("age", ["2026-02-30"]),
    ("owner", ["somebody"]),
    ("owner", ["999999"]),
    ("from", ["23/11/2026"]),
    ("to", ["10:00"]),
    ("code", ["409,junk"]),
    ("q_groups", ["1"]),
    ("q_deep", ["1"]),
    ("nothing", ["0"]),
    ("status__in", ["open"]),
    ("", ["x"]),
]


@pytest.mark.parametrize(("name", "values"), CASES, ids=lambda value: ascii(value)[:40])
def test_parse_refuses_and_selects_nothing(name: str, values: list[str]) -> None:
    make_entry()
    parsed = selection.parse({name: values}, user=User.objects.create_superuser("root"))
    assert [problem.field for problem in parsed.problems] == [name] * len(parsed.problems) != []
    assert all(problem.message for problem in parsed.problems)
    assert list(parsed.entries()) == []


# Fewer of them where a whole page is asked for: one odd value of each filter, and all the special ones.
THROUGH_AN_ADDRESS = [
    (name, values)
    for name, values in CASES
    if not any("\ud83d" in value for value in values) and (len(values) > 1 or values[0] not in ODD[1:])
]


@pytest.mark.parametrize(("name", "values"), THROUGH_AN_ADDRESS, ids=lambda value: ascii(value)[:40])
def test_list_answers_400_and_shows_no_row(root: Client, name: str, values: list[str]) -> None:
    entry = make_entry(row_key="must-not-be-shown")
    page = root.get(f"{LIST}?{urlencode({name: values}, doseq=True)}")
    assert page.status_code == 400
    assert "must-not-be-shown" not in page.content.decode()
    assert f"/dlqentry/{entry.pk}/change/" not in page.content.decode()


@pytest.mark.parametrize(("name", "values"), THROUGH_AN_ADDRESS, ids=lambda value: ascii(value)[:40])
def test_bulk_act_is_not_offered(root: Client, name: str, values: list[str]) -> None:
    make_entry()
    query = urlencode({"status": "open"}) if name != "status" else ""
    query += f"&{urlencode({name: values}, doseq=True)}"
    page: Any = root.post(f"{LIST}bulk/", {"act": "discard", "filter": query, "across": "1"})
    assert page.status_code in (302, 400)
    assert b'name="token"' not in page.content
    assert BulkOperation.objects.count() == 0
    assert DLQEntry.objects.open().count() == 1


def test_every_filter_is_tried() -> None:
    assert {name for name, _values in CASES} >= set(PARAMETERS)
