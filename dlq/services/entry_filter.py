"""The filter of the dead letter list as a value: applied to the entry table, made absolute, written back into addresses.

The list, the bulk acts, the saved views and the export all use this one filter; ``selection.parse`` reads it from an address.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from django.db.models import F, Q
from django.utils import timezone

from dlq.choices import EntryStatus, RowState
from dlq.models import DLQEntry, ErrorGroup
from dlq.querysets import DLQEntryQuerySet
from dlq.services import tally
from dlq.services.filter_conditions import NOBODY as NOBODY
from dlq.services.filter_conditions import hidden, looked_up, placed
from syncs.connectors import Issue
from syncs.errors import ErrorType
from syncs.models import Sync

WINDOWS: dict[str, tuple[str, timedelta]] = {
    "1h": ("Last hour", timedelta(hours=1)),
    "24h": ("Last 24 hours", timedelta(hours=24)),
    "7d": ("Last 7 days", timedelta(days=7)),
    "30d": ("Last 30 days", timedelta(days=30)),
}
AGES: dict[str, tuple[str, timedelta]] = {
    "1d": ("Older than 1 day", timedelta(days=1)),
    "7d": ("Older than 7 days", timedelta(days=7)),
    "30d": ("Older than 30 days", timedelta(days=30)),
}
BETWEEN = "between"
ANY = "any"
NO_RESPONSE = "none"
ME = "me"
UNKNOWN_ROW = "unknown"  # how RowState.UNKNOWN is written in an address
TEXT_GROUPS_MAX = 500
TEXT_DEEP_MAX = 50_000  # entries whose messages and payloads are searched for a text


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """Empty tuples, texts and None mean "not filtered by this". ``codes`` holds HTTP statuses; None among them: no response.

    ``window`` (a key of WINDOWS), ``age`` (a key of AGES), ``owner`` ``me``, the connections and the text are relative to the
    moment, the person or the other tables until ``at(now)`` settles them. ``since`` is inclusive, ``until`` and ``older_than``
    exclusive; ``older_than`` compares the first failure, the others the last.
    """

    statuses: tuple[EntryStatus, ...] = (EntryStatus.OPEN,)
    sync_ids: tuple[int, ...] = ()
    connection_ids: tuple[int, ...] = ()  # source or destination of the sync
    error_types: tuple[ErrorType, ...] = ()
    error_codes: tuple[str, ...] = ()
    field_names: tuple[str, ...] = ()  # the destination field that the error names
    codes: tuple[int | None, ...] = ()
    window: str = ""
    since: datetime | None = None
    until: datetime | None = None
    age: str = ""
    older_than: datetime | None = None
    row_key: str = ""
    group_id: int | None = None
    run_id: int | None = None  # the run that refused it last
    owner: str = ""  # ME, NOBODY, or the number of a user
    min_attempts: int | None = None
    row_states: tuple[RowState, ...] = ()
    text: str = ""

    me: int | None = field(default=None, compare=False)  # whom ME stands for
    reach: tuple[int, ...] | None = field(default=None, compare=False)  # ids of the syncs that person may see; None: every one
    # Settled by ``at``; None: not yet.
    connection_sync_ids: tuple[int, ...] | None = None
    text_group_ids: tuple[int, ...] | None = None
    is_text_deep: bool | None = None
    is_nothing: bool = False  # settled to match nothing, for example a connection without syncs

    def at(self, now: datetime) -> EntryFilter:
        """The same filter with everything relative made absolute: times, the person, the syncs of the connections, the error
        groups whose title holds the text, and whether messages and payloads are searched for it. Needs up to four queries
        where there is a connection or a text, else none.

        What ``at`` gave stays what it is through ``query()`` and ``parse``, so a snapshot of it cannot come to match more.
        """
        fixed = self
        if fixed.window:
            fixed = replace(fixed, window="", since=now - WINDOWS[fixed.window][1])
        if fixed.age:
            fixed = replace(fixed, age="", older_than=now - AGES[fixed.age][1])
        if fixed.owner == ME:
            fixed = replace(fixed, owner=str(fixed.me)) if fixed.me is not None else replace(fixed, is_nothing=True)
        if fixed.connection_ids and fixed.connection_sync_ids is None:
            fixed = fixed._with_connections()
        if fixed.text and fixed.text_group_ids is None:
            fixed = fixed._with_text()
        return fixed

    def _with_connections(self) -> EntryFilter:
        of_them = Q(source_id__in=self.connection_ids) | Q(destination_id__in=self.connection_ids)
        found = tuple(Sync.objects.filter(of_them).order_by("pk").values_list("pk", flat=True))
        settled = replace(self, connection_sync_ids=found)
        return settled if settled.scope() else replace(settled, is_nothing=True)

    def _with_text(self) -> EntryFilter:
        groups = ErrorGroup.objects.filter(title__icontains=self.text)
        scope = self.scope()
        if scope is not None:
            groups = groups.filter(sync_id__in=scope)
        if self.group_id is not None:
            groups = groups.filter(pk=self.group_id)
        ids = groups.order_by("-last_seen_at", "-pk").values_list("pk", flat=True)[:TEXT_GROUPS_MAX]
        return replace(self, text_group_ids=tuple(sorted(ids)), is_text_deep=self._is_text_affordable())

    def _is_text_affordable(self) -> bool:
        rest = replace(self, text="")
        total = tally.total(rest)
        if total is None:
            total = rest.entries().order_by()[: TEXT_DEEP_MAX + 1].count()
        return total <= TEXT_DEEP_MAX

    def scope(self) -> frozenset[int] | None:
        """Ids of the syncs it is narrowed to; None: all."""
        wanted = [set(ids) for ids in (self.sync_ids or None, self.connection_sync_ids, self.reach) if ids is not None]
        return frozenset(set.intersection(*wanted)) if wanted else None

    def sync_reach(self) -> frozenset[int] | None:
        """The same without the syncs that were chosen: those that one could choose."""
        return replace(self, sync_ids=()).scope()

    @property
    def is_tallied(self) -> bool:
        """Nothing but status, sync, connection, error type and response code is filtered: the tally knows the count."""
        return not (
            self.error_codes or self.field_names or self.window or self.since or self.until or self.age or self.older_than
            or self.row_key or self.group_id is not None or self.run_id is not None or self.owner
            or self.min_attempts is not None or self.row_states or self.text
        )  # fmt: skip

    @property
    def is_in_order(self) -> bool:
        """One index holds exactly the selected entries, newest first."""
        scope = self.scope()
        is_status_alone = scope is None and len(self.statuses) <= 1
        is_one_of_each = scope is not None and len(scope) == 1 and len(self.statuses) == 1
        return self.is_tallied and not self.error_types and not self.codes and (is_status_alone or is_one_of_each)

    @property
    def is_in_small_order(self) -> bool:
        """An index holds them newest first among those of one sync or group, and they are not few of these."""
        scope = self.scope()
        is_of_one = self.group_id is not None or (scope is not None and len(scope) == 1)
        return is_of_one and len(self.statuses) == 1 and not self.text

    @property
    def hints(self) -> tuple[str, ...]:
        """What a settled text search has left out, and the way to include it."""
        said = []
        if self.text and self.is_text_deep is False:
            said.append(
                f"Row keys and error groups were searched. Messages and payloads are searched where the other filters leave at "
                f"most {TEXT_DEEP_MAX:,} dead letters: choose a sync, an error group or a shorter time."
            )
        if self.text_group_ids and len(self.text_group_ids) >= TEXT_GROUPS_MAX:
            said.append(
                f"More than {TEXT_GROUPS_MAX} error groups have this text in their title; the {TEXT_GROUPS_MAX} that failed "
                "last were taken. Choose a sync, or write more of the text."
            )
        return tuple(said)

    def entries(self, *, now: datetime | None = None) -> DLQEntryQuerySet:
        """The matching entries, by conditions on the entry table alone."""
        fixed = self.at(now or timezone.now())
        if fixed.is_nothing:
            return DLQEntry.objects.none()
        return DLQEntry.objects.filter(*placed(fixed), *looked_up(fixed))

    def parts(self, *, is_walk: bool = False) -> tuple[DLQEntryQuerySet, ...]:
        """The matching entries of a settled filter in disjoint parts, each newer than the next. ``is_walk``: many match, so
        they are best met on a walk through an index in the order of the list.

        An entry that failed first before a moment has either failed last before it as well, or failed again since; each is a
        range of an index. As one condition, the planner would walk past all that are younger.
        """
        chosen = DLQEntry.objects.filter(*placed(self), *hidden(looked_up(self))) if is_walk else self.entries()
        if self.is_nothing or not self.older_than:
            return (chosen,)
        again = chosen.filter(last_failed_at__gte=self.older_than, first_failed_at__lt=F("last_failed_at"))
        return again, chosen.filter(last_failed_at__lt=self.older_than)

    def parameters(self) -> list[tuple[str, str]]:
        """As address parameters; ``selection.parse`` reads them back to an equal filter."""
        is_settled = self.connection_sync_ids is not None
        sync_ids = sorted(self.scope() or ()) if is_settled else self.sync_ids
        pairs = [("status", status.value) for status in self.statuses] or [("status", ANY)]
        pairs += [("sync", str(sync_id)) for sync_id in sync_ids]
        pairs += [("connection", str(pk)) for pk in self.connection_ids if not is_settled]
        pairs += [("error_type", error_type.value) for error_type in self.error_types]
        pairs += [("error_code", code) for code in self.error_codes]
        pairs += [("field", name) for name in self.field_names]
        pairs += [("code", NO_RESPONSE if code is None else str(code)) for code in self.codes]
        pairs += self._time_parameters()
        single = (
            ("key", self.row_key), ("group", self.group_id), ("run", self.run_id), ("owner", self.owner),
            ("attempts", self.min_attempts), ("q", self.text),
        )  # fmt: skip
        pairs += [(name, str(value)) for name, value in single if value not in (None, "")]
        pairs += [("row", state.value or UNKNOWN_ROW) for state in self.row_states]
        return pairs + self._settled_parameters()

    def _time_parameters(self) -> list[tuple[str, str]]:
        pairs = []
        if self.window:
            pairs.append(("failed", self.window))
        elif self.since or self.until:
            pairs.append(("failed", BETWEEN))
        if self.since:
            pairs.append(("from", time_text(self.since)))
        if self.until:
            pairs.append(("to", time_text(self.until)))
        if self.age or self.older_than:
            pairs.append(("age", self.age or (time_text(self.older_than) if self.older_than else "")))
        return pairs

    def _settled_parameters(self) -> list[tuple[str, str]]:
        pairs = []
        if self.text_group_ids is not None:
            pairs.append(("q_groups", ",".join(map(str, self.text_group_ids)) or NOBODY))
            pairs.append(("q_deep", "1" if self.is_text_deep else "0"))
        if self.is_nothing:
            pairs.append(("nothing", "1"))
        return pairs

    def query(self) -> str:
        return urlencode(self.parameters())


def time_text(moment: datetime) -> str:
    utc = moment.astimezone(UTC)
    return utc.strftime("%Y-%m-%dT%H:%M") if not (utc.second or utc.microsecond) else utc.strftime("%Y-%m-%dT%H:%M:%S.%f")


@dataclass(frozen=True, slots=True)
class Parsed:
    """A filter and what could not be understood. With problems, ``entries()`` is empty, so nothing can be acted on."""

    filter: EntryFilter
    problems: tuple[Issue, ...] = ()

    def entries(self, *, now: datetime | None = None) -> DLQEntryQuerySet:
        return DLQEntry.objects.none() if self.problems else self.filter.entries(now=now)
