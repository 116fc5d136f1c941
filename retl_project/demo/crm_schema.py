"""What the sandbox CRM holds: its objects, their fields and the rules a value must pass. Plain data and pure functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from retl_project.demo.countries import COUNTRY_NAMES


@dataclass(frozen=True, slots=True)
class CrmField:
    """One field; ``name`` may nest by dots. ``reference``: the object whose key the value must be."""

    name: str
    type: str = "string"
    is_required: bool = False
    is_unique: bool = False
    is_writable: bool = True
    max_length: int | None = None
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    pattern: str = ""
    hint: str = ""
    options: tuple[str, ...] = ()
    reference: str = ""


@dataclass(frozen=True, slots=True)
class CrmObject:
    name: str
    key: str
    fields: tuple[CrmField, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a record was refused, as the API says it."""

    code: str
    field: str
    message: str

    def as_json(self) -> dict[str, str]:
        return {"code": self.code, "field": self.field, "message": self.message}


_TEXT = r"[^<>\[\]{}\"`?\x00-\x1f\x7f\u00ad]*"
_TEXT_HINT = 'must not hold < > [ ] { } " ` ? or control characters'

COUNTRIES = CrmObject(
    name="countries",
    key="code",
    fields=(
        CrmField("code", is_required=True, options=tuple(COUNTRY_NAMES)),
        CrmField("name", is_required=True, is_unique=True, max_length=60),
        CrmField(
            "region",
            is_required=True,
            options=("Africa", "America", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific"),
        ),
        CrmField("airport_count", type="integer", minimum=Decimal(0), maximum=Decimal(1_000_000)),
    ),
)

AIRPORTS = CrmObject(
    name="airports",
    key="code",
    fields=(
        CrmField("code", is_required=True, max_length=4, pattern=r"[A-Z0-9]{4}", hint="must be four capital letters or digits"),
        CrmField("name", is_required=True, max_length=50, pattern=_TEXT, hint=_TEXT_HINT),
        CrmField("label", is_required=True, is_unique=True, max_length=140),
        CrmField(
            "category",
            is_required=True,
            options=("airport", "airfield", "airpark", "airstrip", "military", "heliport", "other"),
        ),
        CrmField("iata", is_unique=True, pattern=r"[A-Z]{3}", hint="must be three capital letters"),
        CrmField("address.city", is_required=True, max_length=40),
        CrmField("address.subdivision", max_length=60),
        CrmField("address.country", is_required=True, reference="countries"),
        CrmField("location.latitude", type="decimal", minimum=Decimal(-90), maximum=Decimal(90)),
        CrmField("location.longitude", type="decimal", minimum=Decimal(-180), maximum=Decimal(180)),
        CrmField("elevation_ft", type="decimal", minimum=Decimal(-250), maximum=Decimal(14_000)),
        CrmField("timezone", pattern=r"[A-Za-z]+(/[A-Za-z0-9_+-]+){0,2}", hint="must be an IANA time zone name"),
        CrmField("is_commercial", type="boolean"),
        CrmField("security_zone", is_writable=False, max_length=20),
        CrmField("source_updated_at", type="timestamp"),
        CrmField("tags", type="strings"),
    ),
)

OBJECTS: dict[str, CrmObject] = {item.name: item for item in (COUNTRIES, AIRPORTS)}


def leaves(properties: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value with its dotted path; an empty group yields nothing."""
    for name, value in properties.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def problems(item: CrmObject, values: Mapping[str, Any]) -> list[Problem]:
    """Everything wrong with ``values`` (dotted path -> value) that can be told without looking at other records."""
    known = {field.name: field for field in item.fields}
    found = [Problem("UNKNOWN_FIELD", name, f"{item.name} has no field “{name[:80]}”.") for name in values if name not in known]
    for field in item.fields:
        value = values.get(field.name)
        if value is None or value == "":
            if field.is_required:
                found.append(Problem("REQUIRED_FIELD_MISSING", field.name, f"{field.name} is required."))
        elif not field.is_writable:
            found.append(Problem("FIELD_NOT_WRITABLE", field.name, f"This API user may not write {field.name}."))
        elif problem := _value_problem(field, value):
            found.append(problem)
    return found


def _value_problem(field: CrmField, value: Any) -> Problem | None:
    if not _TYPES[field.type](value):
        return Problem("INVALID_TYPE", field.name, f"{field.name} must be {_TYPE_WORDS[field.type]}.")
    if isinstance(value, str):
        return _text_problem(field, value)
    if field.minimum is not None and field.maximum is not None and not field.minimum <= value <= field.maximum:
        text = f"{field.name} must be between {field.minimum} and {field.maximum}, got {value}."
        return Problem("NUMBER_OUT_OF_RANGE", field.name, text)
    return None


def _text_problem(field: CrmField, value: str) -> Problem | None:
    if field.max_length is not None and len(value) > field.max_length:
        text = f"{field.name} must be at most {field.max_length} characters long, got {len(value)}."
        return Problem("STRING_TOO_LONG", field.name, text)
    if field.options and value not in field.options:
        return Problem("INVALID_OPTION", field.name, f"“{value[:80]}” is not an option of {field.name}.")
    if field.pattern and not re.fullmatch(field.pattern, value):
        return Problem("INVALID_FORMAT", field.name, f"{field.name} {field.hint}.")
    return None


def _is_text(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate is no text
        return False
    return True


def _is_timestamp(value: Any) -> bool:
    if not _is_text(value):
        return False
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


_TYPES: dict[str, Callable[[Any], bool]] = {
    "string": _is_text,
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "decimal": lambda value: isinstance(value, (int, Decimal)) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "timestamp": _is_timestamp,
    "strings": lambda value: isinstance(value, list) and all(_is_text(item) for item in value),
}
_TYPE_WORDS = {
    "string": "a text",
    "integer": "a whole number",
    "decimal": "a number",
    "boolean": "true or false",
    "timestamp": "an ISO 8601 time with an offset",
    "strings": "a list of texts",
}


def describe(item: CrmObject) -> dict[str, Any]:
    """The object as the describe endpoint tells it."""
    return {
        "name": item.name,
        "key": item.key,
        "fields": [
            {
                "name": field.name,
                "type": field.type,
                "required": field.is_required,
                "key": field.name == item.key,
                "unique": field.is_unique or field.name == item.key,
                "writable": field.is_writable,
                "max_length": field.max_length,
                "options": list(field.options),
                "reference": field.reference or None,
            }
            for field in item.fields
        ],
    }
