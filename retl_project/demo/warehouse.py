"""The demo's warehouse: the 28 thousand real airports of the ``airportsdata`` package, with their gaps and odd characters.

Nothing is invented: where the data has no city or an odd letter, so has the warehouse. Derived columns are what an analyst
would add: the last word of the name as the type of site, whether airlines fly there, whether the military uses it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import airportsdata
import sqlalchemy as sa

from retl_project.demo.countries import COUNTRY_NAMES

_MILITARY = re.compile(r"\b(Air Force|Army|Naval|Marine Corps|Military|RAF|AFB)\b")
_number = sa.Numeric(12, 6).with_variant(sa.Float(), "sqlite")
_time = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")

metadata = sa.MetaData()
airports = sa.Table(
    "airports",
    metadata,
    sa.Column("code", sa.String(8), primary_key=True),
    sa.Column("iata", sa.String(3)),
    sa.Column("local_code", sa.String(8)),
    sa.Column("name", sa.String(200)),
    sa.Column("city", sa.String(200)),
    sa.Column("subdivision", sa.String(200)),
    sa.Column("country", sa.String(2)),
    sa.Column("latitude", _number),
    sa.Column("longitude", _number),
    sa.Column("elevation_ft", _number),
    sa.Column("timezone", sa.String(60)),
    sa.Column("site_type", sa.String(60)),
    sa.Column("is_commercial", sa.Boolean),
    sa.Column("security_zone", sa.String(20)),
    sa.Column("updated_at", _time),
)
countries = sa.Table(
    "countries",
    metadata,
    sa.Column("code", sa.String(2), primary_key=True),
    sa.Column("name", sa.String(200)),
    sa.Column("region", sa.String(40)),
    sa.Column("airport_count", sa.Integer),
    sa.Column("updated_at", _time),
)


@cache
def released_at() -> datetime:
    """When the data set was published: its package is versioned by date (20260905)."""
    digits = re.sub(r"\D", "", version("airportsdata"))[:8]
    return datetime.strptime(digits, "%Y%m%d").replace(tzinfo=UTC)


def airport_rows(limit: int | None = None) -> list[dict[str, Any]]:
    """The airports by code, at most ``limit`` of them. An empty text is a gap: None."""
    found = sorted(airportsdata.load("ICAO").values(), key=lambda item: item["icao"])
    return [_airport(item) for item in found[:limit]]


def _airport(item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "code": item["icao"],
        "iata": item["iata"] or None,
        "local_code": item["lid"] or None,
        "name": item["name"],
        "city": item["city"] or None,
        "subdivision": item["subd"] or None,
        "country": item["country"],
        "latitude": item["lat"],
        "longitude": item["lon"],
        "elevation_ft": item["elevation"],
        "timezone": item["tz"],
        "site_type": re.sub(r"[^a-z]", "", item["name"].split()[-1].lower()) or None,
        "is_commercial": bool(item["iata"]),
        "security_zone": "military" if _MILITARY.search(item["name"]) else None,
        "updated_at": released_at(),
    }


def country_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The countries of the airports. Region: the area of the time zone that most of its airports keep (``Europe/Berlin``)."""
    count: Counter[str] = Counter()
    areas: dict[str, Counter[str]] = {}
    for row in rows:
        count[row["country"]] += 1
        areas.setdefault(row["country"], Counter())[row["timezone"].partition("/")[0]] += 1
    return [
        {
            "code": code,
            "name": COUNTRY_NAMES.get(code),
            "region": max(sorted(areas[code]), key=areas[code].__getitem__),
            "airport_count": count[code],
            "updated_at": released_at(),
        }
        for code in sorted(count)
    ]


def load(url: str, *, limit: int | None = None) -> int:
    """Fill an empty database of any SQLAlchemy URL with both tables, in one transaction; returns the number of airports."""
    engine = sa.create_engine(url)
    rows = airport_rows(limit)
    try:
        with engine.begin() as connection:
            metadata.create_all(connection)
            _insert(connection, airports, rows)
            _insert(connection, countries, country_rows(rows))
    finally:
        engine.dispose()
    return len(rows)


def _insert(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    if connection.dialect.name == "sqlite":  # it has no type for times
        rows = [{**row, "updated_at": row["updated_at"].isoformat()} for row in rows]
    for start in range(0, len(rows), 5000):
        connection.execute(table.insert(), rows[start : start + 5000])


def ensure_file(path: Path) -> int:
    """Build the SQLite warehouse unless it is there; what people changed in it stays. Returns the number of airports in it."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        unfinished.unlink(missing_ok=True)
        load(f"sqlite:///{unfinished}")
        unfinished.replace(path)
    engine = sa.create_engine(f"sqlite:///{path}")
    try:
        with engine.connect() as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(airports)).scalar_one())
    finally:
        engine.dispose()
