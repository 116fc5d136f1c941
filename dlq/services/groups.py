"""Error groups: the pages of their list, and the repair of their counters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from django.db import transaction
from django.db.models import Count, Q

from dlq.choices import LIVE
from dlq.models import DLQEntry, ErrorGroup
from dlq.services.paging import PAGE_SIZE, Position
from syncs.connectors import Issue
from syncs.models import Sync

OPEN, ALL = "open", "all"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the list of groups was asked for. With problems it shows nothing."""

    has_open: bool = True
    sync_ids: tuple[int, ...] = ()
    after: Position | None = None
    problems: tuple[Issue, ...] = ()

    def query(self, *, after: Position | None = None) -> str:
        pairs = [("show", OPEN if self.has_open else ALL), *(("sync", str(pk)) for pk in self.sync_ids)]
        return urlencode(pairs + ([("after", str(after))] if after else []))


@dataclass(frozen=True, slots=True)
class GroupPage:
    groups: list[ErrorGroup]
    older_query: str


def parse(given: Mapping[str, Sequence[str]]) -> Asked:
    """``show`` (open or all), ``sync`` (several), ``after``. What is malformed is a problem, never a wider list."""
    problems = [Issue(name, "is no filter of this list; there are show, sync") for name in given if name not in _KNOWN]
    show = (given.get("show") or [OPEN])[-1]
    if show not in (OPEN, ALL):
        problems.append(Issue("show", "is open or all"))
    wanted = [text for text in given.get("sync", ()) if text]
    numbers = {int(text) for text in wanted if text.isascii() and text.isdigit() and len(text) <= 18}
    there = set(Sync.objects.filter(pk__in=numbers).values_list("pk", flat=True)) if numbers else set()
    if len(there) != len(set(wanted)):
        problems.append(Issue("sync", "names a sync that is not there; choose one from the list"))
    text = (given.get("after") or [""])[-1]
    after = Position.parse(text) if text else None
    if text and after is None:
        problems.append(Issue("after", "is no position in this list; start again at the newest"))
    return Asked(show == OPEN, tuple(sorted(there)), after, tuple(problems))


_KNOWN = ("show", "sync", "after")


def page(asked: Asked) -> GroupPage:
    """Groups whose last failure is newest, or those below ``asked.after``."""
    if asked.problems:
        return GroupPage([], "")
    chosen = ErrorGroup.objects.select_related("sync", "owner").order_by("-last_seen_at", "-id")
    if asked.has_open:
        chosen = chosen.filter(open_count__gt=0)
    if asked.sync_ids:
        chosen = chosen.filter(sync_id__in=asked.sync_ids)
    if asked.after:
        at, pk = asked.after.at, asked.after.id
        chosen = chosen.filter(Q(last_seen_at__lt=at) | Q(id__lt=pk), last_seen_at__lte=at)
    rows = list(chosen[: PAGE_SIZE + 1])
    shown = rows[:PAGE_SIZE]
    has_more = len(rows) > PAGE_SIZE
    return GroupPage(shown, asked.query(after=Position(shown[-1].last_seen_at, shown[-1].pk)) if has_more else "")


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
