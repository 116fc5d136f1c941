"""How many days each kind of thing is kept: the defaults of the product, and what people chose instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from monitoring.choices import Retained
from monitoring.models import RetentionRule
from syncs.choices import labelled
from syncs.errors import RedriveError
from syncs.models import AuditEvent
from syncs.services import audit

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MOST_DAYS = 36_500
_NAMES = dict(labelled(Retained))


class RetentionRefusedError(RedriveError):
    """It cannot be done as asked; nothing was changed. ``field``: the input to correct."""


@dataclass(frozen=True, slots=True)
class Kind:
    """``days``: the default, None for ever. ``least``, ``why``: a shorter time is refused, and for what reason.
    ``counts_from``: since when a row is so many days old. ``text``: what is deleted; ``keeps``: what stays though it is old."""

    days: int | None
    least: int
    why: str
    counts_from: str
    text: str
    keeps: str


_OPEN_INCIDENT = "what an incident that is not resolved names"

KINDS: Mapping[Retained, Kind] = {
    Retained.STEPS: Kind(
        90, 7, "a run of last week must still show its calls", "end of the run",
        "The steps of runs, with each call, its answer and its times. The run itself stays, with its counts and errors.",
        f"Steps of runs that a live dead letter's history names; {_OPEN_INCIDENT}; what a bulk operation at work sent.",
    ),
    Retained.RUNS: Kind(
        400, 35, "statuses, baselines and the error budget look back five weeks", "end of the run",
        "Runs, with their steps. What they came to stays in the figures by day.",
        "Runs that any dead letter, or its history, names; the newest run of a sync and the newest that ended well; "
        f"{_OPEN_INCIDENT}; what a bulk operation at work sent.",
    ),
    Retained.RESOLVED_ENTRIES: Kind(
        90, 7, "a fix of last week must still be provable", "day it was closed",
        "Dead letters that were resolved or superseded: rows, payloads, answers, history, edits.",
        "Live dead letters, always; those of a group under an incident that is not resolved; members of a bulk operation at "
        "work, or that can still be undone.",
    ),
    Retained.DISCARDED_ENTRIES: Kind(
        180, 7, "a discard can be undone for some days", "day it was discarded",
        "Dead letters that somebody discarded. The ledger goes on holding back the content that was discarded.",
        "As with resolved ones. A discarded dead letter that was opened again is live.",
    ),
    Retained.LEDGER_OF_ARCHIVED: Kind(
        90, 7, "an archive by mistake must be undoable", "day the sync was archived",
        "What archived syncs have delivered. A sync that is taken out of the archive later sends every row again.",
        "Lines that hold back the content of a dead letter, live or discarded.",
    ),
    Retained.DELIVERIES: Kind(
        90, 7, "a message of last week can be sent again", "day it was made",
        "Messages to channels with their attempts, and notices in the console.",
        f"Messages that still wait or are being sent; {_OPEN_INCIDENT}.",
    ),
    Retained.INCIDENTS: Kind(
        400, 30, "an incident of this month may be reopened", "day it was resolved",
        "Resolved incidents with their timelines and messages, and the history of statuses.",
        "Incidents that are not resolved, and those from which such a one follows; the newest status of each sync.",
    ),
    Retained.EXPORTS: Kind(
        90, 7, "who exported what last week must be visible", "day it was asked for",
        "The list of exports that are over. Their files go after RETL_EXPORT_DAYS, whatever is chosen here.",
        "Exports at work, and those whose file is still there.",
    ),
    Retained.OPERATIONS: Kind(
        180, 7, "a discard can be undone for some days", "end of the operation",
        "Which dead letters were in a bulk operation, one by one. The operation stays, with its counts.",
        "Members of operations at work, that can still be undone, or that are being undone.",
    ),
    Retained.HOURS: Kind(
        120, 91, "charts show ninety days by the hour", "hour itself",
        "Hourly figures of runs, error groups and dead letters. Figures by day stay for ever.",
        "Nothing else.",
    ),
    Retained.AUDIT: Kind(
        None, 365, "an audit looks back a year", "day of the act",
        "Who changed what of the set-up. Deleting it is itself written into the audit log.",
        "Nothing else.",
    ),
}  # fmt: skip


def name(kind: Retained) -> str:
    return _NAMES[kind]


def least(kind: Retained) -> int:
    """Days below which a rule is refused."""
    floors = {Retained.DISCARDED_ENTRIES: "UNDO_DAYS", Retained.OPERATIONS: "UNDO_DAYS", Retained.EXPORTS: "EXPORT_DAYS"}
    setting = floors.get(kind)
    return max(KINDS[kind].least, int(settings.RETL[setting]) if setting else 0)


def days() -> dict[Retained, int | None]:
    """Of each kind; None: for ever. One query."""
    chosen = dict(RetentionRule.objects.values_list("kind", "days"))
    return {kind: chosen.get(kind.value, KINDS[kind].days) for kind in Retained}


def read(kind: Retained, text: str) -> int | None:
    """What a person typed; empty: for ever. Raises ``RetentionRefusedError`` with the field ``days``."""
    typed = text.strip()
    if not typed:
        return None
    if not (typed.isascii() and typed.isdigit() and len(typed) <= 9):
        raise RetentionRefusedError(
            f"“{typed[:20]}” is not a number of days. Write a whole number, or leave it empty to keep them for ever.",
            field="days",
        )
    number = int(typed)
    if number < least(kind):
        raise RetentionRefusedError(
            f"{number:,} days are too few: {KINDS[kind].why}. Choose at least {least(kind)}.", field="days"
        )
    if number > MOST_DAYS:
        raise RetentionRefusedError(
            f"{number:,} days are more than {MOST_DAYS:,}. Leave it empty to keep them for ever.", field="days"
        )
    return number


@transaction.atomic
def keep(kind: Retained, number: int | None, *, by: User | None, door: str) -> bool:
    """From the next purge on. ``number``: as ``read`` gave it. False: it is so already."""
    rule = locked(kind)
    if rule.days == number:
        return False
    RetentionRule.objects.filter(pk=rule.pk).update(days=number, updated_by=by, updated_at=timezone.now())
    audit.record("changed", rule, by=by, door=door, detail={"days": [rule.days, number]})
    return True


def locked(kind: Retained) -> RetentionRule:
    """The rule, made where there is none, for who will write it; within a transaction."""
    RetentionRule.objects.bulk_create([RetentionRule(kind=kind, days=KINDS[kind].days)], ignore_conflicts=True)
    return RetentionRule.objects.select_for_update().get(kind=kind)


def history(kind: Retained) -> list[AuditEvent]:
    """Changes of the rule, newest first; at most ten."""
    rule = RetentionRule.objects.filter(kind=kind).first()
    return list(audit.history(rule)[:10]) if rule else []


def in_words(number: int | None) -> str:
    return "for ever" if number is None else f"{number:,} day{'' if number == 1 else 's'}"
