"""Bulk operations in words: the frozen filter, what to do next; the acts and the verdict are the service's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode

from django.contrib.auth import get_user_model
from django.utils.dateparse import parse_datetime

from dlq.admin import filterbar
from dlq.choices import OperationKind, OperationStatus
from dlq.models import BulkOperation, ErrorGroup
from dlq.services.offers import Offers, person
from dlq.services.operations import Progress
from dlq.services.operations.verdict import ACTS, outcomes, verdict
from syncs.console import links
from syncs.models import Connection, Sync
from syncs.services import access

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from django.contrib.auth.models import User

__all__ = ["ACTS", "Hint", "conditions", "hints", "outcomes", "owner_of", "verdict"]
_INNER = ("q_groups", "q_deep")  # how a text search was settled: nothing that a person chose


@dataclass(frozen=True, slots=True)
class Hint:
    text: str
    url: str


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
