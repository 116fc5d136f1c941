"""django-filter, strictly: a parameter that is unknown, empty, twice or not understood is an error, never no filter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import django_filters as df
from django import forms
from django.core.validators import RegexValidator
from django.db.models import QuerySet
from django.http import QueryDict
from django_filters.fields import IsoDateTimeField

from syncs.connectors import Issue
from syncs.rest.problems import InvalidError
from syncs.rest.shapes import BIGGEST_ID

PAGE_NAMES = ("limit", "cursor", "order", "fields")


class IdFilter(df.NumberFilter):
    """The number of something."""

    field_class = forms.IntegerField  # type: ignore[assignment]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"min_value": 1, "max_value": BIGGEST_ID, **kwargs})

    def get_max_validator(self) -> None:
        return None


class _Numbers(forms.CharField):
    """Several numbers, as a list of texts."""

    def clean(self, value: Any) -> list[int]:
        found = []
        for text in value or ():
            if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 18):
                raise forms.ValidationError(f"“{text[:60]}” is no number.")
            found.append(int(text))
        return found


class IdsFilter(df.Filter):
    """Any of several numbers: the parameter is given once for each."""

    field_class = _Numbers

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"widget": forms.MultipleHiddenInput, "lookup_expr": "in", **kwargs})

    def filter(self, qs: QuerySet[Any], value: Any) -> QuerySet[Any]:
        return super().filter(qs, value) if value else qs


class WordsFilter(df.MultipleChoiceFilter):
    """Any of several words of a list: the parameter is given once for each."""


class _Texts(forms.CharField):
    """Several texts, as a list."""

    def clean(self, value: Any) -> list[str]:
        return [super(_Texts, self).clean(text) for text in value or ()]


class TextFilter(df.CharFilter):
    """One text. ``pattern``: what all of it must be, as a regular expression."""

    def __init__(self, *args: Any, pattern: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **{"validators": _validators(pattern), **kwargs})
        self.pattern = pattern


class TextsFilter(df.Filter):
    """Any of several texts: the parameter is given once for each."""

    field_class = _Texts

    def __init__(self, *args: Any, pattern: str = "", **kwargs: Any) -> None:
        more = {"widget": forms.MultipleHiddenInput, "lookup_expr": "in", "validators": _validators(pattern)}
        super().__init__(*args, **{**more, **kwargs})
        self.pattern = pattern

    def filter(self, qs: QuerySet[Any], value: Any) -> QuerySet[Any]:
        return super().filter(qs, value) if value else qs


def _validators(pattern: str) -> list[RegexValidator]:
    return [RegexValidator(rf"\A(?:{pattern})\Z", f"It is not of the form {pattern}.")] if pattern else []


class FlagFilter(df.TypedChoiceFilter):
    """``true`` or ``false``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs = {"choices": [("true", "true"), ("false", "false")], "coerce": lambda text: text == "true", **kwargs}
        super().__init__(*args, **kwargs)


class _Moment(IsoDateTimeField):
    """Within years that every database and time zone can hold."""

    def clean(self, value: Any) -> Any:
        found = super().clean(value)
        if found is not None and not 1900 <= found.year <= 9000:
            raise forms.ValidationError("Give a year from 1900 to 9000.")
        return found


class TimeFilter(df.IsoDateTimeFilter):
    """A moment as ISO 8601, for example ``2026-11-23T09:30:00Z``."""

    field_class = _Moment


class StrictFilterSet(df.FilterSet):
    """``of(query, rows, user)`` gives the rows, or raises ``InvalidError`` with each parameter that is wrong.

    ``user``: whose rows they are; for filters that depend on the person.
    """

    def __init__(self, *args: Any, user: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    @classmethod
    def of(cls, query: QueryDict, rows: QuerySet[Any], *, user: Any = None) -> QuerySet[Any]:
        made = cls(query, rows, user=user)
        made.refuse(made.misread(query))
        return made.qs

    def misread(self, query: QueryDict) -> list[Issue]:
        """What of the address is no filter of this list, or no value of one."""
        found = [*self._unknown(query), *self._empty(query)]
        if not found and not self.is_valid():
            found = [Issue(name, " ".join(map(str, errors))) for name, errors in self.errors.items()]
        return found

    @staticmethod
    def refuse(found: Sequence[Issue]) -> None:
        """Raises ``InvalidError`` if there is anything."""
        if found:
            raise InvalidError(found, "The address filters by something that cannot be understood.")

    def _unknown(self, query: QueryDict) -> Iterable[Issue]:
        return unknown_names(query, (*self.filters, *PAGE_NAMES))

    def _empty(self, query: QueryDict) -> Iterable[Issue]:
        for name, values in query.lists():
            several = isinstance(self.filters.get(name), WordsFilter | IdsFilter | TextsFilter)
            if name in self.filters and any(not str(text).strip() for text in values):
                yield Issue(name, "It is empty. Give a value, or leave it out.")
            elif name in self.filters and len(values) > 1 and not several:
                yield Issue(name, f"Takes one value, but has {len(values)}.")


def unknown_names(query: QueryDict | Mapping[str, Any], known: Iterable[str]) -> Iterable[Issue]:
    names = tuple(dict.fromkeys(known))
    for name in query:
        if name not in names:
            yield Issue(name[:80], f"There is no parameter of that name here. There are: {', '.join(names) or 'none'}.")
