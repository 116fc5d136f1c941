"""What the error rules make of dead letters that are stored: which syncs they reach, which rule decides, what would change."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from django.db.models import Q

from dlq.models import DLQEntry
from dlq.querysets import DLQEntryQuerySet
from dlq.services.grouping import Failure
from syncs.destinations.ruled import UNTOUCHED, Answer, Rule, first
from syncs.errors import ErrorType
from syncs.models import Connection, Sync, SyncVersion
from syncs.services import access
from syncs.services.error_rules import Place

if TYPE_CHECKING:
    from django.contrib.auth.models import User

Chains = Mapping[int, Sequence[Rule]]  # connection -> its rules, in the order in which they decide


@dataclass(frozen=True, slots=True)
class Reach:
    """``syncs``: id -> (its destination's id, its name). ``elsewhere``: versions of them that delivered to another connection;
    what those had refused is not held against these rules."""

    connections: Sequence[Connection]
    syncs: Mapping[int, tuple[int, str]]
    elsewhere: frozenset[int]

    def entries(self) -> DLQEntryQuerySet:
        """Those of these syncs that a rule may speak of."""
        spoken_of = Q(error_rule_id__isnull=False) | ~Q(error_type__in=sorted(UNTOUCHED))
        found = DLQEntry.objects.filter(spoken_of, sync_id__in=sorted(self.syncs))
        return found.exclude(version_id__in=sorted(self.elsewhere)) if self.elsewhere else found


def reach(place: Place, *, user: User | None = None, sync_ids: Collection[int] | None = None) -> Reach:
    """The syncs that deliver to the connections of this place: those the user may see, or those of ``sync_ids``; no limits:
    every one."""
    connections = list(place.reaches().defer("secrets", "config"))
    found = Sync.objects.filter(destination_id__in=[one.pk for one in connections])
    if user is not None:
        found = access.scoped(found, user, by="pk")
    if sync_ids is not None:
        found = found.filter(pk__in=sync_ids)
    syncs = {pk: (at, name) for pk, at, name in found.values_list("pk", "destination_id", "name")}
    return Reach(connections, syncs, _elsewhere(syncs))


def _elsewhere(syncs: Mapping[int, tuple[int, str]]) -> frozenset[int]:
    pinned = SyncVersion.objects.filter(sync_id__in=sorted(syncs)).values_list("pk", "sync_id", "snapshot__destination__id")
    return frozenset(pk for pk, sync_id, at in pinned if at is not None and at != syncs[sync_id][0])


class Kind(NamedTuple):
    """What a rule gives: ``rule`` None: it is as the destination's own module said."""

    rule: int | None
    type: str
    is_permanent: bool


SAID = (
    "error_type", "error_code", "field", "message", "http_status", "is_permanent", "error_rule_id", "said_type",
    "said_permanent",
)  # fmt: skip


class Said(NamedTuple):
    """A stored failure, as far as rules look at it, and what stands of it now."""

    failure: Failure
    http_status: int | None
    is_permanent: bool
    error_rule_id: int | None
    said_type: str
    said_permanent: bool | None

    @classmethod
    def of(cls, row: Sequence[object]) -> Said:
        """``row``: the values of ``SAID``."""
        return cls(Failure(*row[:4]), *row[4:])  # type: ignore[arg-type]

    @property
    def now(self) -> Kind:
        return Kind(self.error_rule_id, self.failure.error_type, self.is_permanent)

    @property
    def unruled(self) -> Kind:
        """What the destination's own module had made of it."""
        if self.error_rule_id is None:
            return self.now
        permanent = self.is_permanent if self.said_permanent is None else self.said_permanent
        return Kind(None, self.said_type or self.failure.error_type, permanent)

    @property
    def answer(self) -> Answer:
        return Answer(ErrorType(self.unruled.type), self.http_status, self.failure.error_code, self.failure.message)


def decide(said: Said, rules: Sequence[Rule]) -> Kind:
    """What the rules make of it; without one that fits, what the destination's own module had."""
    rule = first(rules, said.answer)
    return said.unruled if rule is None else Kind(rule.id, rule.type.value, rule.is_permanent)
