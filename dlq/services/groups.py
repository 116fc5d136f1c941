"""Error groups: the check and the repair of their counters."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Count, Q

from dlq.choices import LIVE
from dlq.models import DLQEntry, ErrorGroup
from syncs.models import Sync


def recount(sync: Sync) -> int:
    """Set each group's counters of this sync to what its entries say. Returns how many groups were wrong (0 is the promise).

    The counters move in the same transactions as the entries; this is the check and the repair. ``total_count`` is only ever
    raised: an entry that changed its cause counts in both groups.
    """
    with transaction.atomic():
        groups = list(ErrorGroup.objects.filter(sync=sync).select_for_update().order_by("pk"))
        true = {
            group_id: (live, total)
            for group_id, live, total in DLQEntry.objects.filter(sync=sync)
            .order_by()
            .values("group_id")
            .annotate(live=Count("pk", filter=Q(status__in=LIVE)), total=Count("pk"))
            .values_list("group_id", "live", "total")
        }
        wrong = 0
        for group in groups:
            live, total = true.get(group.pk, (0, 0))
            if group.open_count != live or group.total_count < total:
                total = max(total, group.total_count)
                ErrorGroup.objects.filter(pk=group.pk).update(open_count=live, total_count=total)
                wrong += 1
    return wrong
