"""The conditions of a filter on the entry table, by how they lie to its indexes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from django.db import connection
from django.db.models import BooleanField, Case, Q, When

from dlq.choices import RowState

if TYPE_CHECKING:
    from dlq.services.entry_filter import EntryFilter

NOBODY = "none"  # as the owner


def placed(found: EntryFilter) -> list[Q]:
    """Those that an index in the order of the list can begin with: a status, a sync, a group, an owner, a span of time."""
    conditions = []
    scope = found.scope()
    if found.statuses:
        conditions.append(Q(status__in=found.statuses))
    if scope is not None:
        conditions.append(Q(sync_id__in=sorted(scope)))
    if found.since:
        conditions.append(Q(last_failed_at__gte=found.since))
    if found.until:
        conditions.append(Q(last_failed_at__lt=found.until))
    if found.older_than:
        conditions.append(Q(first_failed_at__lt=found.older_than))
    if found.group_id is not None:
        conditions.append(Q(group_id=found.group_id))
    if found.run_id is not None:
        conditions.append(Q(run_id=found.run_id))
    if found.owner:
        conditions.append(Q(owner_id__isnull=True) if found.owner == NOBODY else Q(owner_id=int(found.owner)))
    return conditions


def looked_up(found: EntryFilter) -> list[Q]:
    """The others. Where few match, their own indexes find the entries; in no order."""
    conditions = []
    if found.error_types:
        conditions.append(Q(error_type__in=found.error_types))
    if found.error_codes:
        conditions.append(Q(error_code__in=found.error_codes))
    if found.field_names:
        conditions.append(Q(field__in=found.field_names))
    if found.codes:
        known = Q(http_status__in=[code for code in found.codes if code is not None])
        conditions.append(known | Q(http_status__isnull=True) if None in found.codes else known)
    if found.min_attempts is not None:
        conditions.append(Q(attempt_count__gte=found.min_attempts))
    if found.row_key:
        conditions.append(Q(row_key=found.row_key))
    if found.row_states:
        conditions.append(Q(row_state__in=found.row_states))
    if found.text:
        conditions.append(_of_text(found))
    return conditions + _as_the_indexes_say(found)


def _as_the_indexes_say(found: EntryFilter) -> list[Q]:
    """SQLite uses a partial index only where its condition stands in the query; PostgreSQL concludes it."""
    conditions = []
    if connection.vendor == "sqlite":
        if found.min_attempts is not None and found.min_attempts > 1:
            conditions.append(Q(attempt_count__gt=1))
        if found.row_states and RowState.UNKNOWN not in found.row_states:
            conditions.append(Q(row_state__gt=""))
    return conditions


def _of_text(found: EntryFilter) -> Q:
    condition = Q(row_key__begins=found.text)
    if found.text_group_ids:
        condition |= Q(group_id__in=found.text_group_ids)
    if found.is_text_deep:
        in_json = json.dumps(found.text, ensure_ascii=False)[1:-1]  # as it stands between the quotes of a JSON text
        condition |= Q(message__icontains=found.text) | Q(payload__icontains=in_json)
    return condition


def hidden(conditions: list[Q]) -> list[Q]:
    """The same, where no index can be seen to answer them. For walking an index in the order of the list when it is known that
    many match: a planner that takes correlated conditions for rare ones would fetch all that match and sort them."""
    if not conditions:
        return []
    everything = Q(*conditions)
    return [Q(Case(When(everything, then=True), default=False, output_field=BooleanField()))]
