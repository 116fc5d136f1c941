"""What an export holds: which columns, flat or whole, masked or not; and what is refused before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from dlq.resources import columns
from dlq.services import moves
from dlq.services.moves import ActRefusedError

JSON_COLUMNS = ("payload", "source_row")
# What people wrote, or a destination said: masked unless the export is raw.
TEXT_COLUMNS = ("row_key", "error_code", "message", "group", "request_id", "note", "close_reason", "response_excerpt")
PREFIX = "payload."
REST = "payload_rest"
PATHS_MAX = 500  # payload columns of a flat export; what has no column stands in ``payload_rest``
XLSX_ROWS = 1_048_575  # without the heading


class ExportFormat(StrEnum):
    CSV = "csv"
    XLSX = "xlsx"
    JSON = "json"
    JSONL = "jsonl"

    @property
    def content_type(self) -> str:
        return {
            "csv": "text/csv; charset=utf-8",
            "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            "json": "application/json",
            "jsonl": "application/x-ndjson",
        }[self.value]

    @property
    def label(self) -> str:
        return {"csv": "CSV", "xlsx": "Excel (XLSX)", "json": "JSON", "jsonl": "JSON Lines"}[self.value]


@dataclass(frozen=True, slots=True)
class Plan:
    """``columns``: names of resource columns, in order. ``paths``: the payload's columns of a flat export, found beforehand."""

    format: ExportFormat
    columns: tuple[str, ...]
    is_flat: bool = False
    is_raw: bool = False
    paths: tuple[str, ...] = ()

    @property
    def is_table(self) -> bool:
        return self.format in (ExportFormat.CSV, ExportFormat.XLSX)

    @property
    def names(self) -> tuple[str, ...]:
        """The header: a flat payload stands where ``payload`` was chosen, else at the end."""
        if not self.is_flat:
            return self.columns
        flat = (*(f"{PREFIX}{path}" for path in self.paths), REST)
        at = self.columns.index("payload") if "payload" in self.columns else len(self.columns)
        return (*self.columns[:at], *flat, *self.columns[at + 1 :])


def all_columns() -> tuple[str, ...]:
    return tuple(name for _attribute, name in columns())


def checked(format: str, chosen: Sequence[str], *, is_flat: bool, is_raw: bool) -> Plan:
    """Raises ``ActRefusedError`` naming the input. No columns chosen: all of them."""
    if format not in set(ExportFormat):
        raise ActRefusedError("Choose a file format: CSV, Excel, JSON or JSON Lines.", field="format")
    known = all_columns()
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise ActRefusedError(f"“{unknown[0][:60]}” is no column; there are {', '.join(known)}.", field="columns")
    return Plan(ExportFormat(format), tuple(dict.fromkeys(chosen)) or known, is_flat, is_raw)


def check_count(plan: Plan, count: int) -> None:
    if plan.format == ExportFormat.XLSX and count > XLSX_ROWS:
        raise ActRefusedError(
            f"A sheet holds at most {XLSX_ROWS:,} rows, but {count:,} are chosen. Choose CSV, or narrow the filter.",
            field="format",
        )


def checked_reason(reason: str, *, is_raw: bool) -> str:
    return moves.checked_reason(reason, is_required=is_raw)
