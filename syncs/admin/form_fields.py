"""Form fields for values that are JSON in the database and plain text to people."""

from __future__ import annotations

import json
from typing import Any

from django import forms

from syncs.engine.strict_json import strict_loads


class LooseValueField(forms.CharField):
    """A JSON value written as people write it: ``5`` is a number, ``true`` a truth value, ``Berlin`` and ``"5"`` are texts.

    Empty means no value (None).
    """

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        if not text:
            return None
        return loose_value(text)

    def prepare_value(self, value: Any) -> str:
        return loose_text(value)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return loose_text(initial) != (data or "").strip()


def loose_value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def loose_text(value: Any) -> str:
    """The text that ``loose_value`` reads back as the same value."""
    if value is None:
        return ""
    if isinstance(value, str) and loose_value(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)


class ObjectField(forms.CharField):
    """A JSON object. The error names line and column; ``Infinity`` and doubled names are refused, as no API takes them."""

    widget = forms.Textarea

    def __init__(self, *, is_any: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.is_any = is_any

    def to_python(self, value: Any) -> Any:
        if isinstance(value, (dict, list)):
            return value
        text = (value or "").strip()
        if not text:
            return {} if not self.is_any else None
        try:
            loaded = strict_loads(text)
        except json.JSONDecodeError as error:
            raise forms.ValidationError(
                f"This is not valid JSON: {error.msg.lower()} at line {error.lineno}, column {error.colno}."
            ) from None
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None
        if not self.is_any and not isinstance(loaded, dict):
            raise forms.ValidationError('Write an object of names and values, for example {"name": "value"}.')
        return loaded

    def prepare_value(self, value: Any) -> str:
        if isinstance(value, str):
            return value
        return json.dumps(value, indent=2, ensure_ascii=False) if value else ""

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool((initial or {}) != (self.to_python(data) or {}))
        except forms.ValidationError:
            return True

    def validate(self, value: Any) -> None:
        if self.required and not value:
            raise forms.ValidationError(self.error_messages["required"], code="required")

    def run_validators(self, value: Any) -> None:
        return None
