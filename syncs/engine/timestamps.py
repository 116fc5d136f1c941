"""Dates and timestamps: from warehouse values and text to ISO 8601, timestamps in UTC with ``Z``."""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from syncs.engine.values import CoercionError, finite, utc_text

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}([.,]\d{1,9})?)?\s*(Z|z|[+-]\d{2}(:?\d{2})?)?", re.ASCII)
_FRACTION = re.compile(r"[.,](\d+)")
_UNITS = {"seconds": 1, "milliseconds": 1_000, "microseconds": 1_000_000}
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_LONGEST = 64


def date_coercer(options: Mapping[str, Any]) -> Callable[[Any], str]:
    """From date, timestamp (its day in the assumed zone), ISO text, or text of the option ``format``."""
    zone, form = _zone(options), options.get("format")

    def coerce(value: Any) -> str:
        if type(value) is dt.date:
            return value.isoformat()
        if isinstance(value, dt.datetime):
            return _in_zone(value, zone).date().isoformat()
        if isinstance(value, dt.date):
            return value.isoformat()
        if isinstance(value, str):
            text = value.strip()
            if form:
                return _by_format(text, form, value, "a date").date().isoformat()
            if len(text) <= _LONGEST and _DATE.fullmatch(text):
                return _date(text, value).isoformat()
            if len(text) <= _LONGEST and _MOMENT.fullmatch(text):
                return _in_zone(_moment(text, value, "a date"), zone).date().isoformat()
            raise CoercionError("wrong_type", "is not a date (YYYY-MM-DD)", value)
        raise CoercionError("wrong_type", "is not a date", value)

    return coerce


def timestamp_coercer(options: Mapping[str, Any]) -> Callable[[Any], str]:
    """From timestamp, date (midnight), ISO text, text of ``format``, or numbers as ``epoch`` says.

    Values without a zone are taken to be in the option ``timezone``.
    """
    zone, form = _zone(options), options.get("format")
    epoch = options.get("epoch") or "reject"
    precision = options.get("precision") or "auto"
    written = utc_text if precision == "auto" else _written_to(precision)

    def aware(moment: dt.datetime) -> dt.datetime:
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)

    def coerce(value: Any) -> str:
        if isinstance(value, dt.datetime):
            return written(aware(value))
        if isinstance(value, dt.date):
            return written(dt.datetime.combine(value, dt.time(), zone))
        if isinstance(value, str):
            return written(aware(_from_text(value, form)))
        if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
            if epoch == "reject":
                raise CoercionError("wrong_type", "is not a timestamp; does it count from 1970? Set the option “epoch”", value)
            return written(_from_epoch(value, _UNITS[epoch]))
        raise CoercionError("wrong_type", "is not a timestamp", value)

    return coerce


def parse_moment(text: str) -> dt.datetime:
    """ISO 8601 text as a timestamp, naive where it carries no zone. Raises ``CoercionError``."""
    return _from_text(text, None)


def _zone(options: Mapping[str, Any]) -> dt.tzinfo:
    name = options.get("timezone") or "UTC"
    return dt.UTC if name == "UTC" else zoneinfo.ZoneInfo(name)


def _in_zone(moment: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    if moment.tzinfo is None:
        return moment
    try:
        return moment.astimezone(zone)
    except (OverflowError, ValueError):
        raise CoercionError("out_of_range", "lies outside the years 1 to 9999 in the assumed time zone", moment) from None


def _from_text(value: str, form: str | None) -> dt.datetime:
    text = value.strip()
    if form:
        return _by_format(text, form, value, "a timestamp")
    if len(text) > _LONGEST:
        raise CoercionError("wrong_type", "is not a timestamp", value)
    if _DATE.fullmatch(text):
        return dt.datetime.combine(_date(text, value), dt.time())
    if _MOMENT.fullmatch(text):
        return _moment(text, value, "a timestamp")
    raise CoercionError("wrong_type", "is not a timestamp (YYYY-MM-DDTHH:MM:SS)", value)


def _date(text: str, value: Any) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError as problem:
        raise CoercionError("wrong_type", f"is not a date ({problem})", value) from None


def _moment(text: str, value: Any, expected: str) -> dt.datetime:
    # Nanoseconds (Snowflake, BigQuery) are cut to what a timestamp holds; 3.11 would refuse some lengths of fraction.
    text = _FRACTION.sub(lambda found: "." + found[1][:6].ljust(6, "0"), text.replace(" ", "T", 1).replace(" ", ""))
    try:
        return dt.datetime.fromisoformat(text.upper())
    except ValueError as problem:
        raise CoercionError("wrong_type", f"is not {expected} ({problem})", value) from None


def _by_format(text: str, form: str, value: Any, expected: str) -> dt.datetime:
    try:
        if len(text) > _LONGEST * 4:
            raise ValueError
        return dt.datetime.strptime(text, form)  # noqa: DTZ007 - the assumed zone is applied by the caller
    except (ValueError, OverflowError):
        raise CoercionError("wrong_type", f"is not {expected} of the format {form}", value) from None


def _from_epoch(value: float | Decimal, unit: int) -> dt.datetime:
    try:
        if isinstance(value, float):
            finite(value)
        elif isinstance(value, Decimal) and not value.is_finite():
            raise CoercionError("not_finite", "is not a finite number", value)
        return _EPOCH + dt.timedelta(microseconds=int(value * (1_000_000 // unit)))
    except (OverflowError, ArithmeticError):
        raise CoercionError("out_of_range", "lies outside the years 1 to 9999 as a timestamp", value) from None


def _written_to(precision: str) -> Callable[[dt.datetime], str]:
    def written(moment: dt.datetime) -> str:
        try:
            return moment.astimezone(dt.UTC).isoformat(timespec=precision)[:-6] + "Z"
        except (OverflowError, ValueError):
            raise CoercionError("out_of_range", "lies outside the years 1 to 9999 once it is in UTC", moment) from None

    return written
