"""Bulk operations in words: the acts, the frozen filter, the verdict over where one stands, what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode

from django.contrib.auth import get_user_model
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from dlq.admin import filterbar
from dlq.choices import ItemOutcome, OperationKind, OperationStatus
from dlq.models import BulkOperation, ErrorGroup
from dlq.services.offers import Offers, person
from dlq.services.operations import Progress
from dlq.services.snapshots import BulkKind
from syncs.console import links
from syncs.models import Connection, Sync
from syncs.services import access

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from django.contrib.auth.models import User

_INNER = ("q_groups", "q_deep")  # how a text search was settled: nothing that a person chose


@dataclass(frozen=True, slots=True)
class Act:
    """``Reprocess``, ``reprocessing``, ``were resolved``."""

    verb: str
    doing: str
    done: str


ACTS = {
    BulkKind.REPROCESS: Act("Reprocess", "reprocessing", "resolved"),
    BulkKind.DISCARD: Act("Discard", "discarding", "discarded"),
    BulkKind.REOPEN: Act("Reopen", "reopening", "reopened"),
    BulkKind.ASSIGN: Act("Assign", "assigning", "assigned"),
    BulkKind.CHECK: Act("Check", "checking", "checked"),
    BulkKind.EXPORT: Act("Export", "exporting", "exported"),
}


_DONE = {
    OperationKind.REPROCESS: "Resolved",
    OperationKind.DISCARD: "Discarded",
    OperationKind.REOPEN: "Reopened",
    OperationKind.ASSIGN: "Assigned",
    OperationKind.CHECK: "Checked",
}
_UNTAKEN = timedelta(seconds=45)  # the tick rings for it every few seconds


@dataclass(frozen=True, slots=True)
class Said:
    """``tone``: good, info, warn or bad."""

    tone: str
    headline: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Hint:
    text: str
    url: str


def outcomes(operation: BulkOperation) -> dict[ItemOutcome, str]:
    return {
        ItemOutcome.PENDING: "Waiting",
        ItemOutcome.SENT: "Under way",
        ItemOutcome.DONE: _DONE[OperationKind(operation.kind)],
        ItemOutcome.REFUSED: "Refused again",
        ItemOutcome.GONE: "Gone from the warehouse",
        ItemOutcome.LEFT_OUT: "Left out",
        ItemOutcome.NOT_REACHED: "Not reached",
    }


def verdict(operation: BulkOperation, progress: Progress) -> Said:
    """One sentence on where it stands."""
    if operation.is_over:
        return _over(operation)
    if operation.ends_as:
        return Said("info", "It is being ended.", operation.message)
    if operation.status == OperationStatus.HALTED:
        return Said(
            "bad",
            f"Halted: {operation.message or 'the same error came back.'}",
            "Nothing else was sent. Look at what was refused first; once resumed, it starts with small waves again.",
        )
    if operation.status == OperationStatus.PAUSED:
        is_out = bool(progress.counts[ItemOutcome.SENT])
        advice = "The wave that was sent goes on to its end." if is_out else "Nothing happens until somebody resumes it."
        return Said("warn", operation.message or "Paused.", advice)
    return _under_way(operation, progress)


def _over(operation: BulkOperation) -> Said:
    done, word = operation.done_count, _DONE[OperationKind(operation.kind)].lower()
    rest = [
        f"{count:,} {what}"
        for count, what in (
            (operation.refused_count, "refused again"),
            (operation.gone_count, "gone from the warehouse"),
            (operation.left_out_count, "left out"),
            (operation.not_reached_count, "not reached"),
        )
        if count
    ]
    counts = f"{', '.join([f'{done:,} {word}', *rest])}."
    if operation.status == OperationStatus.FINISHED:
        return Said("warn" if operation.refused_count or operation.gone_count else "good", f"Finished: {counts}")
    if operation.status == OperationStatus.CANCELLED:
        return Said("info", operation.message or "Cancelled.", f"What was done stands: {counts}")
    return Said("bad", operation.message or "It could not go on.", f"What was done stands: {counts}")


def _under_way(operation: BulkOperation, progress: Progress) -> Said:
    is_untaken = operation.started_at is None and timezone.now() - operation.created_at > _UNTAKEN
    if is_untaken:
        return Said(
            "warn", "No worker has taken it yet.", "Is manage.py retl_worker running? It begins as soon as one is free."
        )
    if progress.phase == "freezing":
        listed = f"{operation.member_count:,} of {operation.expected_count:,} are listed so far."
        return Said("info", "What was confirmed is being listed.", listed)
    if progress.phase == "waiting" and progress.counts[ItemOutcome.SENT]:
        sent = progress.counts[ItemOutcome.SENT]
        return Said("info", f"Wave {progress.wave_number} is under way: {sent:,} row{'' if sent == 1 else 's'}.")
    if progress.phase == "waiting" and progress.next_wave_at is not None:
        return Said(
            "info", "It keeps to its pace.", f"The next wave is due at {progress.next_wave_at.astimezone(UTC):%H:%M:%S} UTC."
        )
    act = ACTS[BulkKind(operation.kind)]
    return Said("info", f"{act.doing.capitalize()}: {progress.settled:,} of {progress.total:,} are settled.")


def hints(operation: BulkOperation, progress: Progress, *, here: str, may: Callable[[str], bool]) -> list[Hint]:
    """What to do next, where there is something to decide. ``may``: whether the person has a permission on dead letters."""
    found = []
    bulk = links.page("admin:dlq_dlqentry_bulk")
    if operation.refused_count and (operation.is_over or operation.status == OperationStatus.HALTED):
        run = progress.runs[-1].pk if progress.runs else None
        found.append(Hint("See what was refused again", f"{here}?outcome=refused#items"))
        if run is not None:
            found.append(Hint(f"Dead letters that run {run} refused", links.entries(run=str(run))))
    if operation.gone_count and operation.is_over and may("discard"):
        query = urlencode({"act": "discard", "status": "open", "row": "gone"})
        found.append(Hint("Discard dead letters whose row is gone", f"{bulk}?{query}"))
    is_filter = operation.ids is None and operation.of_operation_id is None
    if operation.is_over and is_filter and (operation.not_reached_count or operation.refused_count):
        found.append(Hint("What still matches its filter", f"{links.page('admin:dlq_dlqentry_changelist')}?{operation.query}"))
        if may("export"):
            found.append(Hint("Export what still matches", f"{bulk}?act=export&{operation.query}"))
    return found


def owner_of(operation: BulkOperation) -> str:
    """To whom an assignment gives them."""
    if operation.kind != OperationKind.ASSIGN:
        return ""
    owner = operation.options.get("owner")
    if owner is None:
        return "nobody"
    return get_user_model().objects.filter(pk=owner).values_list("username", flat=True).first() or f"user {owner}"


def conditions(
    query: str, *, user: User, syncs: Mapping[int, str] | None = None, groups: Mapping[int, str] | None = None
) -> list[tuple[str, str]]:
    """(title, value) of each condition of a frozen filter. Names are looked up, four queries at most, those
    apart that are given or that the user may not see."""
    given = parse_qs(query)
    kept = {name: values for name, values in given.items() if name not in _INNER}
    if "nothing" in kept:
        return [("Filter", "nothing matches")]
    found = filterbar.words(_encoded(kept), _names(kept, syncs or {}, user))
    titles = {"Error group": _group_title(kept.get("group", []), groups or {}, user)}
    return [(title, titles.get(title) or _moment(value)) for title, value in found]


def _encoded(values: dict[str, list[str]]) -> str:
    return urlencode(values, doseq=True)


def _names(given: dict[str, list[str]], syncs: Mapping[int, str], user: User) -> Offers:
    made = Offers(syncs=dict(syncs))
    if ids := [pk for pk in _ids(given.get("sync", [])) if pk not in syncs]:
        made.syncs |= access.scoped(Sync.objects.filter(pk__in=ids), user, by="pk").values_list("pk", "name")
    if ids := _ids(given.get("connection", [])):
        made.connections = dict(Connection.objects.filter(pk__in=ids).values_list("pk", "name"))
    if ids := _ids(given.get("owner", [])):
        rows = get_user_model().objects.filter(pk__in=ids).values_list("pk", "first_name", "last_name", "username")
        made.people = {pk: person(pk, first, last, name) for pk, first, last, name in rows}
    return made


def _ids(texts: Iterable[str]) -> list[int]:
    return [int(text) for text in texts if text.isascii() and text.isdigit() and len(text) <= 18]


def _group_title(texts: list[str], groups: Mapping[int, str], user: User) -> str:
    ids = _ids(texts)
    if ids and ids[0] in groups:
        return groups[ids[0]]
    found = access.scoped(ErrorGroup.objects.filter(pk__in=ids), user)
    return (found.values_list("title", flat=True).first() or "") if ids else ""


def _moment(value: str) -> str:
    """A time as people read it; anything else as it is."""
    try:
        moment = parse_datetime(value) if value[4:5] == "-" and "T" in value else None
    except ValueError:
        moment = None
    if moment is None:
        return value
    utc = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return f"{utc:%Y-%m-%d %H:%M} UTC"
