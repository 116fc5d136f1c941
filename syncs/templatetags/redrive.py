"""``{% load redrive %}``: the formats of ``syncs.console.formats`` in templates, and helpers of the console's own partials."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from syncs.console import formats

register = template.Library()


@register.filter
def rd_number(value: float | None) -> str:
    return formats.number(value)


@register.filter
def rd_time(value: datetime | None) -> SafeString | str:
    return formats.moment(value)


@register.filter
def rd_time_seconds(value: datetime | None) -> SafeString | str:
    return formats.moment(value, seconds=True)


@register.filter
def rd_ago(value: datetime | None) -> str:
    return formats.ago(value)


@register.filter
def rd_span(value: timedelta | float | None) -> str:
    return formats.span(value)


@register.simple_tag
def rd_badge(status: str, label: str | None = None) -> SafeString:
    return formats.badge(status, label)


@register.filter
def rd_json(value: Any) -> str:
    """Readable JSON; the template escapes it."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


@register.filter
def rd_compact(value: Any) -> str:
    return formats.compact_json(value)


@register.filter
def rd_value(value: Any) -> str:
    """A value as one line of JSON: texts in quotes, numbers with all their digits."""
    return formats.exact_json(value)


@register.filter
def rd_row(row: Any, columns: Iterable[str]) -> list[tuple[str, Any]]:
    """(column, value) of a preview row."""
    return list(zip(columns, row.values, strict=False))


@register.filter
def rd_flat(payload: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """(path, value) of a nested payload, in the mapping's notation: ``address.city``. Lists stay whole."""
    if not isinstance(payload, dict) or not payload:
        return [(prefix, payload)]
    return [pair for name, value in payload.items() for pair in rd_flat(value, f"{prefix}.{name}" if prefix else str(name))]


@register.filter
def rd_labelled(result: Iterable[str], headers: list[dict[str, Any]]) -> Iterator[SafeString]:
    """The cells of one change-list row, each with its column's name as ``data-label`` for the phone's cards."""
    is_first = True  # the first real cell is the card's heading and needs no label
    for cell, header in zip(result, headers, strict=False):
        label = ""
        if "action-checkbox" not in str(header.get("class_attrib", "")):
            label, is_first = ("" if is_first else str(header["text"]).capitalize()), False
        if label and cell.startswith("<td"):
            cell = mark_safe(format_html('<td data-label="{}"', label) + cell[3:])  # noqa: S308 - the cell is Django's own HTML
        yield cell  # type: ignore[misc]
