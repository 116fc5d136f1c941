"""How many calls and minutes a reprocess will probably take, from the newest runs of its syncs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import F, OuterRef, Q, QuerySet, Subquery, Sum

from syncs.choices import RunStatus
from syncs.models import Run, Sync

_RUNS = 20
_ENDED = (RunStatus.SUCCEEDED, RunStatus.PARTIAL)


@dataclass(frozen=True, slots=True)
class Estimate:
    """``calls`` of the destination and ``span`` of time, one sync after the other; None where no run tells. ``unknown``: names
    of syncs whose runs tell nothing."""

    calls: int | None
    span: timedelta | None
    unknown: tuple[str, ...] = ()

    @property
    def is_short(self) -> bool:
        return self.span is not None and self.span < timedelta(minutes=1)


def with_newest_runs(syncs: QuerySet[Sync]) -> QuerySet[Any]:
    """Adds ``runs_from``: the id from which on a sync's newest runs are looked at."""
    newest = Run.objects.filter(sync=OuterRef("pk"), status__in=_ENDED).order_by("-id")
    return syncs.annotate(runs_from=Subquery(newest.values("id")[_RUNS - 1 : _RUNS]))


def estimate(syncs: Mapping[int, Any], counts: Mapping[int, int]) -> Estimate:
    """``syncs``: from ``with_newest_runs``; ``counts``: sync id -> rows to send. One query."""
    newest = Q(pk__in=())
    for pk, sync in syncs.items():
        newest |= Q(sync_id=pk, pk__gte=sync.runs_from or 0)
    sent = Run.objects.filter(newest, status__in=_ENDED, request_count__gt=0, started_at__isnull=False).order_by()
    rows = sent.values("sync_id").annotate(
        rows=Sum(F("accepted_count") + F("dead_lettered_count")),
        calls=Sum("request_count"),
        spent=Sum(F("finished_at") - F("started_at")),
    )
    pace = {row["sync_id"]: row for row in rows if row["rows"]}
    unknown = tuple(sorted(syncs[pk].name for pk in counts if pk in syncs and pk not in pace))
    known = {pk: count for pk, count in counts.items() if pk in pace}
    if not known:
        return Estimate(None, None, unknown)
    calls = sum(-(-count * pace[pk]["calls"] // pace[pk]["rows"]) for pk, count in known.items())
    span = sum((pace[pk]["spent"] * (count / pace[pk]["rows"]) for pk, count in known.items()), timedelta())
    return Estimate(calls, span, unknown)
