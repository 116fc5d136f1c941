"""Which record failed: by position, index, correlation id, key or lists of keys, as the operation declares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from syncs.destinations.http_api import paths
from syncs.destinations.http_api.config import Flag, KeyList, Locator, LocatorKind
from syncs.destinations.http_api.encoding import key_of
from syncs.destinations.http_api.patterns import search
from syncs.records import Record


@dataclass(slots=True)
class Found:
    """What an answer says of single records, by their position in the batch.

    ``failed``: position -> (item, kind of list it stood in). ``written``: position -> result item. ``is_sure`` False: something
    could not be placed (unknown id, wrong number of results, counts that do not fit), so silence proves nothing.
    ``has_results``: the answer lists what was written, so a record it leaves out was not accounted for.
    """

    failed: dict[int, tuple[Any, KeyList | None]] = field(default_factory=dict)
    written: dict[int, Any] = field(default_factory=dict)
    is_sure: bool = True
    has_results: bool = False


class Finder:
    """For one operation and batch."""

    def __init__(self, locator: Locator, key_field: str, records: Sequence[Record]) -> None:
        self._locator = locator
        self._count = len(records)
        self._records = records
        self._key_field = key_field
        self._by_key: dict[str, dict[str, list[int]]] = {}

    def find(self, data: Any) -> Found:
        found = Found()
        locator = self._locator
        if locator.kind is LocatorKind.KEY_LISTS:
            self._read_lists(data, found)
        if locator.errors is not None:
            self._read_errors(data, found)
        if locator.results is not None:
            self._read_results(data, found)
        self._compare_counts(data, found)
        return found

    def _read_lists(self, data: Any, found: Found) -> None:
        for path, kind in self._locator.lists.items():
            for item in paths.every(data, path):
                self._fail(item, self._positions_of_keys([item], kind.key), found, kind)

    def _read_errors(self, data: Any, found: Found) -> None:
        locator = self._locator
        for item in paths.every(data, locator.errors or ""):
            if item is None or (locator.only is not None and not holds(locator.only, item)):
                continue
            match locator.kind:
                case LocatorKind.INDEX:
                    positions = self._indexes(item)
                case LocatorKind.CORRELATION:
                    positions = self._correlated(paths.every(item, locator.id))
                    if not positions and locator.key:
                        positions = self._positions_of_keys(self._keys(item))
                case _:
                    positions = self._positions_of_keys(self._keys(item))
            self._fail(item, positions, found, None)

    def _fail(self, item: Any, positions: list[int], found: Found, kind: KeyList | None) -> None:
        if not positions:
            found.is_sure = False
        for position in positions:
            found.failed.setdefault(position, (item, kind))

    def _read_results(self, data: Any, found: Found) -> None:
        locator = self._locator
        results = paths.first(data, locator.results or "")
        if not isinstance(results, list):
            found.is_sure = False
            return
        for path in locator.more_results:
            results = [*results, *paths.every(data, path)]
        is_placed = locator.kind is LocatorKind.POSITION or bool(locator.result_id)
        if not is_placed or locator.kind is LocatorKind.POSITION:
            expected = self._count - (len(found.failed) if locator.errors is not None else 0)
            if len(results) != expected:
                found.is_sure = False
                return
        if not is_placed:
            return
        found.has_results = True
        if locator.kind is LocatorKind.POSITION and not locator.result_id and not found.failed:
            if all_hold(locator.ok, results):
                found.written = dict(enumerate(results))
                return
            for number, item in enumerate(results):  # the usual case, and the only loop over every record that is written
                if self._is_written(item):
                    found.written[number] = item
                else:
                    found.failed[number] = (item, None)
            return
        for number, item in enumerate(results):
            free = [p for p in self._places(number, item) if p not in found.written and p not in found.failed]
            if not free:
                found.is_sure = False
            elif self._is_written(item):
                found.written[free[0]] = item
            else:
                found.failed[free[0]] = (item, None)

    def _places(self, number: int, item: Any) -> list[int]:
        """Where a result may belong. Several places only where records of the batch share a key."""
        locator = self._locator
        if locator.kind is LocatorKind.POSITION:
            is_ours = not locator.result_id or self._is_key_of(number, paths.first(item, locator.result_id))
            return [number] if is_ours else []
        values = paths.every(item, locator.result_id)
        return self._correlated(values) if locator.kind is LocatorKind.CORRELATION else self._positions_of_keys(values)

    def _is_written(self, item: Any) -> bool:
        locator = self._locator
        if locator.ok is not None:
            return holds(locator.ok, item)
        if locator.error_at:
            return paths.first(item, locator.error_at) in (paths.MISSING, None, "", False, [], {})
        return True

    def _compare_counts(self, data: Any, found: Found) -> None:
        locator = self._locator
        expected = {locator.written_count: self._count - len(found.failed), locator.failed_count: len(found.failed)}
        for path, number in expected.items():
            if path and paths.first(data, path) != number:
                found.is_sure = False
        if locator.least_count:
            least = paths.first(data, locator.least_count)
            if isinstance(least, int) and least < self._count - len(found.failed):
                found.is_sure = False

    # -- from what an item says to positions

    def _indexes(self, item: Any) -> list[int]:
        locator = self._locator
        if locator.pattern:
            where = (locator.pattern_at,) if locator.pattern_at else locator.message
            told = next((found for path in where if (found := paths.text(item, path))), "")
            match = search(locator.pattern, told if where else paths.as_text(item))
            values: list[Any] = [match["index"]] if match is not None else []
        else:
            values = paths.every(item, locator.index)
        positions = [_integer(value) for value in values]
        return [p - locator.base for p in positions if p is not None and 0 <= p - locator.base < self._count]

    def _correlated(self, values: list[Any]) -> list[int]:
        positions = [_integer(value) for value in values]
        return [position for position in positions if position is not None and 0 <= position < self._count]

    def _keys(self, item: Any) -> list[Any]:
        return next((values for path in self._locator.key if (values := paths.every(item, path))), [])

    def _positions_of_keys(self, values: list[Any], key_field: str = "") -> list[int]:
        key_field = key_field or self._key_field
        by_key = self._by_key.get(key_field)
        if by_key is None:
            by_key = self._by_key[key_field] = {}
            for position, record in enumerate(self._records):
                by_key.setdefault(_folded(key_of(record, key_field)), []).append(position)
        return [position for value in values for position in by_key.get(_folded(value), ())]

    def _is_key_of(self, position: int, value: Any) -> bool:
        return value is not paths.MISSING and _folded(value) == _folded(key_of(self._records[position], self._key_field))


def all_hold(flag: Flag | None, results: list[Any]) -> bool:
    """Whether every result plainly holds the flag. A quick look for the usual answer; False may also mean: look closely."""
    if flag is None or type(flag.equals) is list or not flag.path.isidentifier():
        return False
    name, wanted, kind = flag.path, flag.equals, type(flag.equals)
    return all(type(item) is dict and type(value := item.get(name)) is kind and value == wanted for item in results)


def holds(flag: Flag, data: Any) -> bool:
    """The value at the flag's path is the wanted one, or one of several. 1 is not true, and "1" is neither."""
    value = paths.first(data, flag.path)
    if value is paths.MISSING:
        return False
    wanted = flag.equals
    if type(wanted) is list:
        return any(value == item and type(value) is type(item) for item in wanted)
    return bool(value == wanted) and type(value) is type(wanted)


def _integer(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10 else None


def _folded(value: Any) -> str:
    """Destinations lower-case mail addresses and trim blanks; their echo is still the same key."""
    return paths.as_text(value).strip().casefold()
