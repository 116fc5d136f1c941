"""Serializers that take nothing in silence: names that are unknown or only read are errors with the field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rest_framework import serializers

BIGGEST_ID = 999_999_999_999_999_999
SPARSE = "application/vnd.redrive.sparse+json"  # an answer cut down by ``fields``: not all that its shape has


class Shape(serializers.Serializer[Any]):
    """What goes out or comes in. A value that comes in under a name that is not here, or is only read, is refused."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            wrong = dict(self._wrong(data))
            if wrong:
                raise serializers.ValidationError(wrong)
        return super().to_internal_value(data)

    def _wrong(self, data: Mapping[str, Any]) -> Iterable[tuple[str, list[str]]]:
        writable = [name for name, field in self.fields.items() if not field.read_only]
        for name in data:
            field = self.fields.get(name)
            if field is None:
                yield str(name)[:80], [f"There is no field of that name here. There are: {', '.join(writable) or 'none'}."]
            elif field.read_only:
                yield name, ["This field is only read. Leave it out."]
        if isinstance(self.parent, serializers.ListSerializer) and getattr(self.root, "partial", False):
            # An edit gives only a part of the whole; but an item of a list in it has nothing before that it could keep.
            for name in writable:
                if self.fields[name].required and name not in data:
                    yield name, ["This field is required."]


class Id(serializers.IntegerField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"min_value": 1, "max_value": BIGGEST_ID, **kwargs})


class StrictInteger(serializers.IntegerField):
    """A JSON integer; not a text, a fraction or true."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictNumber(serializers.FloatField):
    """A JSON number; not a text or true, and none that no float holds."""

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool) or not isinstance(data, int | float):
            self.fail("invalid")
        try:
            return float(data)
        except OverflowError:
            self.fail("invalid")


class StrictBoolean(serializers.BooleanField):
    """``true`` or ``false``; not a word that might mean it."""

    def to_internal_value(self, data: Any) -> bool:
        if data is not True and data is not False:
            self.fail("invalid", input=data)
        return bool(data)


class StrictText(serializers.CharField):
    """A JSON text; a number is not made one."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)
