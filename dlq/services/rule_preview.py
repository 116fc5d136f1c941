"""What an error rule would have made of the newest dead letters, before it is saved. Changes nothing."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from django.db.models import Q

from dlq import fingerprint
from dlq.choices import EntryStatus
from dlq.models import DLQEntry, ErrorGroup
from dlq.querysets import Unindexed
from dlq.services import ruled_entries, sight
from dlq.services.budget import TooSlowError, budget
from dlq.services.ruled_entries import SAID, Kind, Reach, Said
from syncs.connectors import Issue
from syncs.destinations.expressions import readable
from syncs.destinations.ruled import UNTOUCHED, Rule, first
from syncs.errors import ErrorType
from syncs.models import ErrorRule
from syncs.services import error_rules
from syncs.services.error_rules import Draft

if TYPE_CHECKING:
    from django.contrib.auth.models import User

LOOKED_AT = 10_000  # the newest dead letters of the syncs, whatever became of them
SAMPLES = 8
SECONDS = 3.0  # of matching; and of asking the database, each of the two ways
_LINES = 30
_DRAFT = -1  # the number of a rule that is not saved
_COLUMNS = ("pk", "sync_id", "group_id", "status", "row_key")
TOO_SLOW = "The database did not find the newest dead letters in time. Try again when it is less busy."


@dataclass(frozen=True, slots=True)
class Change:
    """From what to what, by type and permanence. ``open_count``: of these, those that applying the rules would change now."""

    before: Kind
    after: Kind
    count: int
    open_count: int

    @property
    def is_change(self) -> bool:
        return self.before[1:] != self.after[1:]


@dataclass(frozen=True, slots=True)
class Sample:
    pk: int
    row_key: str
    sync: str
    message: str  # values of people masked, as on other pages
    before: Kind
    after: Kind


@dataclass(slots=True)
class Preview:
    """``matched_count``: the conditions hold. ``decided_count``: and no earlier rule decides, so it is this one's.
    ``is_sample``: there are more dead letters than were looked at."""

    looked_count: int = 0
    is_sample: bool = False
    is_cut_short: bool = False  # matching took too long: fewer than LOOKED_AT were held against the rules
    sync_count: int = 0
    matched_count: int = 0
    decided_count: int = 0
    protected_count: int = 0  # the conditions hold, but no rule may touch them
    changes: list[Change] = field(default_factory=list)
    groups: list[tuple[ErrorGroup, int]] = field(default_factory=list)
    earlier: list[tuple[str, int]] = field(default_factory=list)  # (name, entries) of rules that come first
    taken: list[tuple[str, int]] = field(default_factory=list)  # (name, entries) of rules that would decide less
    samples: list[Sample] = field(default_factory=list)
    issues: list[Issue] = field(default_factory=list)
    problem: str = ""

    @property
    def changed_count(self) -> int:
        return sum(change.count for change in self.changes if change.is_change)

    @property
    def open_count(self) -> int:
        return sum(change.open_count for change in self.changes)


def preview(draft: Draft, *, user: User) -> Preview:
    """Hold the rule, at its place among the others, against the newest dead letters of syncs that the user may see."""
    issues = error_rules.issues(draft)
    if issues:
        return Preview(issues=issues)
    reach = ruled_entries.reach(draft.place, user=user)
    found = Preview(sync_count=len(reach.syncs))
    try:
        rows = _newest(reach)
    except TooSlowError:
        return replace(found, problem=TOO_SLOW)
    found.is_sample = len(rows) > LOOKED_AT
    chains = _chains(draft, reach)
    tally = _Tally(replace(draft, pk=draft.pk or _DRAFT).compiled(), found)
    until = time.monotonic() + SECONDS
    for at, row in enumerate(rows[:LOOKED_AT]):
        if not at % 200 and time.monotonic() > until:
            found.is_cut_short = True
            break
        found.looked_count += 1
        tally.add(row, chains[reach.syncs[row[1]][0]], reach)
    tally.close()
    return found


def _chains(draft: Draft, reach: Reach) -> dict[int, list[Rule]]:
    """The rules of each connection, as they would be with the draft saved; it decides even where it is switched off, so that
    one can see what switching it on would do."""
    mine = replace(draft, pk=draft.pk or _DRAFT)
    saved = ErrorRule.objects.filter(Q(is_enabled=True) | Q(pk=draft.pk or 0)).order_by("position", "pk")
    rules: list[ErrorRule | Draft] = [mine if rule.pk == draft.pk else rule for rule in saved]
    if draft.pk is None:
        rules.append(mine)
    return {one.pk: error_rules.compile_chain(one, rules) for one in reach.connections}


def _newest(reach: Reach) -> Sequence[tuple[Any, ...]]:
    """One more than ``LOOKED_AT``, to know whether there are more. By a walk through the time index; where these syncs have
    few of many, that takes too long, and they are fetched by their own index and sorted."""
    mine = DLQEntry.objects.filter(sync_id__in=sorted(reach.syncs))
    if reach.elsewhere:
        mine = mine.exclude(version_id__in=sorted(reach.elsewhere))
    columns = (*_COLUMNS, *SAID)
    try:
        with budget(SECONDS):
            return list(mine.newest().values_list(*columns)[: LOOKED_AT + 1])
    except TooSlowError:
        with budget(SECONDS):
            slowly = mine.order_by(Unindexed("last_failed_at").desc(), "-id")
            return list(slowly.values_list(*columns)[: LOOKED_AT + 1])


class _Tally:
    """Counts one entry after the other."""

    def __init__(self, rule: Rule, into: Preview) -> None:
        self._rule = rule
        self._into = into
        self._changes: Counter[tuple[Kind, Kind]] = Counter()
        self._open: Counter[tuple[Kind, Kind]] = Counter()
        self._groups: Counter[int] = Counter()
        self._earlier: Counter[str] = Counter()
        self._taken: Counter[int] = Counter()
        self._masks = sight.masker() is not None

    def add(self, row: tuple[Any, ...], chain: Sequence[Rule], reach: Reach) -> None:
        pk, sync_id, group_id, status, row_key = row[: len(_COLUMNS)]
        said = Said.of(row[len(_COLUMNS) :])
        answer = said.answer
        if not self._rule.fits(answer, readable(answer.message)):
            return
        self._into.matched_count += 1
        if answer.type in UNTOUCHED or not self._rule.may_touch(answer.type):
            self._into.protected_count += 1
            return
        deciding = first(chain, answer)
        if deciding is None or deciding.id != self._rule.id:
            self._earlier[deciding.name if deciding else ""] += 1
            return
        self._into.decided_count += 1
        before, after = said.now, Kind(self._rule.id, self._rule.type.value, self._rule.is_permanent)
        # Alike but for the rule's number are one line; an entry that it decided already is changed by nothing.
        line = (Kind(None, *before[1:]), Kind(None, *after[1:]))
        self._changes[line] += 1
        self._open[line] += status == EntryStatus.OPEN and before != after
        self._groups[group_id] += 1
        if before.rule not in (None, self._rule.id):
            self._taken[before.rule or 0] += 1
        if len(self._into.samples) < SAMPLES:
            message = said.failure.message
            shown = fingerprint.masked(message) if self._masks else message
            self._into.samples.append(Sample(pk, row_key, reach.syncs[sync_id][1], shown, *line))

    def close(self) -> None:
        found = self._into
        found.changes = [Change(*line, count, self._open[line]) for line, count in self._changes.most_common(_LINES)]
        most = self._groups.most_common(_LINES)
        groups = ErrorGroup.objects.in_bulk([pk for pk, _count in most])
        found.groups = [(groups[pk], count) for pk, count in most if pk in groups]
        found.earlier = self._earlier.most_common(_LINES)
        names = dict(ErrorRule.objects.filter(pk__in=self._taken).values_list("pk", "name")) if self._taken else {}
        found.taken = [(names[pk], count) for pk, count in self._taken.most_common(_LINES) if pk in names]


def label(kind: Kind) -> str:
    return f"{ErrorType(kind.type).info.label}, {'permanent' if kind.is_permanent else 'tried again'}"
