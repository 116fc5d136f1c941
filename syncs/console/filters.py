"""Filters of the console's lists: several values each, shown as popovers and chips, and strict: a wrong value is an error."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from django.contrib.admin import ListFilter
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from syncs.errors import ConfigError
from syncs.services import time_ranges
from syncs.services.time_ranges import PRESETS

Options = list[tuple[str, str]]


class OptionsFilter(ListFilter):
    """Any of several values. Subclasses name ``title``, ``parameter``, and give ``get_options`` and, if needed, ``apply``."""

    parameter: str
    lookup: str = ""
    template = "admin/redrive/filter_options.html"
    parameters: tuple[str, ...] = ()

    def __init_subclass__(cls) -> None:
        if hasattr(cls, "parameter"):
            cls.parameters = (cls.parameter,)

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: type[Model], model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        self.selected = [value for value in params.pop(self.parameter, []) if value]
        self.options = self.get_options(request)

    def get_options(self, request: HttpRequest) -> Options:
        raise NotImplementedError

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return [self.parameter]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.selected:
            return queryset
        known = {value for value, _ in self.options}
        wrong = [value for value in self.selected if value not in known]
        if wrong:
            raise IncorrectLookupParameters(f"{self.title}: there is no “{wrong[0][:60]}”.")
        return self.apply(queryset)

    def apply(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{f"{self.lookup or self.parameter}__in": self.selected})

    def choices(self, changelist: Any) -> Iterator[dict[str, Any]]:
        for value, label in self.options:
            yield {"value": value, "display": label, "selected": value in self.selected, "query_string": ""}

    def chips(self, changelist: Any) -> list[tuple[str, str]]:
        labels = dict(self.options)
        return [
            (
                f"{self.title}: {labels.get(value, value[:60])}",
                changelist.get_query_string({self.parameter: [v for v in self.selected if v != value] or None}),
            )
            for value in self.selected
        ]


class TimeFilter(ListFilter):
    """A preset (``since=24h``) or a range (``from``, ``to``: ISO times, UTC where no zone is given; ``to`` is exclusive)."""

    column: str
    template = "admin/redrive/filter_time.html"
    parameters = ("since", "from", "to")

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: type[Model], model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        self.texts = {name: (params.pop(name, None) or [""])[-1].strip() for name in self.parameters}

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return list(self.parameters)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        start, end = self.bounds(timezone.now())
        if start is not None:
            queryset = queryset.filter(**{f"{self.column}__gte": start})
        return queryset if end is None else queryset.filter(**{f"{self.column}__lt": end})

    def bounds(self, now: datetime) -> tuple[datetime | None, datetime | None]:
        """Raises ``IncorrectLookupParameters`` for what is no time, no preset, or a range that ends before it starts."""
        start, end = self._parse("from"), self._parse("to")
        try:
            return time_ranges.bounds(self.texts["since"], start, end, now=now)
        except ConfigError as error:
            raise IncorrectLookupParameters(f"{self.title}: {error.message}") from None

    def _parse(self, name: str) -> datetime | None:
        text = self.texts[name]
        if not text:
            return None
        try:
            value = parse_datetime(text) or datetime.fromisoformat(text)
        except ValueError:
            raise IncorrectLookupParameters(
                f"{self.title}: “{text[:40]}” is no time. Write it as 2026-11-23T07:00 (UTC)."
            ) from None
        return value if value.tzinfo else value.replace(tzinfo=UTC)

    def choices(self, changelist: Any) -> Iterator[dict[str, Any]]:
        for value, (label, _) in PRESETS.items():
            yield {"value": value, "display": label, "selected": self.texts["since"] == value, "query_string": ""}

    @property
    def selected(self) -> list[str]:
        return [text for text in self.texts.values() if text]

    def chips(self, changelist: Any) -> list[tuple[str, str]]:
        found = []
        for name, text in self.texts.items():
            if text:
                said = PRESETS[text][0].lower() if name == "since" and text in PRESETS else f"{name} {text[:40]}"
                found.append((f"{self.title}: {said}", changelist.get_query_string({name: None})))
        return found
