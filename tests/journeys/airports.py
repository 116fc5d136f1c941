"""What the sandbox CRM must hold, worked out apart from the product: the mapping by hand, the rules from the schema's figures.

Nothing here calls the product's mapping, hashing or the CRM's own checks; it reads the warehouse with a plain driver.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from retl_project.demo.countries import COUNTRY_NAMES
from retl_project.demo.crm_schema import AIRPORTS, COUNTRIES, CrmField, CrmObject

CATEGORIES = {
    **dict.fromkeys(("airport", "aerodrome"), "airport"),
    **dict.fromkeys(("field", "airfield", "station"), "airfield"),
    **dict.fromkeys(("airpark", "park"), "airpark"),
    **dict.fromkeys(("airstrip", "strip"), "airstrip"),
    **dict.fromkeys(("base", "airbase"), "military"),
    "heliport": "heliport",
}
TYPES = {
    "not_allowed": "mapping",
    "REQUIRED_FIELD_MISSING": "missing_required",
    "DUPLICATE_VALUE": "duplicate_key",
    "REFERENCE_NOT_FOUND": "reference_not_found",
    "FIELD_NOT_WRITABLE": "field_permission",
    **dict.fromkeys(("STRING_TOO_LONG", "NUMBER_OUT_OF_RANGE", "INVALID_FORMAT", "INVALID_OPTION"), "validation"),
}


@dataclass(frozen=True)
class Refusal:
    """What the dead letter must say. ``was_sent`` False: the mapping refused the row."""

    code: str
    field: str
    was_sent: bool = True

    @property
    def type(self) -> str:
        return TYPES[self.code]


@dataclass(frozen=True)
class Expected:
    """``payloads``: of every row that the mapping takes. ``refused``: for certain, whatever the order of arrival.

    ``rivals``: unique value -> keys of rows that are good in themselves and hold it; the first to arrive gets it.
    """

    payloads: dict[str, dict[str, Any]]
    refused: dict[str, Refusal]
    rivals: dict[tuple[str, str], list[str]]

    @property
    def good(self) -> set[str]:
        return self.payloads.keys() - self.refused.keys()

    @property
    def contested(self) -> set[str]:
        return {key for keys in self.rivals.values() if len(keys) > 1 for key in keys}


def airport(row: Mapping[str, Any]) -> dict[str, Any] | Refusal:
    """The payload of one airport, or why it has none."""
    if row["site_type"] is not None and row["site_type"] not in CATEGORIES:
        return Refusal("not_allowed", "category", was_sent=False)
    place = row["city"] or row["subdivision"]
    payload = {
        "code": row["code"],
        "name": row["name"].strip(),
        "label": f"{row['name']}, {place or ''}, {row['country']}",
        "category": CATEGORIES.get(row["site_type"]),
        "address": {"city": (place or "").strip() or None, "country": row["country"]},
        "location": {"latitude": scaled(row["latitude"], 6), "longitude": scaled(row["longitude"], 6)},
        "elevation_ft": scaled(row["elevation_ft"], 1),
        "timezone": row["timezone"],
        "is_commercial": bool(row["is_commercial"]),
        "source_updated_at": moment(row["updated_at"]),
        "tags": ["warehouse"],
    }
    for name in ("iata", "security_zone"):
        if row[name] is not None:
            payload[name] = row[name]
    if row["subdivision"] is not None:
        payload["address"]["subdivision"] = row["subdivision"]
    return payload


def country(row: Mapping[str, Any]) -> dict[str, Any]:
    payload = {"code": row["code"], "region": row["region"], "airport_count": row["airport_count"]}
    return payload if row["name"] is None else {**payload, "name": row["name"]}


def scaled(value: Any, digits: int) -> Decimal:
    number = value if isinstance(value, Decimal) else Decimal(repr(value))
    return number.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP)


def moment(value: Any) -> str:
    at = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return at.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def expect_airports(rows: Iterable[Mapping[str, Any]], *, countries: set[str]) -> Expected:
    mapped = {row["code"]: airport(row) for row in rows}
    return _expected(AIRPORTS, mapped, known={"countries": countries})


def expect_countries(rows: Iterable[Mapping[str, Any]]) -> Expected:
    return _expected(COUNTRIES, {row["code"]: country(row) for row in rows}, known={})


def _expected(item: CrmObject, mapped: Mapping[str, dict[str, Any] | Refusal], *, known: Mapping[str, set[str]]) -> Expected:
    payloads: dict[str, dict[str, Any]] = {}
    refused: dict[str, Refusal] = {}
    rivals: dict[tuple[str, str], list[str]] = defaultdict(list)
    for key, found in mapped.items():
        if isinstance(found, Refusal):
            refused[key] = found
            continue
        payloads[key] = found
        flat = flattened(found)
        fault = next((why for rule in (_own, _reference) for why in _faults(item, flat, rule, known)), None)
        if fault is not None:
            refused[key] = fault
            continue
        for field in item.fields:
            if field.is_unique and flat.get(field.name):
                rivals[field.name, flat[field.name].casefold()].append(key)
    return Expected(payloads, refused, dict(rivals))


def _faults(item: CrmObject, flat: Mapping[str, Any], rule: Any, known: Mapping[str, set[str]]) -> Iterable[Refusal]:
    for field in item.fields:
        code = rule(field, flat.get(field.name), known)
        if code:
            yield Refusal(code, field.name)


def _own(field: CrmField, value: Any, known: Mapping[str, set[str]]) -> str:
    """The rule of one field that its value breaks. Types are right by construction of the payloads above."""
    if value in (None, ""):
        return "REQUIRED_FIELD_MISSING" if field.is_required else ""
    if not field.is_writable:
        return "FIELD_NOT_WRITABLE"
    if isinstance(value, str):
        if field.max_length is not None and len(value) > field.max_length:
            return "STRING_TOO_LONG"
        if field.options and value not in field.options:
            return "INVALID_OPTION"
        return "INVALID_FORMAT" if field.pattern and not re.fullmatch(field.pattern, value) else ""
    if field.minimum is not None and not (field.minimum <= value <= (field.maximum or 0)):
        return "NUMBER_OUT_OF_RANGE"
    return ""


def _reference(field: CrmField, value: Any, known: Mapping[str, set[str]]) -> str:
    return "REFERENCE_NOT_FOUND" if field.reference and value and value not in known[field.reference] else ""


def flattened(payload: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in payload.items():
        if isinstance(value, dict):
            found |= flattened(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def written(value: Any) -> str:
    """JSON with sorted names and every digit of a decimal: two values are the same bytes, or they differ."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{written(name)}:{written(value[name])}" for name in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(written(item) for item in value) + "]"
    return format(value, "f") if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)


assert set(COUNTRY_NAMES) == set(COUNTRIES.fields[0].options)
