"""A sync into a CRM that tells its fields, over a warehouse whose values are not all right."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Any

from django.test import Client
from django.urls import reverse

from syncs.models import FieldMapping, Sync
from tests.syncs.objects import make_connection

FIELDS: list[dict[str, Any]] = [
    {"name": "external_id", "label": "External ID", "type": "string", "is_key": True, "is_required": True},
    {"name": "email", "type": "string", "is_required": True, "max_length": 20},
    {"name": "firstname", "label": "First name", "type": "string"},
    {"name": "plan", "type": "string", "options": ["free", "pro"]},
    {"name": "age", "type": "integer"},
    {"name": "address.city", "type": "string"},
    {"name": "tags", "type": "list"},
]
ROWS = [
    ("c1", "ann@x.example", "Ann", "pro", "41", "Lyon"),
    ("c2", "bo@x.example", "Bo", "gold", "young", None),
    ("c3", "cy.with.a.long.name@x.example", "Cy", "free", "39", "Nice"),
]
QUERY = "SELECT id, mail, first_name, plan, age, city FROM people"


def warehouse(path: Path, rows: list[tuple[Any, ...]] = ROWS) -> Path:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE people (id, mail, first_name, plan, age, city)")
        database.executemany("INSERT INTO people VALUES (?, ?, ?, ?, ?, ?)", rows)
    database.close()
    return path


def crm(url: str = "http://127.0.0.1:9", fields: list[dict[str, Any]] | None = None) -> Any:
    contacts: dict[str, Any] = {
        "operations": {
            name: {"method": "POST", "path": "/contacts", "per_call": "record"}
            for name in ("upsert", "insert", "update", "delete")
        }
    }
    if fields is not None:
        contacts["fields"] = fields
    return make_connection("destination", kind="http", config={"base_url": url, "objects": {"contacts": contacts}})


def sync(folder: Path, *, url: str = "http://127.0.0.1:9", fields: list[dict[str, Any]] | None = FIELDS, **values: Any) -> Sync:
    """Mapped so far: the key."""
    made = Sync.objects.create(
        **{
            "name": "People",
            "source": make_connection(config={"path": str(warehouse(folder / "people.sqlite3"))}),
            "destination": crm(url, fields),
            "query": QUERY,
            "key_columns": "id",
            "destination_object": "contacts",
            **values,
        }
    )
    FieldMapping.objects.create(sync=made, position=0, destination_field="external_id", column="id", is_key=True)
    return made


def url(sync: Sync, name: str = "mapping") -> str:
    return reverse(f"admin:syncs_sync_{name}", args=(sync.pk,))


def posted(answer: Any) -> dict[str, Any]:
    """What a browser would send back, without a button."""
    state = answer.context["state"]
    data: dict[str, Any] = {"opened": state.opened, "lines-count": len(state.lines), "note": state.note, "find": state.find}
    for number, line in enumerate(state.lines):
        for name in ("destination_field", "kind", "value", "type", "options", "on_null", "default"):
            data[f"lines-{number}-{name}"] = getattr(line, name)
        for name in ("is_required", "is_key"):
            if getattr(line, name):
                data[f"lines-{number}-{name}"] = "on"
    return data


def press(client: Client, answer: Any, changes: dict[str, Any] | None = None, **button: Any) -> Any:
    """Press a button of the page that was answered: ``do="save"``, ``take="email"``, ``up=2``."""
    path = answer.request["PATH_INFO"]
    return client.post(path, {**posted(answer), **(changes or {}), **button})


def findings(answer: Any) -> list[tuple[int | None, str, str]]:
    """(line, level, message) of the page, the whole's last."""
    found = [
        (one["number"], finding.level.value, finding.message) for one in answer.context["lines"] for finding in one["findings"]
    ]
    return found + [(None, one.level.value, one.message) for one in answer.context["whole"]]


def visible_text(answer: Any) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())
