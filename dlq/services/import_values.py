"""A line of a file of corrections against the payload as it is stored: what was really changed.

A value that stands in the file as it was exported, masked or not, is not changed. A mask is never taken for a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from dlq.services import documents
from dlq.services.documents import Document, Literal
from dlq.services.export_plan import PREFIX, REST
from dlq.services.masking import Masker
from dlq.services.masking_rules import HIDDEN
from dlq.services.moves import ActRefusedError

WHOLE = "payload"
_MISSING: Any = object()


class LineRefusedError(ActRefusedError):
    """This line cannot be taken. ``field``: its column."""


def corrected(texts: Mapping[str, str], cells: Mapping[str, str], masker: Masker) -> str | None:
    """The payload (JSON) that the line asks for; None when it changes nothing.

    ``texts``: the entry's ``payload`` and ``source_row``. Raises ``LineRefusedError``.
    """
    stored = documents.parse(texts["payload"])
    if stored is None or not isinstance(stored.value, dict):
        raise LineRefusedError("this entry's payload is no JSON object, so it cannot be corrected by a file", field=WHOLE)
    masked = masker.parsed(texts)[1]["payload"]
    assert masked is not None  # it was parsed a line above
    if WHOLE in cells:
        return _whole(texts["payload"], stored, masked, cells[WHOLE])
    return _flat(stored, masked, {name: text for name, text in cells.items() if name.startswith(PREFIX) or name == REST})


def _whole(text: str, stored: Document, masked: Document, given: str) -> str | None:
    if given in (text, stored.text(), masked.text()) or not given.strip():
        return None
    new = documents.parse(given)
    if new is None:
        raise LineRefusedError('is not JSON; a payload is an object like {"field": "value"}', field=WHOLE)
    if not isinstance(new.value, dict):
        raise LineRefusedError("is no JSON object: it starts with { and ends with }", field=WHOLE)
    return Document(_restored(new.value, stored.value, masked.value, ""), False).text()


def _restored(new: Any, stored: Any, masked: Any, path: str) -> Any:
    """``new`` with its masks replaced by the stored values they stand for."""
    if isinstance(new, dict):
        then = stored if isinstance(stored, dict) else {}
        # Members are masked in their order, so that a name that was masked itself is found by its place.
        places = dict(zip(masked, then, strict=True)) if isinstance(masked, dict) and len(masked) == len(then) else {}
        found = {}
        for name, value in new.items():
            real = places.get(name, name)
            inner = masked.get(name, _MISSING) if isinstance(masked, dict) else _MISSING
            if real == name and HIDDEN in name and name not in then:
                raise LineRefusedError(
                    f"holds the mask “{name[:60]}” for the name of a field", field=documents.join(path, name)
                )
            found[real] = _restored(value, then.get(real, _MISSING), inner, documents.join(path, name))
        return found
    if isinstance(new, list):
        items = stored if isinstance(stored, list) and len(stored) == len(new) else [_MISSING] * len(new)
        hidden = masked if isinstance(masked, list) and len(masked) == len(new) else [_MISSING] * len(new)
        return [_restored(*one, path) for one in zip(new, items, hidden, strict=True)]
    if type(new) is str and HIDDEN in new and new != stored:
        if new == masked and stored is not _MISSING:
            return stored
        raise _mask(new, path)
    return new


def _mask(text: str, path: str) -> LineRefusedError:
    return LineRefusedError(
        f"holds the mask “{text[:60]}” of another value; write the true value, or leave the cell as it was exported", field=path
    )


# --- Flat


def _flat(stored: Document, masked: Document, cells: Mapping[str, str]) -> str | None:
    then = dict(documents.leaves(stored.value))
    hidden = dict(zip(then, (value for _path, value in documents.leaves(masked.value)), strict=False))
    by_mask = dict(zip((path for path, _value in documents.leaves(masked.value)), then, strict=False))
    changes: dict[str, Any] = {}
    for column, text in cells.items():
        if column == REST:
            continue
        shown = column.removeprefix(PREFIX)
        path = shown if shown in then else by_mask.get(shown, shown)
        value = _changed(text, then.get(path, _MISSING), hidden.get(path, _MISSING), shown)
        if value is not _MISSING:
            changes[path] = value
    if cells.get(REST) and not _is_rest(cells[REST], masked, stored, cells):
        raise LineRefusedError("cannot be corrected here; export the payload whole to correct these fields", field=REST)
    return Document(_with(stored.value, changes), False).text() if changes else None


def _changed(text: str, stored: Any, masked: Any, path: str) -> Any:
    """The new value, of the kind that the stored one has; _MISSING when nothing is changed."""
    if stored is _MISSING:
        if HIDDEN in text:
            raise _mask(text, path)
        return text if text else _MISSING
    if text in (documents.cell(stored), documents.cell(masked)):
        return _MISSING
    if HIDDEN in text:
        raise _mask(text, path)
    if type(stored) is str or stored is None:
        return text
    if isinstance(stored, bool):
        if text.strip().lower() not in ("true", "false"):
            raise LineRefusedError("was true or false; write one of the two", field=path)
        found = text.strip().lower() == "true"
        return _MISSING if found is stored else found
    if isinstance(stored, (dict, list)):
        return _json(text, stored, masked, path)
    return _number(text, stored, path)


def _number(text: str, stored: Any, path: str) -> Any:
    new = documents.parse(text.strip())
    if new is None or not isinstance(new.value, (int, float, Literal)) or isinstance(new.value, bool):
        raise LineRefusedError("was a number; write one, such as -12.5, without separators for thousands", field=path)
    try:
        is_same = Decimal(documents.cell(new.value)) == Decimal(documents.cell(stored))  # 1.50 may have become 1.5
    except InvalidOperation:
        is_same = False
    return _MISSING if is_same else Literal(text.strip())


def _json(text: str, stored: Any, masked: Any, path: str) -> Any:
    new = documents.parse(text)
    if new is None or type(new.value) is not type(stored):
        kind = 'a list, such as ["a", "b"]' if isinstance(stored, list) else "an object, such as {}"
        raise LineRefusedError(f"was {kind}; write JSON of that kind", field=path)
    return _restored(new.value, stored, masked, path)


def _is_rest(text: str, masked: Document, stored: Document, cells: Mapping[str, str]) -> bool:
    """Whether the last column holds what has no column of its own, as it was exported."""
    given = documents.parse(text)
    for document in (masked, stored):
        left = {path: value for path, value in documents.leaves(document.value) if f"{PREFIX}{path}" not in cells}
        if (given is not None and given.value == left) or text == Document(left, document.is_plain).text():
            return True
    return False


def _with(stored: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with these paths set; objects on the way are copied, missing ones made."""
    result = dict(stored)
    for path, value in changes.items():
        *parents, last = documents.split(path)
        node = result
        for name in parents:
            inner = node.get(name, {})
            if not isinstance(inner, dict):
                raise LineRefusedError(f"lies inside of “{name[:60]}”, which is no object in this payload", field=path)
            node[name] = dict(inner)
            node = node[name]
        node[last] = value
    return result
