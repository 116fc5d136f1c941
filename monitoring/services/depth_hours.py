"""How many dead letters were open at each whole hour, and how old the oldest was: for charts and tests against the past."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Max, OuterRef, Subquery, Sum

from dlq.choices import LIVE
from dlq.models import DLQEntry, ErrorGroup
from monitoring.models import DepthHour
from syncs.models import Sync
from syncs.services.periods import whole_hour


def depths() -> dict[int, int]:
    """Live dead letters of each sync that has any and is not archived; from the counters of its error groups."""
    live = ErrorGroup.objects.filter(open_count__gt=0, sync__is_archived=False).order_by()
    return dict(live.values("sync").annotate(depth=Sum("open_count")).values_list("sync", "depth"))


def keep(now: datetime) -> int:
    """Write down the hour that ``now`` lies in, at the first tick in it. Returns how many lines were written.

    A sync whose last line was not zero gets a zero, so that a chart comes down. Any number of ticks may do this at once.
    """
    hour = whole_hour(now)
    if DepthHour.objects.filter(hour=hour).exists():
        return 0
    known = depths()
    last = DepthHour.objects.filter(hour__lt=hour).aggregate(last=Max("hour"))["last"]
    emptied = []
    if last is not None:
        before = DepthHour.objects.filter(hour=last, open_count__gt=0, sync__is_archived=False)
        emptied = [pk for pk in before.values_list("sync", flat=True) if pk not in known]
    oldest = _oldest(list(known))
    lines = [DepthHour(sync_id=pk, hour=hour, open_count=depth, oldest_failed_at=oldest.get(pk)) for pk, depth in known.items()]
    lines += [DepthHour(sync_id=pk, hour=hour) for pk in emptied]
    DepthHour.objects.bulk_create(lines, ignore_conflicts=True, batch_size=500)
    return len(lines)


def _oldest(sync_ids: list[int]) -> dict[int, datetime]:
    """One look into an index for each sync: a GROUP BY would read every live entry."""
    live = DLQEntry.objects.filter(sync=OuterRef("pk"), status__in=LIVE).order_by("first_failed_at").values("first_failed_at")
    found = Sync.objects.filter(pk__in=sync_ids).order_by().annotate(oldest=Subquery(live[:1]))
    return dict(found.exclude(oldest=None).values_list("pk", "oldest"))
