"""The status of syncs over time: changes newest first, and how long each status lasted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import QuerySet

from monitoring.choices import Condition
from monitoring.models import StatusChange, SyncWatch
from syncs.choices import SyncStatus, labelled
from syncs.models import Sync
from syncs.services import access

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SHOWN = 50
STRIP_DAYS = 30
WIDTH = 900.0
_NAMES = dict(labelled(Condition))
_STATUSES = dict(labelled(SyncStatus))


@dataclass(frozen=True, slots=True)
class Line:
    """``lasted``: how long the status after it was shown; None where only the changes of one sync would tell."""

    change: StatusChange
    lasted: timedelta | None
    is_current: bool
    conditions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the strip: ``x`` and ``width`` of 900."""

    status: str
    label: str
    begins_at: datetime
    ends_at: datetime
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class History:
    """Of one sync. ``older``: the id to go on before; None: there is nothing older. ``shares``: of the strip."""

    lines: list[Line]
    older: int | None
    strip: list[Part]
    shares: list[tuple[str, str, timedelta, float]]
    days: int = STRIP_DAYS


def newest(user: User, *, before: int | None = None) -> tuple[list[StatusChange], bool]:
    """(changes of all syncs that the user may see, newest first; whether there are older ones)."""
    return _cut(access.scoped(StatusChange.objects.select_related("sync"), user), before, SHOWN)


def of_sync(sync: Sync, now: datetime, *, before: int | None = None) -> History:
    """Whether somebody may see the sync is the caller's to ask. Up to three queries."""
    mine = StatusChange.objects.filter(sync=sync)
    changes, has_older = _cut(mine, before, SHOWN)
    next_at = mine.filter(pk__gte=before).order_by("pk").values_list("at", flat=True).first() if before else None
    pieces = strip(sync, now) if before is None else []
    older = changes[-1].pk if has_older else None
    return History(lines(changes, now, ended_at=next_at), older, pieces, shares(pieces))


def judged(sync: Sync) -> tuple[datetime | None, list[dict[str, Any]]]:
    """(when it was judged last, what spoke against it then: as ``SyncWatch.findings`` with the ``name`` of the condition)."""
    watch: SyncWatch | None = getattr(sync, "watch", None)  # comes with the sync where that was asked for
    if watch is None:
        return None, []
    return watch.judged_at, [{**one, "name": _NAMES.get(one["condition"], one["condition"])} for one in watch.findings]


def latest(sync: Sync, now: datetime, most: int) -> list[Line]:
    return lines(_cut(StatusChange.objects.filter(sync=sync), None, most)[0], now)


def _cut(found: QuerySet[StatusChange], before: int | None, most: int) -> tuple[list[StatusChange], bool]:
    if before is not None:
        found = found.filter(pk__lt=before)
    got = list(found.order_by("-pk")[: most + 1])
    return got[:most], len(got) > most


def lines(changes: list[StatusChange], now: datetime, *, ended_at: datetime | None = None) -> list[Line]:
    """Of one sync. ``ended_at``: when the newest of them ended; None: it is the current one."""
    made, until = [], ended_at
    for change in changes:
        lasted = (until or now) - change.at
        made.append(Line(change, lasted, until is None, names(change.conditions)))
        until = change.at
    return made


def line_of_many(change: StatusChange) -> Line:
    return Line(change, None, False, names(change.conditions))


def names(conditions: list[str]) -> tuple[str, ...]:
    return tuple(_NAMES.get(one, one) for one in conditions)


def strip(sync: Sync, now: datetime, *, days: int = STRIP_DAYS) -> list[Part]:
    """The last days as pieces of one line, oldest first. One query."""
    begin = max(now - timedelta(days=days), sync.created_at)
    changes = list(StatusChange.objects.filter(sync=sync, at__gt=begin).order_by("pk").only("at", "before", "after"))
    first = changes[0].before if changes else sync.status
    points = [(begin, first), *((one.at, one.after) for one in changes)]
    ends = [*(at for at, _status in points[1:]), now]
    return parts([(status, at, until) for (at, status), until in zip(points, ends, strict=True)])


def parts(pieces: Sequence[tuple[str, datetime, datetime]]) -> list[Part]:
    """``pieces``: (status, from, until), oldest first and without gaps."""
    pieces = [one for one in pieces if one[2] > one[1]]
    if not pieces:
        return []
    begin, scale = pieces[0][1], WIDTH / (pieces[-1][2] - pieces[0][1]).total_seconds()
    return [
        Part(
            status,
            _STATUSES.get(status, status),
            at,
            until,
            round((at - begin).total_seconds() * scale, 2),
            round((until - at).total_seconds() * scale, 2),
        )
        for status, at, until in pieces
    ]


def shares(pieces: Sequence[Part]) -> list[tuple[str, str, timedelta, float]]:
    """(status, label, time, percent) of a strip, longest first."""
    total = sum((part.ends_at - part.begins_at for part in pieces), timedelta())
    times: dict[str, timedelta] = {}
    for part in pieces:
        times[part.status] = times.get(part.status, timedelta()) + (part.ends_at - part.begins_at)
    ordered = sorted(times.items(), key=lambda one: -one[1])
    return [(status, _STATUSES.get(status, status), time, 100 * (time / total)) for status, time in ordered]
