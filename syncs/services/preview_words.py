"""Rows of a preview as somebody may see them: values masked as on every page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from syncs.services import masks
from syncs.services.previews import Preview, PreviewRow


@dataclass(frozen=True, slots=True)
class MaskedRow:
    """``row``: for what needs no mask. ``error``: why it cannot be sent; ``violations``: (destination field, sentence)."""

    row: PreviewRow
    values: dict[str, Any]
    payload: dict[str, Any] | None
    error: str
    violations: Sequence[tuple[str, str]]


def masked(found: Preview) -> list[MaskedRow]:
    mask = masks.build()
    return [_masked(mask, found.columns, row) for row in found.rows]


def _masked(mask: masks.PageMask, columns: tuple[str, ...], row: PreviewRow) -> MaskedRow:
    texts = [issue.message for issue in row.violations] + ([row.error.message] if row.error else [])
    values, payload, said = masks.shown(mask, columns, row.values, row.payload, texts)
    fields = [issue.field for issue in row.violations]
    return MaskedRow(row, values, payload, said[-1] if row.error else "", list(zip(fields, said, strict=False)))
