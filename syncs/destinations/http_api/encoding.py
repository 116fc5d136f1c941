"""From records to a request: path, headers, body. Where nothing needs changing, the records' own JSON is joined."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import orjson

from syncs.destinations.http_api import paths, tables
from syncs.destinations.http_api.config import BodyKind, Envelope, Nulls, OperationConfig, PerCall
from syncs.destinations.http_api.loading import PLACEHOLDER
from syncs.errors import ConfigError
from syncs.records import Record

_LIST_MARK = "redrive-list-goes-here"


class UnbuildableError(Exception):
    """This record cannot become a request; ``field`` says why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Encoder:
    """For one operation. ``options``: the sync's own values for ``{options.name}``."""

    def __init__(self, operation: OperationConfig, options: Mapping[str, Any]) -> None:
        self._operation = operation
        self._options = options
        self._envelope = operation.record
        self._is_plain = operation.record == Envelope()
        self._start, self._end = _wrapper(operation)
        drops_id = bool(self._envelope.id_at and self._envelope.id_from and not self._envelope.keeps_id)
        self._omitted = (*self._envelope.omit, self._envelope.id_from) if drops_id else self._envelope.omit
        self._changes_values = self._envelope.values_as_strings or self._envelope.nulls is not Nulls.NULL
        self._has_id_within = self._envelope.id_at.startswith(f"{self._envelope.properties_at}.")

    def path(self, record: Record | None, found: Mapping[str, str]) -> str:
        """``record`` None: a batch. Raises ``UnbuildableError``, or ``ConfigError`` for a missing option."""
        return self.filled(self._operation.path, record, found, is_path=True)

    def filled(self, template: str, record: Record | None, found: Mapping[str, str], *, is_path: bool) -> str:
        if "{" not in template:
            return template
        return PLACEHOLDER.sub(lambda match: self._place(match[1], record, found, is_path=is_path), template)

    def _place(self, name: str, record: Record | None, found: Mapping[str, str], *, is_path: bool) -> str:
        if name.startswith("options."):
            value = self._options.get(name.removeprefix("options."))
            if value in (None, ""):
                raise ConfigError(f"The sync must set the destination option “{name[8:]}”.", field=f"destination_{name}")
        elif name.startswith("found."):
            value = found.get(name.removeprefix("found."))
        elif record is not None:
            value = key_of(record, "" if name == "key" else name)
        else:
            value = None
        text = paths.as_text(value)
        if text in ("", ".", ".."):
            raise UnbuildableError(name, f"The path needs a value for “{name}”, and this row has none that a path can hold.")
        return quote(text, safe="") if is_path else text

    def body(self, records: Sequence[Record]) -> bytes | None:
        body = self._operation.body
        if body.kind is BodyKind.NONE:
            return None
        if body.kind is BodyKind.CONSTANTS:
            return encode(body.constants)
        if body.kind is BodyKind.CSV:
            return tables.written(map(self._data, records, itertools.count()), null_text=body.null_text)
        if self._is_plain:
            encoded: Iterable[bytes] = [record.body for record in records]
        else:
            encoded = [encode(self._data(record, position)) for position, record in enumerate(records)]
        return self._start + b",".join(encoded) + self._end

    def _data(self, record: Record, position: int) -> Any:
        envelope = self._envelope
        if envelope.value_of:
            return key_of(record, "" if envelope.value_of == "key" else envelope.value_of)
        properties: Any = record.payload
        for name in self._omitted:
            properties = paths.without(properties, name)
        if self._changes_values:
            properties = _converted(properties, envelope)
        if envelope.properties_at and self._has_id_within:
            properties = dict(properties)
        elif envelope.properties_at:
            is_changed = self._omitted or self._changes_values
            properties = properties if is_changed else orjson.Fragment(record.body)
        return self._wrapped(record, properties, position)

    def _wrapped(self, record: Record, properties: Any, position: int) -> dict[str, Any]:
        envelope = self._envelope
        if envelope.properties_at:
            data: dict[str, Any] = copy.deepcopy(envelope.constants)
            paths.put(data, envelope.properties_at, properties)
        else:
            data = {**properties, **copy.deepcopy(envelope.constants)}
        if envelope.id_at:
            value = key_of(record, envelope.id_from)
            paths.put(data, envelope.id_at, paths.as_text(value) if envelope.values_as_strings else value)
        if envelope.correlation_at:
            paths.put(data, envelope.correlation_at, str(position))
        return data


def key_of(record: Record, key_field: str) -> Any:
    """The value that identifies the record at the destination: a payload field, or the row key where none is named."""
    if not key_field:
        return record.key
    value = paths.first(record.payload, key_field)
    return None if value is paths.MISSING else value


def encode(value: Any) -> bytes:
    """JSON with Decimals as exact numbers and integers of any length."""
    try:
        return orjson.dumps(value, default=_exact)
    except TypeError:
        return orjson.dumps(_long_numbers(value), default=_exact)


def _exact(value: Any) -> Any:
    if isinstance(value, Decimal) and value.is_finite():
        return orjson.Fragment(format(value, "f").encode())
    return str(value)


def _long_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _long_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_long_numbers(item) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return orjson.Fragment(str(value).encode())
    return value


def _wrapper(operation: OperationConfig) -> tuple[bytes, bytes]:
    """What stands before and after the joined records."""
    if operation.per_call is PerCall.RECORD:
        return b"", b""
    if not operation.body.list_at:
        return b"[", b"]"
    data = copy.deepcopy(operation.body.constants)
    paths.put(data, operation.body.list_at, _LIST_MARK)
    start, _, end = encode(data).partition(f'"{_LIST_MARK}"'.encode())
    return start + b"[", b"]" + end


def _converted(properties: Mapping[str, Any], envelope: Envelope) -> dict[str, Any]:
    converted: dict[str, Any] = {}
    for name, value in properties.items():
        if value is None:
            if envelope.nulls is not Nulls.OMIT:
                converted[name] = None if envelope.nulls is Nulls.NULL else ""
        elif envelope.values_as_strings:
            converted[name] = _as_string(value)
        else:
            converted[name] = _converted(value, envelope) if isinstance(value, dict) else value
    return converted


def _as_string(value: Any) -> str:
    if isinstance(value, Decimal):
        return format(value, "f")
    return encode(value).decode() if isinstance(value, (dict, list)) else paths.as_text(value)
