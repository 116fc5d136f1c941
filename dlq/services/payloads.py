"""Payloads as people read and correct them: parsed strictly, written exactly, compared field by field."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from dlq.services.moves import ActRefusedError
from syncs.engine.hashing import canonical_body
from syncs.engine.paths import parse_path
from syncs.engine.strict_json import DoubledNameError, NoJsonConstantError, strict_loads
from syncs.engine.values import CoercionError, json_value, shown

MAX_BYTES = 1_000_000  # of a payload as it is sent
MAX_TYPED = 2_000_000  # characters of what was typed, with its spaces
_INDENT = "  "
_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
_MISSING = object()


@dataclass(frozen=True, slots=True)
class FieldDiff:
    """One field of two payloads. ``before`` and ``after`` are JSON; None: the field is not there."""

    field: str
    before: str | None
    after: str | None

    @property
    def kind(self) -> str:
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"


def parsed(text: str) -> dict[str, Any]:
    """A payload that somebody wrote: a JSON object, numbers exact. Raises ``ActRefusedError`` naming the place or the field."""
    if len(text) > MAX_TYPED:
        raise _refused(f"The payload has {len(text):,} characters; {MAX_TYPED:,} is the most.")
    try:
        found = strict_loads(text, parse_float=Decimal)
    except json.JSONDecodeError as problem:
        raise _refused(f"This is not JSON: {problem.msg} in line {problem.lineno}, column {problem.colno}.") from None
    except RecursionError:
        raise _refused("The payload is nested too deeply.") from None
    except DoubledNameError as problem:
        raise _refused(f"Field {shown(problem.name)} is there twice. Keep one of the two.") from None
    except NoJsonConstantError as problem:
        raise _refused(f"{problem.name} is not JSON. Write a number, or null.") from None
    except (ValueError, ArithmeticError) as problem:  # a number of thousands of digits
        raise _refused(f"The payload holds a number that cannot be read: {problem}.") from None
    if not isinstance(found, dict):
        raise _refused("A payload is a JSON object: it starts with { and ends with }.")
    payload = {}
    for name, value in found.items():
        try:
            payload.update(json_value({name: value}))
        except CoercionError as problem:
            raise _refused(f"Field {shown(name)} {problem.reason}.") from None
        except RecursionError:
            raise _refused(f"Field {shown(name)} is nested too deeply.") from None
    return payload


def body_of(payload: Mapping[str, Any]) -> str:
    """The text that is stored and sent: canonical JSON. Raises ``ActRefusedError`` when it is too big."""
    body = canonical_body(payload)
    if len(body) > MAX_BYTES:
        raise _refused(f"The payload has {len(body):,} bytes; {MAX_BYTES:,} is the most.")
    return body.decode()


def body_text(payload: Mapping[str, Any]) -> str:
    """The payload as it goes into a call. Raises ``UnicodeEncodeError`` for half a surrogate pair."""
    return canonical_body(payload).decode()


def loaded(text: str) -> dict[str, Any]:
    """A stored payload, numbers exact; empty where it is none that can be laid out."""
    try:
        found = json.loads(text, parse_float=Decimal) if text else {}
        return found if isinstance(found, dict) else {}
    except (ValueError, RecursionError):
        return {}


def pretty(text: str) -> str:
    """A stored payload for an editor: indented, numbers exact, what the eye cannot see written as ``\\u202e``. As it is where
    it cannot be read."""
    try:
        return _written(json.loads(text, parse_float=Decimal), 0) if text else "{}"
    except (ValueError, RecursionError):
        return text


def diff(before: str, after: str) -> list[FieldDiff]:
    """What differs between two payloads (JSON texts), by dotted path, in the order of the paths; lists are compared whole."""
    then, now = ({path: _one_line(value) for path, value in leaves(loaded(text))} for text in (before, after))
    found = []
    for path in sorted({*then, *now}):
        old, new = then.get(path), now.get(path)
        if old != new:
            found.append(FieldDiff(path, old, new))
    return found


def changed_keys(before: str, after: str, key_fields: Sequence[str]) -> list[str]:
    """Those of the destination's key fields whose value is not the same in both payloads."""
    then, now = loaded(before), loaded(after)
    return [name for name in key_fields if not _is_same(_at(then, name), _at(now, name))]


def _at(payload: Mapping[str, Any], name: str) -> Any:
    node: Any = payload
    for part in parse_path(name).segments:
        if not isinstance(node, dict) or part not in node:
            return _MISSING
        node = node[part]
    return node


def _is_same(one: Any, other: Any) -> bool:
    if one is _MISSING or other is _MISSING:
        return one is other
    return canonical_body(one) == canonical_body(other)


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted path, value) of everything that is no object with members of its own; lists stay whole. Paths are written as a
    mapping names its destination fields, so dots within a name are not escaped (those of a table are: ``documents.leaves``)."""
    for name, value in values.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{path}.")
        else:
            yield path, value


def _one_line(value: Any) -> str:
    try:
        return canonical_body(value).decode()
    except UnicodeEncodeError:  # half a surrogate pair, in a row from elsewhere
        return json.dumps(value, default=str)


def _written(value: Any, depth: int) -> str:
    inner, outer = _INDENT * (depth + 1), _INDENT * depth
    if isinstance(value, dict) and value:
        lines = [f"{inner}{_text(name)}: {_written(item, depth + 1)}" for name, item in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{outer}}}"
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(f"{inner}{_written(item, depth + 1)}" for item in value) + f"\n{outer}]"
    if isinstance(value, str):
        return _text(value)
    return str(value) if isinstance(value, Decimal) else json.dumps(value)


def _text(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    if quoted.isascii() or quoted.isprintable():
        return quoted
    return "".join(json.dumps(sign)[1:-1] if unicodedata.category(sign) in _HIDDEN else sign for sign in quoted)


def _refused(sentence: str) -> ActRefusedError:
    return ActRefusedError(sentence, field="payload")
