"""Changes an administrator of the sandbox CRM makes to its fields: a new one, one that becomes required, one that goes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, replace
from decimal import Decimal
from typing import Any

from retl_project.demo.crm_schema import CrmField, CrmObject

TYPES = ("string", "integer", "decimal", "boolean", "timestamp", "strings")
MOST = 200
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}(\.[a-z][a-z0-9_]{0,39})?")


class FieldError(ValueError):
    """The change cannot be made; ``str()`` is a sentence."""


def changed(item: CrmObject, form: Mapping[str, str]) -> CrmObject:
    """The object after one change. ``form``: act (add, require, relax, remove), name; for add also type, required, max_length,
    options (split by commas). Raises ``FieldError``."""
    act, name = form.get("act", ""), form.get("name", "").strip()
    if act == "add":
        return _added(item, name, form)
    known = {field.name: field for field in item.fields}
    if name not in known or name == item.key:
        raise FieldError(f"{item.name} has no field “{name[:40]}” that can be changed.")
    if act in ("require", "relax"):
        known[name] = replace(known[name], is_required=act == "require")
    elif act == "remove":
        del known[name]
    else:
        raise FieldError("Choose what to change: add, require, relax or remove.")
    return replace(item, fields=tuple(known.values()))


def _added(item: CrmObject, name: str, form: Mapping[str, str]) -> CrmObject:
    if not _NAME.fullmatch(name):
        raise FieldError("A name has small letters, digits and _, begins with a letter, and may hold one dot.")
    taken = {field.name for field in item.fields} | {field.name.partition(".")[0] for field in item.fields}
    if name in taken or name.partition(".")[0] in {field.name for field in item.fields}:
        raise FieldError(f"{item.name} has a field “{name}” already.")
    if len(item.fields) >= MOST:
        raise FieldError(f"An object has at most {MOST} fields.")
    if form.get("type", "string") not in TYPES:
        raise FieldError(f"A type is one of {', '.join(TYPES)}.")
    length = form.get("max_length", "").strip()
    if length and not (length.isascii() and length.isdigit() and 0 < int(length[:9]) <= 10_000):
        raise FieldError("The longest text is a number from 1 to 10,000, or empty.")
    made = CrmField(
        name,
        type=form.get("type", "string"),
        is_required=form.get("required") == "1",
        max_length=int(length) if length else None,
        options=tuple(dict.fromkeys(word.strip() for word in form.get("options", "").split(",") if word.strip())),
    )
    return replace(item, fields=(*item.fields, made))


def dumped(found: Iterable[CrmField]) -> str:
    return json.dumps([asdict(field) for field in found], default=str)


def loaded(text: str) -> tuple[CrmField, ...]:
    known = {field.name for field in fields(CrmField)}
    return tuple(_field({name: value for name, value in given.items() if name in known}) for given in json.loads(text))


def _field(given: dict[str, Any]) -> CrmField:
    numbers = {name: Decimal(given[name]) for name in ("minimum", "maximum") if given.get(name) is not None}
    return CrmField(**{**given, **numbers, "options": tuple(given.get("options", ()))})
