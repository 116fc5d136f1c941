"""The sandbox CRM's own pages: what it holds and what it accepted, for people. Every value is escaped; no script at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any
from urllib.parse import urlencode

from retl_project.demo.crm_schema import OBJECTS, leaves

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #1c2430; }
h1 { font-size: 1.4rem; } nav a { margin-right: 1rem; } table { border-collapse: collapse; width: 100%; margin-top: 1rem; }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #dde3ea; vertical-align: top; }
td { overflow-wrap: anywhere; }
th { background: #f3f6f9; } .note { color: #5a6675; } input { padding: .3rem .5rem; } code { font-size: .9em; }
"""


def _page(title: str, body: str) -> str:
    links = "".join(f'<a href="/admin/records?object={name}">{name.capitalize()}</a>' for name in OBJECTS)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)} · Sandbox CRM</title>'
        f'<link rel="stylesheet" href="/admin/style.css"></head><body>'
        f'<nav><a href="/admin">Sandbox CRM</a>{links}<a href="/admin/receipts">Receipts</a></nav>'
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


def records(object_name: str, text: str, found: Sequence[Mapping[str, Any]], limit: int) -> str:
    names = [field.name for field in OBJECTS[object_name].fields]
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
