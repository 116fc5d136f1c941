"""Filters of lists that are looked at by time: ``since``, ``from`` and ``to``, as the console's lists have them."""

from __future__ import annotations

from typing import Any, ClassVar

import django_filters as df
from django.db.models import QuerySet
from django.utils import timezone

from syncs.connectors import Issue
from syncs.errors import ConfigError
from syncs.rest.filters import StrictFilterSet, TimeFilter
from syncs.rest.problems import InvalidError
from syncs.services import time_ranges

_NAMES = ("since", "from", "to")


class PeriodFilterSet(StrictFilterSet):
    """``column``: the time that is looked at. ``to`` is exclusive."""

    column: ClassVar[str] = ""

    since = df.ChoiceFilter(
        choices=[(key, label) for key, (label, _length) in time_ranges.PRESETS.items()],
        help_text="Of this period up to now; not together with from and to.",
    )
    locals()["from"] = TimeFilter(help_text="At this moment or later (ISO 8601).")  # no name that Python lets one write
    to = TimeFilter(help_text="Before this moment (ISO 8601).")

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        given = self.form.cleaned_data
        since, start, end = (given[name] for name in _NAMES)
        try:
            first, before = time_ranges.bounds(since or "", start, end, now=timezone.now())
        except ConfigError as error:
            raise InvalidError([Issue(error.field, f"{error.message[:1].upper()}{error.message[1:]}")]) from None
        for name, value in given.items():
            if name not in _NAMES:
                queryset = self.filters[name].filter(queryset, value)
        if first is not None:
            queryset = queryset.filter(**{f"{self.column}__gte": first})
        return queryset if before is None else queryset.filter(**{f"{self.column}__lt": before})
