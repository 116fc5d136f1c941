"""The filter of the dead letter list: parsed strictly, applied, written back into addresses.

A value that cannot be understood is a problem with a sentence, never a filter that is silently left away: a selection with
problems matches nothing. The list, the bulk acts and the export all read the same filter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import Model, Q
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from dlq.choices import EntryStatus
from dlq.models import DLQEntry, ErrorGroup
from dlq.querysets import DLQEntryQuerySet
from syncs.connectors import Issue
from syncs.errors import ErrorType
from syncs.models import Run, Sync

WINDOWS: dict[str, tuple[str, timedelta]] = {
    "1h": ("Last hour", timedelta(hours=1)),
    "24h": ("Last 24 hours", timedelta(hours=24)),
    "7d": ("Last 7 days", timedelta(days=7)),
    "30d": ("Last 30 days", timedelta(days=30)),
}
BETWEEN = "between"
ANY = "any"
NO_RESPONSE = "none"
PARAMETERS = ("status", "sync", "error_type", "code", "failed", "from", "to", "key", "group", "run")
_KEY_MAX = 255
_TIME_HELP = "write it as 2026-11-23 or 2026-11-23T09:30 (UTC)"


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """Empty tuples and None mean "not filtered by this". ``codes`` holds HTTP statuses; None among them is "no response".

    ``window`` is a key of WINDOWS, relative to now until ``at(now)`` makes it absolute. ``since`` is inclusive, ``until``
    exclusive.
    """

    statuses: tuple[EntryStatus, ...] = (EntryStatus.OPEN,)
    sync_ids: tuple[int, ...] = ()
    error_types: tuple[ErrorType, ...] = ()
    codes: tuple[int | None, ...] = ()
    window: str = ""
    since: datetime | None = None
    until: datetime | None = None
    row_key: str = ""
    group_id: int | None = None
    run_id: int | None = None  # the run that refused it last

    def at(self, now: datetime) -> EntryFilter:
        """The same filter with its relative window made absolute."""
        if not self.window:
            return self
        return replace(self, window="", since=now - WINDOWS[self.window][1])

    def entries(self, *, now: datetime | None = None) -> DLQEntryQuerySet:
        """The matching entries, by conditions on the entry table alone."""
        fixed = self.at(now or timezone.now())
        chosen = DLQEntry.objects.all()
        if fixed.statuses:
            chosen = chosen.filter(status__in=fixed.statuses)
        if fixed.sync_ids:
            chosen = chosen.filter(sync_id__in=fixed.sync_ids)
        if fixed.error_types:
            chosen = chosen.filter(error_type__in=fixed.error_types)
        if fixed.codes:
            known = Q(http_status__in=[code for code in fixed.codes if code is not None])
            chosen = chosen.filter(known | Q(http_status__isnull=True) if None in fixed.codes else known)
        if fixed.since:
            chosen = chosen.filter(last_failed_at__gte=fixed.since)
        if fixed.until:
            chosen = chosen.filter(last_failed_at__lt=fixed.until)
        if fixed.row_key:
            chosen = chosen.filter(row_key=fixed.row_key)
        if fixed.group_id is not None:
            chosen = chosen.filter(group_id=fixed.group_id)
        if fixed.run_id is not None:
            chosen = chosen.filter(run_id=fixed.run_id)
        return chosen

    def parameters(self) -> list[tuple[str, str]]:
        """As address parameters; ``parse`` reads them back to an equal filter."""
        pairs = [("status", status.value) for status in self.statuses] or [("status", ANY)]
        pairs += [("sync", str(sync_id)) for sync_id in self.sync_ids]
        pairs += [("error_type", error_type.value) for error_type in self.error_types]
        pairs += [("code", NO_RESPONSE if code is None else str(code)) for code in self.codes]
        if self.window:
            pairs.append(("failed", self.window))
        elif self.since or self.until:
            pairs.append(("failed", BETWEEN))
        if self.since:
            pairs.append(("from", _time_text(self.since)))
        if self.until:
            pairs.append(("to", _time_text(self.until)))
        if self.row_key:
            pairs.append(("key", self.row_key))
        if self.group_id is not None:
            pairs.append(("group", str(self.group_id)))
        if self.run_id is not None:
            pairs.append(("run", str(self.run_id)))
        return pairs

    def query(self) -> str:
        return urlencode(self.parameters())


def _time_text(moment: datetime) -> str:
    utc = moment.astimezone(UTC)
    return utc.strftime("%Y-%m-%dT%H:%M") if not (utc.second or utc.microsecond) else utc.strftime("%Y-%m-%dT%H:%M:%S.%f")


@dataclass(frozen=True, slots=True)
class Parsed:
    """A filter and what could not be understood. With problems, ``entries()`` is empty, so nothing can be acted on."""

    filter: EntryFilter
    problems: tuple[Issue, ...] = ()

    def entries(self, *, now: datetime | None = None) -> DLQEntryQuerySet:
        return DLQEntry.objects.none() if self.problems else self.filter.entries(now=now)


@dataclass(slots=True)
class _Reader:
    given: Mapping[str, Sequence[str]]
    problems: list[Issue] = field(default_factory=list)

    def values(self, name: str) -> list[str]:
        return list(dict.fromkeys(value for value in (text.strip() for text in self.given.get(name, ())) if value))

    def one(self, name: str) -> str:
        values = self.values(name)
        if len(values) > 1:
            self.refuse(name, f"takes one value, but has {len(values)}")
        return values[0] if values else ""

    def refuse(self, name: str, sentence: str) -> None:
        self.problems.append(Issue(name, sentence))


def parse(given: Mapping[str, Sequence[str]], *, ignore: Sequence[str] = ()) -> Parsed:
    """Read a filter from address parameters (name -> values). Without a status it is the open ones; ``any`` is all.

    Never raises: what is unknown or malformed, a parameter's name included (apart from those to ``ignore``), becomes a problem.
    """
    reader = _Reader(given)
    for name in given:
        if name not in PARAMETERS and name not in ignore:
            reader.refuse(name, f"is no filter of this list; there are {', '.join(PARAMETERS)}")
    window, since, until = _times(reader)
    found = EntryFilter(
        statuses=_statuses(reader),
        sync_ids=_syncs(reader),
        error_types=_members(reader, "error_type", ErrorType),
        codes=_codes(reader),
        window=window,
        since=since,
        until=until,
        row_key=_row_key(reader),
        group_id=_one_of(reader, "group", ErrorGroup, "no error group; open one from the list of error groups"),
        run_id=_one_of(reader, "run", Run, "no run; open one from the list of runs"),
    )
    return Parsed(found, tuple(reader.problems))


def _members(reader: _Reader, name: str, enum: Any) -> tuple[Any, ...]:
    members, known = [], set(enum)
    for value in reader.values(name):
        if value in known:
            members.append(enum(value))
        else:
            reader.refuse(name, f"“{_short(value)}” is none of {', '.join(enum)}")
    return tuple(members)


def _statuses(reader: _Reader) -> tuple[EntryStatus, ...]:
    values = reader.values("status")
    if ANY in values:
        others = _Reader({"status": [value for value in values if value != ANY]}, reader.problems)
        _members(others, "status", EntryStatus)
        return ()
    return _members(reader, "status", EntryStatus) or (EntryStatus.OPEN,)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def _syncs(reader: _Reader) -> tuple[int, ...]:
    wanted = {value: _number(value) for value in reader.values("sync")}
    if not wanted:
        return ()
    there = set(Sync.objects.filter(pk__in=[pk for pk in wanted.values() if pk is not None]).values_list("pk", flat=True))
    for value, pk in wanted.items():
        if pk not in there:
            reader.refuse("sync", f"“{_short(value)}” is no sync; choose one from the list")
    return tuple(sorted(there))


def _one_of(reader: _Reader, name: str, model: type[Model], remedy: str) -> int | None:
    value = reader.one(name)
    if not value:
        return None
    pk = _number(value)
    if pk is None or not model._default_manager.filter(pk=pk).exists():
        reader.refuse(name, f"“{_short(value)}” is {remedy}")
        return None
    return pk


def _codes(reader: _Reader) -> tuple[int | None, ...]:
    codes: list[int | None] = []
    for value in reader.values("code"):
        for part in value.replace(",", " ").split():
            number = _number(part)
            if part == NO_RESPONSE:
                codes.append(None)
            elif number is not None and 100 <= number <= 599:
                codes.append(number)
            else:
                reader.refuse("code", f"“{_short(part)}” is no HTTP status; write 100 to 599, or none for no response")
    return tuple(dict.fromkeys(codes))


def _row_key(reader: _Reader) -> str:
    key = reader.one("key")
    if len(key) > _KEY_MAX:
        reader.refuse("key", f"has {len(key)} characters, but a row key has at most {_KEY_MAX}")
        return ""
    if "\0" in key:
        reader.refuse("key", "holds a NUL character")
        return ""
    return key


def _times(reader: _Reader) -> tuple[str, datetime | None, datetime | None]:
    choice = reader.one("failed")
    since, until = _moment(reader, "from"), _moment(reader, "to")
    has_times = bool(reader.values("from") or reader.values("to"))
    if choice and choice not in WINDOWS and choice != BETWEEN:
        reader.refuse("failed", f"“{_short(choice)}” is none of {', '.join((*WINDOWS, BETWEEN))}")
    elif choice in WINDOWS and has_times:
        reader.refuse("failed", "has both a span and times of your own; choose “Between” to use the times, or clear them")
    elif choice == BETWEEN and not has_times:
        reader.refuse("failed", "is set to “Between”, but neither time is given")
    if since and until and since >= until:
        reader.refuse("from", "is not before the end; swap the two times")
    return (choice if choice in WINDOWS else ""), since, until


def _moment(reader: _Reader, name: str) -> datetime | None:
    """A date means its whole day: its start for ``from``, the next midnight for ``to``."""
    text = reader.one(name)
    if not text:
        return None
    try:
        day = parse_date(text)
        if day is not None:
            start = datetime.combine(day, time.min, tzinfo=UTC)
            return start + timedelta(days=1) if name == "to" else start
        moment = parse_datetime(text)
        if moment is not None:
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    reader.refuse(name, f"“{_short(text)}” is no time; {_TIME_HELP}")
    return None


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"
