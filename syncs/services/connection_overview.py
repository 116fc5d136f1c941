"""What the page of a connection reads: limits in force, who uses it, how it fared; a fixed number of queries."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db.models import (
    Count,
    DurationField,
    ExpressionWrapper,
    F,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
)
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.text import smart_split, unescape_string_literal

from syncs.choices import ConnectionRole, RunStatus, StepKind
from syncs.destinations import registry as destinations
from syncs.destinations.base import Destination
from syncs.errors import RedriveError
from syncs.models import Connection, RateWindow, Run, Step, Sync
from syncs.services import access, connections, overview

if TYPE_CHECKING:
    from django.contrib.auth.models import User

logger = logging.getLogger(__name__)

OBJECTS_SHOWN = 30
_NEWEST_RUNS = 2000  # health is read from so many runs at most, however often syncs run


@dataclass(frozen=True, slots=True)
class Limits:
    """``objects`` share these ``lines``: (what, in words).."""

    objects: list[str]
    lines: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Budget:
    """``used``: calls taken in the window that is open now."""

    used: int
    limit: int
    window_seconds: float


@dataclass(frozen=True, slots=True)
class Described:
    """What the settings alone tell of a destination; ``problem`` where they do not hold."""

    limits: list[Limits]
    budget: Budget | None
    can_log_in: bool
    hidden_count: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """Of the runs of the last 24 hours. ``wait_seconds``: what their runs waited, for rate limits and open breakers."""

    run_count: int
    failed_count: int
    call_count: int
    retry_count: int
    accepted_count: int
    dead_lettered_count: int
    wait_count: int
    wait_seconds: float
    is_capped: bool


def searched(rows: QuerySet[Connection], text: str) -> QuerySet[Connection]:
    """Those that have every word in their name or description; quotation marks hold words together."""
    for part in smart_split(text):
        word = unescape_string_literal(part) if part[0] in "\"'" and part[0] == part[-1] and len(part) > 1 else part
        rows = rows.filter(Q(name__icontains=word) | Q(description__icontains=word))
    return rows


def with_sync_counts(rows: QuerySet[Connection], user: User) -> QuerySet[Connection]:
    """With ``sync_count``: of the syncs through each that are not archived and that the user may see."""
    counts = [_count(column, user) for column in ("source_id", "destination_id")]
    return rows.annotate(sync_count=counts[0] + counts[1])


def _count(column: str, user: User) -> Coalesce:
    mine = access.scoped(Sync.objects.active(), user, by="pk").filter(**{column: OuterRef("pk")}).order_by()
    counted = mine.values(column).annotate(n=Count("pk")).values("n")
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)


def described(connection: Connection) -> Described:
    if connection.role != ConnectionRole.DESTINATION:
        return Described([], None, False)
    limits: dict[tuple[tuple[str, str], ...], list[str]] = {}
    budgets: list[tuple[int, float]] = []
    can_log_in = False
    try:
        names = connections.objects(connection)
        for name in names[:OBJECTS_SHOWN] or [""]:
            with closing(_built(connection, name)) as built:
                can_log_in = getattr(built, "login", None) is not None
                found = built.capabilities
                limits.setdefault(tuple(found.described()), []).append(name)
                if found.requests_per_window:
                    budgets.append((found.requests_per_window, found.window_seconds))
    except (RedriveError, ImportError) as error:
        return Described([], None, False, problem=str(error))
    except Exception as error:  # of somebody else's kind: the page must open, it is where the settings are mended
        logger.exception("The kind “%s” of connection %s could not describe itself.", connection.kind, connection.pk)
        return Described([], None, False, problem=f"“{connection.kind}” could not say ({type(error).__name__}). See the log.")
    lines = [Limits(objects, list(found)) for found, objects in limits.items()]
    hidden = max(0, len(names) - OBJECTS_SHOWN)
    return Described(lines, _budget(connection, *max(budgets)) if budgets else None, can_log_in, hidden)


def _built(connection: Connection, name: str) -> Destination:
    """Without its rules, and without a look at the database: only what it says of itself is asked."""
    return destinations.build(
        connection.kind,
        config=connection.config or {},
        credentials=connections.InMemory({}),
        object_name=name,
        options={},
        allowed_private_networks=tuple(settings.RETL["ALLOWED_PRIVATE_NETWORKS"]),
    )


def _budget(connection: Connection, limit: int, window_seconds: float) -> Budget:
    window = RateWindow.objects.filter(connection=connection).first()
    is_open = window and timezone.now() < window.window_started_at + timedelta(seconds=window_seconds)
    return Budget(window.used_count if window and is_open else 0, limit, window_seconds)


def using(connection: Connection, user: User) -> list[Any]:
    """Syncs that read or write through it and that the user may see, with the figures of the sync list, worst first."""
    mine = Sync.objects.active().filter(Q(source=connection) | Q(destination=connection))
    return list(overview.with_list_figures(access.scoped(mine, user, by="pk")).order_by("urgency", "name"))


def health(syncs: list[Any], *, now: datetime | None = None) -> Health:
    since = (now or timezone.now()) - timedelta(hours=24)
    newest = list(
        Run.objects.filter(sync__in=[sync.pk for sync in syncs]).order_by("-id").values_list("pk", flat=True)[:_NEWEST_RUNS]
    )
    recent = Run.objects.filter(pk__in=newest, started_at__gte=since)
    found = recent.aggregate(
        n=Count("pk"),
        failed=Count("pk", filter=Q(status=RunStatus.FAILED)),
        calls=Sum("request_count", default=0),
        retries=Sum("retry_count", default=0),
        accepted=Sum("accepted_count", default=0),
        refused=Sum("dead_lettered_count", default=0),
    )
    took = ExpressionWrapper(F("finished_at") - F("started_at"), output_field=DurationField())
    waits = Step.objects.filter(run__in=recent.values("pk"), kind=StepKind.WAIT).aggregate(n=Count("pk"), took=Sum(took))
    return Health(
        found["n"],
        found["failed"],
        found["calls"],
        found["retries"],
        found["accepted"],
        found["refused"],
        waits["n"],
        waits["took"].total_seconds() if waits["took"] else 0.0,
        len(newest) == _NEWEST_RUNS,
    )
