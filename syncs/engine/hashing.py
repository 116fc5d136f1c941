"""Keys and hashes: canonical JSON of a payload, its 64-bit hash, the row key as text, the idempotency key of a batch."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from hashlib import blake2b
from typing import Any
from uuid import UUID

import orjson
from xxhash import xxh3_64_intdigest

from syncs.records import Operation, Record, RowValues

MAX_KEY_LENGTH = 255
_SIGN, _WRAP = 1 << 63, 1 << 64
KEY_SEPARATOR = "\x1f"  # the ledger joins keys with it, so no key may hold it
# Keys are text: the option for other keys costs half as much again. The newline is there to be cut off, see below.
_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE


def _exact(value: Any) -> Any:
    """Decimal as a JSON number with all its digits; what has no JSON form at all as text."""
    text = str(value)
    if value.__class__ is Decimal:
        if "E" not in text and "N" not in text and "I" not in text:
            return orjson.Fragment(text)
        if value.is_finite():
            return orjson.Fragment(format(value, "f"))
    return text


def canonical_body(payload: Any) -> bytes:
    """Canonical JSON: sorted keys, no spaces, UTF-8, Decimals as exact numbers.

    Raises ``UnicodeEncodeError`` for text that is not valid Unicode (lone surrogates).
    """
    try:
        # Cut, and so copied: orjson hands out its whole 4 KB buffer, which thousands of waiting bodies would keep.
        return orjson.dumps(payload, _exact, _OPTIONS)[:-1]
    except TypeError:  # integers beyond 64 bits, lone surrogates, keys that are not text, deep nesting: rare, so the slow way
        return _slow_body(payload).encode()


def _slow_body(value: Any) -> str:
    if isinstance(value, dict):
        items = sorted((str(key), item) for key, item in value.items())
        return "{" + ",".join(f"{json.dumps(key, ensure_ascii=False)}:{_slow_body(item)}" for key, item in items) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(_slow_body(item) for item in value) + "]"
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Decimal) and value.is_finite():
        return format(value, "f")
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    if isinstance(value, float):
        return "null"
    return json.dumps(str(value), ensure_ascii=False)


def hash64(data: bytes) -> int:
    """Signed 64-bit hash (XXH3), as the ledger stores it. It tells content apart; it protects nothing."""
    digest = xxh3_64_intdigest(data)
    return digest if digest < _SIGN else digest - _WRAP


def row_json(columns: Sequence[str], row: RowValues) -> str:
    """The warehouse row as JSON text for the dead letter. Never fails: what has no JSON form becomes text."""
    named = dict(zip(columns, row, strict=False))
    try:
        return orjson.dumps(named, default=_readable, option=orjson.OPT_NON_STR_KEYS).decode()
    except (TypeError, ValueError):
        return json.dumps(named, default=_readable_plain, ensure_ascii=True)


def _readable(value: Any) -> Any:
    if isinstance(value, Decimal) and value.is_finite():
        return orjson.Fragment(format(value, "f").encode())
    return _readable_plain(value)


def _readable_plain(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray, memoryview)):
        data = bytes(value)
        return "0x" + data[:4096].hex() + ("…" if len(data) > 4096 else "")
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    return str(value)


def hash_row(columns: Sequence[str], row: RowValues) -> int:
    """Hash of a row whose key says nothing."""
    return hash64(row_json(columns, row).encode("utf-8", "surrogatepass"))


def hash_unmapped(columns: Sequence[str], row: RowValues) -> int:
    """Hash of a row that could not be mapped. Never that of a payload: where fields are named like columns, the two read the
    same, and once the mapping is mended the row would count as the content that is held back."""
    return hash64(b"\x00" + row_json(columns, row).encode("utf-8", "surrogatepass"))


def key_text(value: Any) -> str | None:
    """One key column as text; None for NULL, empty or blank text, and for numbers that equal nothing (NaN)."""
    if value.__class__ is int:
        return str(value)
    if value is None:
        return None
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, Decimal):
        return _decimal_key(value)
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex() or None
    if isinstance(value, (int, UUID)):
        return str(value)
    return canonical_body(value).decode()


def _decimal_key(value: Decimal) -> str | None:
    if not value.is_finite():
        return None
    return format(value, "f")


def row_key(values: Sequence[Any]) -> str | None:
    """The row key of one row: the text of a single key column, a JSON array of texts for several. None where any is NULL."""
    if len(values) == 1:
        return key_text(values[0])
    parts = [key_text(value) for value in values]
    if any(part is None for part in parts):
        return None
    return json.dumps(parts, ensure_ascii=False, separators=(",", ":"))


def split_key(key: str, width: int) -> tuple[str, ...]:
    """The key columns' texts of a row key made of ``width`` columns."""
    return (key,) if width == 1 else tuple(json.loads(key))


def key_problem(key: str) -> str:
    """Why this text cannot be a row key, or "" when it can."""
    if len(key) > MAX_KEY_LENGTH:
        return f"The row key has {len(key):,} characters; {MAX_KEY_LENGTH} is the most."
    if "\x00" in key or KEY_SEPARATOR in key:
        return "The row key holds a control character (NUL or U+001F)."
    try:
        key.encode()
    except UnicodeEncodeError:
        return "The row key is not valid Unicode."
    return ""


def idempotency_key(sync_id: int, operation: Operation, records: Iterable[Record]) -> str:
    """32 hex digits from sync, operation, row keys and content: the same after a crash, another when the content differs.

    Independent of the order of the records. A derived key needs no storage to survive the loss of the intent.
    """
    digest = blake2b(f"{sync_id}\x00{operation.value}".encode(), digest_size=16, person=b"redrive-batch")
    parts = sorted(
        [f"{record.key}\x01{record.payload_hash if record.sent_hash is None else record.sent_hash}" for record in records]
    )
    digest.update("\x00".join(parts).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
