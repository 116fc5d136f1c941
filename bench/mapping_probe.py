"""Microseconds the compiled mapping takes per row of 10 mixed columns: python bench/mapping_probe.py [rows]."""

from __future__ import annotations

import datetime as dt
import sys
import time
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from syncs.engine.mapping import MappingField, compile_mapping

COLUMNS = ("id", "email", "first", "last", "score", "amount", "active", "born", "created_at", "tier")
TYPES = ("integer", "string", "string", "string", "integer", "decimal", "boolean", "date", "timestamp", "enum")
OPTIONS = {"email": {"trim": True, "max_length": 255}, "amount": {"scale": 2}, "tier": {"values": ["free", "pro"]}}


def row(number: int) -> tuple[object, ...]:
    moment = dt.datetime(2024, 1, 31, 12, 30, number % 60, tzinfo=dt.UTC)
    name = "Zoë" if number % 10 == 0 else "Ann"
    return (
        number,
        f"user{number}@example.com",
        name,
        "Smith",
        number % 100,
        Decimal("12.50"),
        True,
        moment.date(),
        moment,
        "pro",
    )


def measure(fields: list[MappingField], rows: list[tuple[object, ...]]) -> float:
    mapper = compile_mapping(fields, COLUMNS)
    best = float("inf")
    for _ in range(5):
        started = time.process_time()
        for values in rows:
            mapper(values)
        best = min(best, time.process_time() - started)
    return best / len(rows) * 1e6


def main() -> None:
    rows = [row(number) for number in range(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000)]
    kinds = zip(COLUMNS, TYPES, strict=True)
    typed = [MappingField(name, column=name, type=kind, options=OPTIONS.get(name, {})) for name, kind in kinds]
    plain = [MappingField(name, column=name, type="string") for name in COLUMNS[1:4]]
    template = [MappingField("name", kind="template", template="{{ first }} {{ last | upcase }}")]
    print(f"10 typed columns    {measure(typed, rows):6.2f} us/row")
    print(f"3 text columns      {measure(plain, rows):6.2f} us/row")
    print(f"one template        {measure(template, rows[:5000]):6.2f} us/row")


if __name__ == "__main__":
    main()
