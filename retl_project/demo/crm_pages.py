"""The sandbox CRM's own pages: what it holds and what it accepted, for people. Every value is escaped; no script at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any
from urllib.parse import urlencode

from retl_project.demo.crm_fields import TYPES
from retl_project.demo.crm_schema import OBJECTS, CrmField, CrmObject, leaves

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #1c2430; }
h1 { font-size: 1.4rem; } nav a { margin-right: 1rem; } table { border-collapse: collapse; width: 100%; margin-top: 1rem; }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #dde3ea; vertical-align: top; }
td { overflow-wrap: anywhere; }
th { background: #f3f6f9; } .note { color: #5a6675; } input { padding: .3rem .5rem; } code { font-size: .9em; }
td form { display: inline; } .problem { color: #a01818; }
"""


def _page(title: str, body: str) -> str:
    links = "".join(f'<a href="/admin/records?object={name}">{name.capitalize()}</a>' for name in OBJECTS)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)} · Sandbox CRM</title>'
        f'<link rel="stylesheet" href="/admin/style.css"></head><body>'
        f'<nav><a href="/admin">Sandbox CRM</a>{links}<a href="/admin/receipts">Receipts</a>'
        f'<a href="/admin/fields">Fields</a></nav>'
        f"<h1>{escape(title)}</h1>{body}</body></html>"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    top = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table>"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def overview(counts: Mapping[str, int], calls: Mapping[str, int]) -> str:
    note = '<p class="note">A practice destination on this machine. It holds what its API accepted.</p>'
    holds = _table(("Object", "Records"), [(name.capitalize(), f"{count:,}") for name, count in counts.items()])
    answers = _table(("Answers since start", "Count"), [(name, f"{count:,}") for name, count in calls.items()])
    return _page("What the CRM holds", note + holds + answers)


def records(item: CrmObject, text: str, found: Sequence[Mapping[str, Any]], limit: int) -> str:
    object_name = item.name
    names = [field.name for field in item.fields]
    rows = []
    for record in found:
        values = dict(leaves(record["properties"]))
        rows.append([record["id"], *(_shown(values.get(name)) for name in names), _time(record["updated_at"])])
    search = (
        f'<form action="/admin/records"><input type="hidden" name="object" value="{escape(object_name)}">'
        f'<label>Find <input name="q" value="{escape(text)}"></label> <button>Search</button></form>'
    )
    more = ""
    if len(found) == limit:
        query = escape(urlencode({"object": object_name, "q": text, "limit": limit, "after": found[-1]["key"]}))
        more = f'<p><a href="/admin/records?{query}">Next {limit}</a></p>'
    return _page(object_name.capitalize(), search + _table(("id", *names, "written at"), rows) + more)


def fields(item: CrmObject, problem: str = "") -> str:
    """What the object demands, and the forms that change it."""
    rows = "".join(_field_row(item, field) for field in item.fields)
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Field", "Type", "Required", "At most", "Options", "Change"))
    types = "".join(f"<option>{name}</option>" for name in TYPES)
    others = " ".join(f'<a href="/admin/fields?object={name}">{name.capitalize()}</a>' for name in OBJECTS)
    said = f'<p class="problem" role="alert">{escape(problem)}</p>' if problem else ""
    add = (
        f'<h2>Add a field</h2><form method="post" action="/admin/fields">{_hidden(item, "add")}'
        f'<label>Name <input name="name" required maxlength="81"></label> '
        f'<label>Type <select name="type">{types}</select></label> '
        f'<label>At most <input name="max_length" inputmode="numeric" size="6"> characters</label> '
        f'<label>Options <input name="options" placeholder="gold, silver"></label> '
        f'<label><input type="checkbox" name="required" value="1"> Required</label> <button>Add</button></form>'
    )
    note = '<p class="note">For practice: changes that the people of a real CRM make without telling you.</p>'
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return _page(f"Fields of {item.name}", f"{said}<p>{others}</p>{note}{table}{add}")


def _field_row(item: CrmObject, field: CrmField) -> str:
    options = ", ".join(field.options[:8]) + ("…" if len(field.options) > 8 else "")
    cells = (field.name, field.type, "yes" if field.is_required else "", field.max_length or "", options)
    buttons = ""
    if field.name != item.key:
        acts = {"relax": "Make optional"} if field.is_required else {"require": "Make required"}
        named = f'<input type="hidden" name="name" value="{escape(field.name)}">'
        buttons = "".join(
            f'<form method="post" action="/admin/fields">{_hidden(item, act)}{named}<button>{label}</button></form>'
            for act, label in {**acts, "remove": "Remove"}.items()
        )
    return "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells) + f"<td>{buttons}</td></tr>"


def _hidden(item: CrmObject, act: str) -> str:
    return f'<input type="hidden" name="object" value="{escape(item.name)}"><input type="hidden" name="act" value="{act}">'


def receipts(found: Sequence[Mapping[str, Any]], limit: int) -> str:
    rows = [
        (
            receipt["id"],
            _time(receipt["at"]),
            receipt["object"],
            receipt["key"],
            receipt["action"] + (" (repeated answer)" if receipt["is_replay"] else ""),
            receipt["idempotency_key"],
        )
        for receipt in found
    ]
    table = _table(("Receipt", "At", "Object", "Key", "Action", "Idempotency key"), rows)
    more = f'<p><a href="/admin/receipts?limit={limit}&amp;after={found[-1]["id"]}">Next {limit}</a></p>' if rows else ""
    return _page("Receipts", table + more)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
