"""The filters of the list of error groups: named here for the document, read by the console's own parser."""

from __future__ import annotations

from typing import Any

import django_filters as df
from django.http import QueryDict

from dlq.choices import GroupState
from dlq.models import ErrorGroup
from dlq.services import group_list
from dlq.services.group_list import ALL, OPEN, Asked
from syncs.connectors import Issue
from syncs.errors import ErrorType
from syncs.rest.filters import PAGE_NAMES, IdsFilter, StrictFilterSet, TextFilter, WordsFilter

_STATES = [(state.value, state.value) for state in GroupState]
_TYPES = [(one.value, one.value) for one in ErrorType]


class GroupFilters(StrictFilterSet):
    """``chosen`` instead of ``of``: the console's ``group_list.parse`` decides what a value means."""

    show = df.ChoiceFilter(
        choices=[(OPEN, OPEN), (ALL, ALL)], label="`open` (or nothing): with open dead letters; `all`: settled ones too."
    )
    state = WordsFilter(choices=_STATES, label="In one of these states.")
    sync = IdsFilter(label="Of these syncs.")
    error_type = WordsFilter(choices=_TYPES, label="With one of these error types.")
    owner = TextFilter(pattern="me|none|[1-9][0-9]{0,17}", label="`me`, `none`, or the number of a person.")
    q = TextFilter(max_length=200, label="A text in title, error code, field or note.")

    @classmethod
    def chosen(cls, query: QueryDict, *, user: Any) -> Asked:
        """Raises ``InvalidError`` with each parameter that is wrong."""
        made = cls(query, ErrorGroup.objects.none(), user=user)
        given = {name: values for name, values in query.lists() if name not in PAGE_NAMES}
        known = {name: values for name, values in given.items() if name in made.filters}
        asked = group_list.parse(known, user=user)
        made.refuse(made.misread(query) or [Issue(one.field, f"{one.field} {one.message}.") for one in asked.problems])
        return asked
