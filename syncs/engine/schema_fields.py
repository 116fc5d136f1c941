"""The fields of a destination object as they are kept: checked, as JSON, with a digest; and what their types' words mean.

A discovery answer comes from outside: it may be huge, or nonsense, and it is taken whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from syncs.destinations.base import Field
from syncs.errors import ConfigError

MAX_FIELDS = 5_000
MAX_NAME = 255
MAX_TYPE = 80
MAX_OPTIONS = 5_000
MAX_BYTES = 5_000_000
MAX_LENGTH = 2_000_000_000  # of a value, in characters; more says nothing
_CODE = "schema_answer"


def checked(found: Any) -> list[Field]:
    """The same fields, cleaned of what no page and no database takes. Raises ``ConfigError`` for an answer that is none."""
    if not isinstance(found, list | tuple):
        raise _refused("is no list of fields")
    if not found:
        raise _refused("names no field at all")
    if len(found) > MAX_FIELDS:
        raise _refused(f"names {len(found):,} fields, and at most {MAX_FIELDS:,} are taken")
    fields = [_field(item, number) for number, item in enumerate(found, 1)]
    doubled = [name for name, count in Counter(field.name for field in fields).items() if count > 1]
    if doubled:
        raise _refused(f"names the field “{doubled[0][:80]}” twice")
    if sum(len(option) for field in fields for option in field.options) > MAX_BYTES:
        raise _refused(f"holds more than {MAX_BYTES // 1_000_000} MB of allowed values")
    return fields


def _refused(why: str) -> ConfigError:
    text = (
        f"The destination's description of its fields {why}. "
        "Nothing was changed here; look at what it answers, or type the fields."
    )
    return ConfigError(text, field="destination_object", code=_CODE)


def _field(item: Any, number: int) -> Field:
    if not isinstance(item, Field) or not isinstance(item.name, str):
        raise _refused(f"has no name for its field number {number:,}")
    name = item.name
    if not name.strip():
        raise _refused(f"has an empty name for its field number {number:,}")
    if len(name) > MAX_NAME:
        raise _refused(f"has a name of {len(name):,} characters for its field number {number:,}; at most {MAX_NAME} are taken")
    if not _is_storable(name) or any(ord(character) < 32 for character in name):
        raise _refused(f"has control characters in the name of its field number {number:,}")
    options = tuple(option for option in map(_text, item.options) if option)
    if len(options) > MAX_OPTIONS:
        raise _refused(f"lists {len(options):,} allowed values for “{name[:80]}”; at most {MAX_OPTIONS:,} are taken")
    length = item.max_length
    is_length = isinstance(length, int) and not isinstance(length, bool) and 0 < length <= MAX_LENGTH
    return Field(
        name=name,
        label=_text(item.label),
        type=_text(item.type)[:MAX_TYPE],
        is_required=item.is_required is True,
        is_key=item.is_key is True,
        max_length=length if is_length else None,
        options=tuple(dict.fromkeys(options)),
        is_writable=item.is_writable is not False,
    )


def _text(value: Any) -> str:
    """A short text that a database takes; "" for what is none."""
    text = str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    return (text if _is_storable(text) else "")[:MAX_NAME]


def _is_storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def as_json(fields: Iterable[Field]) -> list[dict[str, Any]]:
    return [
        {
            "name": field.name,
            "label": field.label,
            "type": field.type,
            "is_required": field.is_required,
            "is_key": field.is_key,
            "is_writable": field.is_writable,
            "max_length": field.max_length,
            "options": list(field.options),
        }
        for field in fields
    ]


def from_json(items: Iterable[Mapping[str, Any]]) -> list[Field]:
    """What ``as_json`` gave. Keys that are absent take their defaults."""
    return [
        Field(
            name=str(item["name"]),
            label=str(item.get("label", "")),
            type=str(item.get("type", "")),
            is_required=bool(item.get("is_required", False)),
            is_key=bool(item.get("is_key", False)),
            max_length=item.get("max_length"),
            options=tuple(item.get("options") or ()),
            is_writable=bool(item.get("is_writable", True)),
        )
        for item in items
    ]


def digest(fields: Iterable[Field]) -> str:
    """SHA-256 in hex of what matters to a sync: neither labels nor any order, which some destinations change at will."""
    lines = as_json(sorted(fields, key=lambda field: field.name))
    for line in lines:
        del line["label"]
        line["options"] = sorted(line["options"])
    return hashlib.sha256(json.dumps(lines, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


class Family(StrEnum):
    """What kind of value a field takes, whatever its destination calls the type. ``ANY``: nobody can tell, or it takes all.

    ``SQL_TEXT``: a database's text, which takes numbers as well; the text of an API usually does not.
    """

    TEXT = "text"
    SQL_TEXT = "sql_text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    TIMESTAMP = "timestamp"
    LIST = "list"
    ANY = "any"


_WORDS: dict[Family, str] = {
    Family.TEXT: "string str email url uri phone phone_number textarea html enum enumeration picklist select radio combobox",
    Family.SQL_TEXT: "text varchar char character nvarchar nchar citext uuid clob tinytext mediumtext longtext bpchar",
    Family.INTEGER: "integer int int2 int4 int8 int32 int64 bigint smallint tinyint mediumint long serial bigserial",
    Family.NUMBER: "number decimal numeric float float4 float8 float64 double real currency percent money",
    Family.BOOLEAN: "boolean bool checkbox",
    Family.DATE: "date",
    Family.TIMESTAMP: "timestamp timestamptz datetime datetimetz date_time date-time",
    Family.LIST: "array list strings multipicklist multi_select multiselect tags",
}
_FAMILIES = {word: family for family, words in _WORDS.items() for word in words.split()}


def family(type_name: str) -> Family:
    """``character varying(50)`` and ``varchar`` are the same; an unknown word is ``ANY``."""
    plain = type_name.strip().lower()
    if plain.endswith("[]"):
        return Family.LIST
    plain = plain.partition("(")[0].strip()
    return _FAMILIES.get(plain) or _FAMILIES.get(plain.partition(" ")[0], Family.ANY)
