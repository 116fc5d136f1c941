"""Examples made from schemas, for operations that bring none of their own: small, and right by the schema."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

Found = dict[str, Any]
_JSON = "application/json"
_DEEP = 6
_PLAIN = ("none", "a", "1", "09:30", "0" * 64)  # tried where a text must be of some form
UNKNOWN = "…"  # no text of that form is known here
_FORMATS = {
    "date-time": "2026-11-23T09:30:00Z",
    "date": "2026-11-23",
    "time": "09:30:00",
    "uuid": "0197f1a2-6c1e-7d34-9b4e-0f4b6a1d2c3e",
    "uri": "https://hooks.example.com/redrive",
    "email": "ana@example.com",
    "ipv4": "203.0.113.7",
}
_NAMED = {
    "username": "ana", "name": "Accounts to CRM", "prefix": "k3v9x2m7q1zt", "key": "rd_k3v9x2m7q1zt_…", "act": "changed",
    "reason": "Corrected in the warehouse", "note": "Told the vendor", "field": "phone", "destination_field": "phone",
    "message": "Property “phone” is not a valid phone number", "error_code": "INVALID_PHONE", "column": "phone",
    "query": "SELECT id, name FROM accounts", "target_type": "sync", "url": "https://hooks.example.com/redrive",
    "title": "Accounts to CRM is late", "sha256": "0" * 64,
}  # fmt: skip


def fill(operation: Found, components: Found) -> None:
    """An example for the body that is sent and for each body that is given back, where there is none."""
    for content in operation.get("requestBody", {}).get("content", {}).items():
        _fill(content, components, "Request", is_sent=True)
    for status, answer in operation["responses"].items():
        if status.startswith("2"):
            for content in answer.get("content", {}).items():
                _fill(content, components, "Answer", is_sent=False)


def _fill(content: tuple[str, Found], components: Found, name: str, *, is_sent: bool) -> None:
    kind, about = content
    if kind == _JSON and "examples" not in about and "schema" in about:
        about["examples"] = {name: {"value": made(about["schema"], components, is_sent=is_sent)}}


def resolved(schema: Mapping[str, Any], components: Found) -> Mapping[str, Any]:
    """Without references; of several shapes the first that is not null."""
    while True:
        if "$ref" in schema:
            schema = components["schemas"][schema["$ref"].rpartition("/")[2]]
        elif several := schema.get("allOf") or schema.get("oneOf") or schema.get("anyOf"):
            schema = next((one for one in several if one.get("type") != "null"), several[0])
        else:
            return schema


def _may_be_null(schema: Mapping[str, Any]) -> bool:
    several = schema.get("oneOf") or schema.get("anyOf") or ()
    return "null" in schema.get("type", ()) or any(one.get("type") == "null" for one in several)


def made(schema: Mapping[str, Any], components: Found, *, is_sent: bool, name: str = "", depth: int = 0) -> Any:
    if depth > _DEEP and _may_be_null(schema):
        return None  # what refers to itself has an end
    schema = resolved(schema, components)
    for given in ("example", "const", "default"):
        if given in schema and schema[given] is not None and not isinstance(schema[given], dict):
            return schema[given]
    if "enum" in schema:
        return next((value for value in schema["enum"] if value is not None), None)
    kinds = schema.get("type", "object" if "properties" in schema else None)
    kind = next((one for one in kinds if one != "null"), "null") if isinstance(kinds, list) else kinds
    if kind == "object" and depth > 2 * _DEEP:
        return {}
    if kind == "object":
        return _object(schema, components, is_sent=is_sent, depth=depth)
    if kind == "array":
        wanted = max(schema.get("minItems", 0), 0 if depth > _DEEP or is_sent else 1)
        return [made(schema.get("items", {}), components, is_sent=is_sent, name=name, depth=depth + 1)] * wanted
    if kind == "integer":
        return max(schema.get("minimum", 1), min(1, schema.get("maximum", 1)))
    if kind == "number":
        return schema.get("minimum", 1.5)
    if kind == "boolean":
        return True
    return _text(schema, name) if kind == "string" else None if kind == "null" else {}


def _object(schema: Mapping[str, Any], components: Found, *, is_sent: bool, depth: int) -> Found:
    """Sent: what is required, else the first there is. Given back: all of it."""
    fields = schema.get("properties", {})
    required = schema.get("required", [])
    chosen = [name for name in fields if name in required] if is_sent or depth > _DEEP else list(fields)
    if is_sent and not chosen and depth == 0:
        chosen = list(fields)[:1]
    found = {name: made(fields[name], components, is_sent=is_sent, name=name, depth=depth + 1) for name in chosen}
    return {name: value for name, value in found.items() if value is not UNKNOWN or name in required}


def _text(schema: Mapping[str, Any], name: str) -> str:
    text = _FORMATS.get(schema.get("format", "")) or _NAMED.get(name) or "text"
    least, most = schema.get("minLength", 0), schema.get("maxLength", len(text))
    text = text[:most].ljust(least, "a")
    if "pattern" not in schema:
        return text
    return next((one for one in (text, *_PLAIN) if re.search(schema["pattern"], one)), UNKNOWN)
