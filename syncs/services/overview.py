"""What the console's lists and pages read: a few set-based queries each, whatever the number of rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Case, Count, IntegerField, Max, OuterRef, QuerySet, Subquery, Sum, Value, When, Window
from django.db.models.functions import Coalesce

from syncs.choices import RunStatus, SyncStatus, Trigger
from syncs.models import Run, Step, Sync

# Failing first: the order of the sync list.
URGENCY = (SyncStatus.FAILING, SyncStatus.DEGRADED, SyncStatus.UNCONFIGURED, SyncStatus.PAUSED, SyncStatus.HEALTHY)
STEPS_SHOWN = 200  # a run with more shows its first and last 100, and 100 from any number
STEPS_PAGE = 100
_ESTIMATES = (RunStatus.SUCCEEDED, RunStatus.PARTIAL)


def with_list_figures(syncs: QuerySet[Sync]) -> QuerySet[Any]:
    """Adds ``urgency``, ``last_run_id``, ``last_run_status``, ``last_run_at`` and ``open_count`` (live dead letters)."""
    newest = Run.objects.filter(sync=OuterRef("pk")).exclude(status=RunStatus.SKIPPED).order_by("-id")
    return syncs.annotate(
        urgency=Case(
            *(When(status=status, then=Value(rank)) for rank, status in enumerate(URGENCY)),
            default=Value(len(URGENCY)),
            output_field=IntegerField(),
        ),
        last_run_id=Subquery(newest.values("id")[:1]),
        last_run_status=Subquery(newest.values("status")[:1]),
        last_run_at=Subquery(newest.annotate(at=Coalesce("started_at", "queued_at")).values("at")[:1]),
        open_count=_open_count(),
    )


def _open_count() -> Any:
    """Live dead letters of the outer sync, from the counters of its error groups: no count over the entries themselves."""
    groups = Sync._meta.get_field("error_groups").related_model
    per_sync = groups._default_manager.filter(sync=OuterRef("pk")).order_by().values("sync")
    return Coalesce(Subquery(per_sync.annotate(n=Sum("open_count")).values("n")[:1]), 0)


def open_count(sync: Sync) -> int:
    total: int | None = _groups(sync).aggregate(n=Sum("open_count"))["n"]
    return total or 0


def open_groups(sync: Sync, limit: int = 12) -> list[Any]:
    """Error groups of the sync with live dead letters, the largest first; each with ``of_all``, those of them all."""
    live = _groups(sync).filter(open_count__gt=0).annotate(of_all=Window(Sum("open_count")))
    return list(live.order_by("-open_count", "-last_seen_at")[:limit])


def _groups(sync: Sync) -> QuerySet[Any]:
    # By its name, not by an import: this app knows nothing of the one that keeps dead letters.
    manager: Any = getattr(sync, "error_groups")  # noqa: B009
    groups: QuerySet[Any] = manager.all()
    return groups


def status_counts(syncs: QuerySet[Sync] | None = None) -> dict[str, int]:
    """How many syncs of each status; ``syncs``: of these, None: of all that are not archived."""
    counts = (Sync.objects.active() if syncs is None else syncs).order_by().values_list("status").annotate(n=Count("pk"))
    return dict(counts)


@dataclass(frozen=True, slots=True)
class Progress:
    """``estimate``: rows the run will probably read, 0 where nobody knows. ``rate``: rows settled a second so far."""

    settled: int
    estimate: int
    rate: float
    eta: timedelta | None
    basis: str

    @property
    def share(self) -> float:
        return min(self.settled / self.estimate, 1.0) if self.estimate else 0.0


def progress(run: Run, *, now: datetime | None = None) -> Progress:
    estimate, basis = _estimate(run)
    if run.read_count > estimate:
        estimate, basis = (run.read_count, "read so far, more may come") if estimate else (0, "")
    elapsed = run.duration(now)
    seconds = elapsed.total_seconds() if elapsed else 0.0
    rate = run.settled_count / seconds if seconds > 0 else 0.0
    left = estimate - run.settled_count
    eta = timedelta(seconds=left / rate) if estimate and rate > 0 and left > 0 and run.is_active else None
    return Progress(run.settled_count, estimate, rate, eta, basis)


def pending(run: Run) -> int:
    """Rows that were read (or vanished) and are not settled: for good once the run has ended."""
    return max(run.read_count + run.vanished_count - run.settled_count, 0) if run.is_active else run.pending_count


def _estimate(run: Run) -> tuple[int, str]:
    if not run.is_active:
        return run.read_count + run.vanished_count, "rows read"
    if keys := run.options.get("keys"):
        return len(keys), "rows asked for"
    if limit := run.options.get("limit"):
        return int(limit), "the limit of this run"
    if run.trigger == Trigger.REPROCESS:
        manager: Any = getattr(run, "reprocessed_entries")  # noqa: B009
        return manager.count(), "dead letters to reprocess"
    before = (
        Run.objects.filter(sync_id=run.sync_id, status__in=_ESTIMATES, pk__lt=run.pk)
        .exclude(trigger=Trigger.REPROCESS)
        .order_by("-id")
        .values_list("read_count", flat=True)
        .first()
    )
    return before or 0, "rows of the last complete run"


@dataclass(frozen=True, slots=True)
class StepPage:
    """``head`` and ``tail`` with ``hidden`` steps between them, or, from a number on, one page in ``head``."""

    head: list[Step]
    tail: list[Step]
    count: int
    start: int | None = None

    @property
    def hidden(self) -> int:
        return self.tail[0].number - self.head[-1].number - 1 if self.tail else 0

    @property
    def every(self) -> Iterable[Step]:
        return [*self.head, *self.tail]


def step_page(run: Run, start: int | None) -> StepPage:
    """``start``: the number to begin at, None for the usual view. Steps are found by number, never by offset."""
    steps = Step.objects.filter(run=run).order_by("number")
    last = steps.aggregate(last=Max("number"))["last"] or 0
    if start is not None:
        return StepPage(list(steps.filter(number__gte=start)[:STEPS_PAGE]), [], last, start)
    if last <= STEPS_SHOWN:
        return StepPage(list(steps), [], last)
    tail = list(steps.filter(number__gt=last - STEPS_PAGE))
    return StepPage(list(steps.filter(number__lte=STEPS_PAGE)), tail, last)


def recent_runs(sync: Sync, count: int = 30) -> list[Run]:
    """Newest first, without those that were skipped."""
    runs = Run.objects.filter(sync=sync).exclude(status=RunStatus.SKIPPED)
    return list(runs.select_related("requested_by").order_by("-id")[:count])
