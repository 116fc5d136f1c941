"""Failures of rows through the real sink, and a check that every counter of a sync's groups says what the entries say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from django.db import transaction

from dlq.choices import LIVE
from dlq.models import DLQEntry, ErrorGroup, GroupDay, GroupHour
from dlq.services.group_counters import days_of, whole_hour
from dlq.sink import DLQSink
from syncs.engine.ports import Rejected
from syncs.errors import ErrorType
from syncs.models import Run, Sync
from syncs.records import RowError


def rejected(
    key: str, message: str, *, field: str = "email", code: str = "", kind: ErrorType = ErrorType.VALIDATION
) -> Rejected:
    error = RowError(kind, message, code=code, field=field, http_status=422)
    return Rejected(key, (key, "x"), error, content_hash=hash(key) & 0xFFFF)


def store(run: Run, failures: Iterable[Rejected]) -> None:
    """As a run's recorder does it: in a transaction of its own."""
    with transaction.atomic():
        DLQSink(run).store(list(failures), columns=["id", "email"])


def deliver(run: Run, *keys: str) -> None:
    with transaction.atomic():
        DLQSink(run).resolve(keys)


def group_of(key: str) -> ErrorGroup:
    return DLQEntry.objects.select_related("group").filter(row_key=key).latest("pk").group


def assert_counters_agree(sync: Sync) -> None:
    """Live entries, all entries, and the hour of each live entry's last failure are counted in the groups they stand in."""
    for group in ErrorGroup.objects.filter(sync=sync):
        entries = DLQEntry.objects.filter(group=group)
        assert group.open_count == entries.filter(status__in=LIVE).count(), group
        assert group.total_count >= entries.count(), group
        hours = Counter(whole_hour(at) for at in entries.filter(status__in=LIVE).values_list("last_failed_at", flat=True))
        counted = dict(GroupHour.objects.filter(group=group).values_list("hour", "failed_count"))
        assert all(counted.get(hour, 0) >= count for hour, count in hours.items()), (group, hours, counted)
        days = {day: count for (_pk, day), count in days_of({(group.pk, hour): n for hour, n in counted.items()}).items()}
        assert dict(GroupDay.objects.filter(group=group).values_list("day", "failed_count")) == days, group
