"""To which error group a failure belongs: by the rules of its sync, or by the fingerprint of its error."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import NamedTuple, TypeVar

from dlq import rulematch
from dlq.choices import RuleKind
from dlq.fingerprint import MASK, MAX_TITLE, field_shape, fingerprint, masked
from dlq.models import ErrorGroup, FingerprintRule
from dlq.rulematch import Pattern, PatternError
from syncs.engine.ports import chunked

logger = logging.getLogger(__name__)

CHUNK = 500  # keys a statement: stays below SQLite's limit on parameters
MAX_SPLIT = 200  # groups that one rule makes; further values share one more
OTHER_VALUES = "other values"
_GROUPS_REMEMBERED = 10_000
K = TypeVar("K")


class Failure(NamedTuple):
    """What a destination or the engine said of one row; ``message`` whole, cleaned for storing."""

    error_type: str
    error_code: str
    field: str
    message: str


class Cause(NamedTuple):
    """A failure without what differs from row to row."""

    error_type: str
    error_code: str
    field: str
    title: str

    @classmethod
    def of(cls, failure: Failure) -> Cause:
        return cls(failure.error_type, failure.error_code, failure.field, masked(failure.message))

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.error_type, self.error_code, self.field, self.title)


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """``target_id``: the group of a merge; a split has none."""

    id: int
    pattern: Pattern
    target_id: int | None
    error_type: str
    error_code: str
    field: str  # without positions in lists

    @classmethod
    def of(cls, rule: FingerprintRule) -> CompiledRule:
        """Raises ``rulematch.PatternError``."""
        is_split = rule.kind == RuleKind.SPLIT
        return cls(
            rule.pk or 0,
            rulematch.compile_pattern(rule.pattern, is_split=is_split),
            None if is_split else rule.target_id,
            rule.error_type,
            rule.error_code,
            field_shape(rule.field),
        )

    def match(self, failure: Failure, message: str) -> rulematch.Found | None:
        """``message``: the failure's as ``rulematch.readable`` gives it."""
        if self.error_type and self.error_type != failure.error_type:
            return None
        if self.error_code and self.error_code != failure.error_code:
            return None
        if self.field and self.field != field_shape(failure.field):
            return None
        return self.pattern.match(message)

    def title(self, value: str) -> str:
        """The pattern as a message, with the value in its place."""
        said = f"({OTHER_VALUES})" if value == OTHER_VALUES else f"“{value}”"
        shown = {rulematch.VALUE: said, rulematch.ANYTHING: MASK}
        return "".join(shown.get(part, part) for part in self.pattern.parts)[:MAX_TITLE]


class Place(NamedTuple):
    """Where an entry belongs. ``fingerprint`` is its error's own, whatever the rules say."""

    group_id: int
    fingerprint: str


class Home(NamedTuple):
    """A group before it is known whether it exists: its fingerprint in the table, or the id that a merge names."""

    key: str
    group_id: int | None = None
    rule: CompiledRule | None = None
    value: str = ""


def active_rules(sync_id: int) -> list[CompiledRule]:
    """In the order in which they decide: by position, among equals the newest first. One that cannot be read is passed over."""
    compiled = []
    for rule in FingerprintRule.objects.filter(sync_id=sync_id, is_active=True).order_by("position", "-id"):
        try:
            compiled.append(CompiledRule.of(rule))
        except PatternError as problem:
            logger.warning("fingerprint rule %s is passed over: %s", rule.pk, problem)
    return compiled


def home_of(failure: Failure, own: str, rules: Sequence[CompiledRule]) -> Home:
    """By the first rule that matches, else by ``own``, the error's fingerprint."""
    if not rules:
        return Home(own)
    message = rulematch.readable(failure.message)
    for rule in rules:
        found = rule.match(failure, message)
        if found is None:
            continue
        if rule.target_id is not None:
            return Home(f"#{rule.target_id}", rule.target_id)
        return Home(split_key(rule.id, found.value), None, rule, found.value)
    return Home(own)


def split_key(rule_id: int, value: str) -> str:
    return blake2b(f"rule\x1f{rule_id}\x1f{value.casefold()}".encode("utf-8", "replace"), digest_size=16).hexdigest()


class Grouping:
    """Places failures of one sync into groups, making those that are missing. Make one for a run, or a walk over entries."""

    def __init__(self, sync_id: int, *, run_id: int | None = None) -> None:
        self._sync_id = sync_id
        self._run_id = run_id
        self._known: dict[str, int] = {}
        self._split_counts: dict[int, int] = {}

    def place(self, failures: Mapping[K, Failure], *, now: datetime) -> dict[K, Place]:
        """The rules are read each time: what a person decided while a long run goes on holds for its next commit."""
        rules = active_rules(self._sync_id)
        own: dict[Cause, str] = {}
        homes: dict[K, tuple[Home, str]] = {}
        wanted: dict[str, tuple[Home, Cause]] = {}
        for key, failure in failures.items():
            cause = Cause.of(failure)
            if cause not in own:
                own[cause] = cause.fingerprint
            home = home_of(failure, own[cause], rules)
            homes[key] = home, own[cause]
            if home.group_id is None:
                wanted.setdefault(home.key, (home, cause))
        self._find_or_make(wanted, now)
        return {key: Place(home.group_id or self._known[home.key], print_) for key, (home, print_) in homes.items()}

    def _find_or_make(self, wanted: Mapping[str, tuple[Home, Cause]], now: datetime) -> None:
        """Whoever else makes them at the same moment."""
        if len(self._known) > _GROUPS_REMEMBERED:
            self._known.clear()
        missing = self._look_up([key for key in wanted if key not in self._known])
        if not missing:
            return
        stand_ins = {key: self._within_limit(*wanted[key]) for key in missing}
        made = {home.key: (home, cause) for home, cause in stand_ins.values()}
        ErrorGroup.objects.bulk_create(
            [self._new(home, cause, now) for _key, (home, cause) in sorted(made.items())], ignore_conflicts=True
        )
        self._look_up(list(made))
        for key, (home, _cause) in stand_ins.items():
            self._known[key] = self._known[home.key]

    def _look_up(self, keys: Sequence[str]) -> list[str]:
        """Remember the ids of these groups; returns the keys of those that are not there."""
        for chunk in chunked(keys, CHUNK):
            found = ErrorGroup.objects.filter(sync_id=self._sync_id, fingerprint__in=chunk)
            self._known.update(found.values_list("fingerprint", "pk"))
        return [key for key in keys if key not in self._known]

    def _within_limit(self, home: Home, cause: Cause) -> tuple[Home, Cause]:
        """A split by what turns out to differ from row to row must not make a group for each row."""
        if home.rule is None:
            return home, cause
        pk = home.rule.id
        if pk not in self._split_counts:
            self._split_counts[pk] = ErrorGroup.objects.filter(rule_id=pk).count()
        if self._split_counts[pk] >= MAX_SPLIT:
            return Home(split_key(pk, OTHER_VALUES), None, home.rule, OTHER_VALUES), cause
        self._split_counts[pk] += 1
        return home, cause

    def _new(self, home: Home, cause: Cause, now: datetime) -> ErrorGroup:
        return ErrorGroup(
            sync_id=self._sync_id,
            fingerprint=home.key,
            error_type=cause.error_type,
            error_code=cause.error_code,
            field=cause.field,
            title=home.rule.title(home.value) if home.rule else cause.title,
            rule_id=home.rule.id if home.rule else None,
            rule_value=home.value,
            first_seen_at=now,
            last_seen_at=now,
            first_run_id=self._run_id,
            last_run_id=self._run_id,
        )
