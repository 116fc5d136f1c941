"""Exact numbers of rows and payloads as JSON."""

from __future__ import annotations

from decimal import Decimal
from typing import Any


def json_numbers(value: Any) -> Any:
    """``Decimal`` as a JSON number where a float holds the very same digits, else as a text: nothing is rounded in silence."""
    if isinstance(value, Decimal):
        near = float(value)
        return near if value.is_finite() and Decimal(repr(near)) == value else str(value)
    if isinstance(value, dict):
        return {name: json_numbers(inner) for name, inner in value.items()}
    return [json_numbers(inner) for inner in value] if isinstance(value, list) else value
