"""Fingerprint rules: what a person wants merged or split, shown before it is done, done, and undone by switching it off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Q, QuerySet

from dlq import rulematch
from dlq.choices import Door, EntryStatus, RuleKind
from dlq.models import DLQEntry, ErrorGroup, FingerprintRule
from dlq.rulematch import PatternError
from dlq.services import regrouping
from dlq.services.grouping import CompiledRule, Failure
from dlq.services.moves import ActRefusedError
from syncs.errors import ErrorType
from syncs.services import audit

if TYPE_CHECKING:
    from django.contrib.auth.models import User

LOOKED_AT = 1_000  # entries of the sync, and as many of the groups concerned
MAX_RULES = 50  # active ones of a sync: each failure is held against them
MAX_VALUES = 100  # groups that a split may make out of the entries looked at
_LINES = 50
_TITLE_MAX = 255


@dataclass(frozen=True, slots=True)
class Draft:
    """A rule that is not saved. Empty conditions match everything. ``target_id``: the group that a merge moves into."""

    kind: RuleKind
    sync_id: int
    group_id: int  # from whose page it was asked
    pattern: str = ""
    error_type: str = ""
    error_code: str = ""
    field: str = ""
    target_id: int | None = None
    title: str = ""

    def rule(self) -> FingerprintRule:
        return FingerprintRule(
            sync_id=self.sync_id,
            kind=self.kind,
            pattern=self.pattern,
            error_type=self.error_type,
            error_code=self.error_code,
            field=self.field,
            target_id=self.target_id,
            title=self.title,
        )


@dataclass(frozen=True, slots=True)
class Line:
    """A group that would come out. ``value``: what {value} stands for in a split. ``group``: where it is there already.
    ``sources``: (group, entries), most first."""

    title: str
    value: str
    group: ErrorGroup | None
    count: int
    sources: list[tuple[ErrorGroup, int]]


@dataclass(frozen=True, slots=True)
class Preview:
    """What the rule would do to the newest entries. ``moved_count``: those that would change their group. ``problem``: why it
    cannot be saved, or empty."""

    looked_count: int
    matched_count: int = 0
    moved_count: int = 0
    group_count: int = 0
    source_count: int = 0  # groups that lose entries
    lines: list[Line] = field(default_factory=list)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """``label``: in a few words what the draft takes."""

    draft: Draft
    label: str


def suggest_merges(group: ErrorGroup, other: ErrorGroup) -> list[Suggestion]:
    """Ways to bring ``other`` into ``group``: just what it holds; and, where the messages share words, all of them."""
    title = f"Merge: {group.headline}"[:_TITLE_MAX]
    just = Draft(
        kind=RuleKind.MERGE,
        sync_id=group.sync_id,
        group_id=group.pk,
        pattern=rulematch.from_title(other.title),
        error_type=other.error_type,
        error_code=other.error_code,
        field=other.field,
        target_id=group.pk,
        title=title,
    )
    alike = replace(
        just,
        pattern=rulematch.in_common([group.title, other.title]),
        error_type=other.error_type if other.error_type == group.error_type else "",
        error_code=other.error_code if other.error_code == group.error_code else "",
        field=other.field if other.field == group.field else "",
    )
    found = [
        Suggestion(just, "just what is in the other group"),
        Suggestion(alike, "all that says what the two have in common"),
    ]
    usable = [one for one in found if _is_pattern(one.draft)]
    if not usable:  # a message without words of its own
        return [Suggestion(replace(just, pattern=""), "all errors of the other group's type, code and field")]
    return usable


def suggest_splits(group: ErrorGroup) -> list[Suggestion]:
    """One for each place of the message that differs from row to row and can be told from its neighbours."""
    found = []
    for number in range(rulematch.mask_count(group.title)):
        draft = Draft(
            kind=RuleKind.SPLIT,
            sync_id=group.sync_id,
            group_id=group.pk,
            pattern=rulematch.from_title(group.title, value_at=number),
            error_type=group.error_type,
            error_code=group.error_code,
            field=group.field,
            title=f"Split: {group.headline}"[:_TITLE_MAX],
        )
        if _is_pattern(draft):
            found.append(Suggestion(draft, draft.pattern))
    return found


def _is_pattern(draft: Draft) -> bool:
    try:
        return bool(rulematch.compile_pattern(draft.pattern, is_split=draft.kind == RuleKind.SPLIT).text)
    except PatternError:
        return False


def candidates(group: ErrorGroup, *, most: int = 100) -> list[ErrorGroup]:
    """Groups of the same sync that it may be merged with: those with open entries first, newest first."""
    others = ErrorGroup.objects.filter(sync_id=group.sync_id).exclude(pk=group.pk)
    found = list(others.filter(open_count__gt=0).order_by("-last_seen_at", "-id")[:most])
    if len(found) < most:
        found += others.filter(open_count=0).order_by("-last_seen_at", "-id")[: most - len(found)]
    return found


def preview(draft: Draft) -> Preview:
    """Hold the rule against the newest open entries of the sync and of the groups concerned. Changes nothing."""
    looked = list(_newest(draft))
    try:
        rule = _compiled(draft)
    except (PatternError, ActRefusedError) as problem:
        return Preview(len(looked), problem=str(problem))
    matches: Counter[tuple[str, int]] = Counter()  # (value, group) -> entries
    for group_id, failure in looked:
        found = rule.match(failure, rulematch.readable(failure.message))
        if found is not None:
            matches[found.value, group_id] += 1
    return _weighed(draft, rule, len(looked), matches)


def _weighed(draft: Draft, rule: CompiledRule, looked: int, matches: Mapping[tuple[str, int], int]) -> Preview:
    groups = ErrorGroup.objects.in_bulk({pk for _value, pk in matches} | ({draft.target_id} if draft.target_id else set()))
    by_value: dict[str, Counter[int]] = {}
    spelled: dict[str, str] = {}
    for (value, group_id), count in matches.items():
        key = spelled.setdefault(value.casefold(), value)
        by_value.setdefault(key, Counter())[group_id] += count
    target = groups.get(draft.target_id or 0)
    lines = [
        Line(
            title=target.headline if target else rule.title(value),
            value=value,
            group=target,
            count=sum(sources.values()),
            sources=[(groups[pk], count) for pk, count in sources.most_common(_LINES)],
        )
        for value, sources in by_value.items()
    ]
    lines.sort(key=lambda line: -line.count)
    matched = sum(matches.values())
    moved = sum(count for (_value, pk), count in matches.items() if pk != draft.target_id)
    problem = _objection(draft, looked, matched, moved, len(lines))
    sources = {pk for _value, pk in matches} - {draft.target_id}
    return Preview(looked, matched, moved, len(lines), len(sources), lines[:_LINES], problem)


def _objection(draft: Draft, looked: int, matched: int, moved: int, groups: int) -> str:
    if not looked:
        return "The sync has no open dead letter to hold the rule against. Make it once there are some."
    if not matched:
        return (
            f"None of the {looked:,} dead letters looked at matches. The pattern describes the whole message: put “*” at its "
            "beginning and end where other text may stand, and compare the conditions."
        )
    if not moved:
        return "All that matches is in this group already, so the rule would change nothing."
    if groups > MAX_VALUES:
        return (
            f"{groups:,} groups would come out of {matched:,} dead letters: the text at {{value}} differs from row to row. "
            f"Put {{value}} where one of a few texts stands; at most {MAX_VALUES} groups may come out."
        )
    return ""


def create(draft: Draft, *, by: User | None, door: Door = Door.ADMIN) -> tuple[FingerprintRule, bool]:
    """Save the rule and regroup what is there. Returns it, and whether that is done; else a worker goes on with it.

    Raises ``ActRefusedError`` with the sentence of ``preview``.
    """
    title = " ".join(draft.title.split())
    if not title or len(title) > _TITLE_MAX or not title.isprintable():
        raise ActRefusedError(f"Give the rule a name of at most {_TITLE_MAX} characters.", field="title")
    problem = preview(draft).problem
    if problem:
        raise ActRefusedError(problem, field="pattern")
    with transaction.atomic():
        rule = replace(draft, title=title).rule()
        rule.pattern = rulematch.compile_pattern(draft.pattern, is_split=draft.kind == RuleKind.SPLIT).text
        rule.created_by = by
        rule.save(force_insert=True)
        about = {name: getattr(rule, name) for name in ("kind", "pattern", "error_type", "error_code", "field")}
        audit.record("created", rule, by=by, door=door, detail={"sync": rule.sync_id, "target": rule.target_id, **about})
        if FingerprintRule.objects.filter(sync_id=draft.sync_id, is_active=True).count() > MAX_RULES:
            raise ActRefusedError(f"The sync has {MAX_RULES} rules. Switch one off first.")
        regrouping.request(draft.sync_id, by=by, reason=f"Rule “{title}”")
    return rule, regrouping.start(draft.sync_id)


def switch(rule: FingerprintRule, *, is_active: bool, by: User | None, door: Door = Door.ADMIN) -> bool:
    """Switch a rule off, or on again, and regroup. Returns whether that is done. Raises ``ActRefusedError`` when nothing would
    change."""
    with transaction.atomic():
        others = FingerprintRule.objects.filter(sync_id=rule.sync_id, is_active=True).exclude(pk=rule.pk)
        if is_active and others.count() >= MAX_RULES:
            raise ActRefusedError(f"The sync has {MAX_RULES} rules. Switch one off first.")
        if not FingerprintRule.objects.filter(pk=rule.pk, is_active=not is_active).update(is_active=is_active):
            raise ActRefusedError(f"Nothing was changed: the rule is {'on' if is_active else 'off'} already.")
        audit.record("switched_on" if is_active else "switched_off", rule, by=by, door=door, detail={"sync": rule.sync_id})
        regrouping.request(rule.sync_id, by=by, reason=f"Rule “{rule.title}” switched {'on' if is_active else 'off'}"[:255])
    return regrouping.start(rule.sync_id)


def of_group(group: ErrorGroup) -> list[FingerprintRule]:
    """Those that move entries into this group, and the one that made it."""
    return list(FingerprintRule.objects.filter(Q(target=group) | Q(pk=group.rule_id or 0)).order_by("-is_active", "-pk"))


def _compiled(draft: Draft) -> CompiledRule:
    if draft.error_type and draft.error_type not in set(ErrorType):
        raise ActRefusedError("There is no such error type. Choose one from the list.", field="error_type")
    if draft.kind == RuleKind.MERGE:
        target = ErrorGroup.objects.filter(pk=draft.target_id or 0, sync_id=draft.sync_id)
        if not target.exists():
            raise ActRefusedError("Choose the group of this sync into which the others come.", field="target")
        if not (draft.pattern.strip() or draft.error_type or draft.error_code or draft.field):
            raise ActRefusedError(
                "Without a pattern or a condition the rule would take in every error of the sync. Say what is to be merged.",
                field="pattern",
            )
    return CompiledRule.of(draft.rule())


def _newest(draft: Draft) -> Iterator[tuple[int, Failure]]:
    """(group, failure) of each entry looked at, once."""
    seen: set[int] = set()
    columns = ("pk", "group_id", "error_type", "error_code", "field", "message")
    for chosen in _selections(draft):
        newest = chosen.filter(status=EntryStatus.OPEN).order_by("-last_failed_at")[:LOOKED_AT]
        for pk, group_id, *failure in newest.values_list(*columns):
            if pk not in seen:
                seen.add(pk)
                yield group_id, Failure(*failure)


def _selections(draft: Draft) -> Sequence[QuerySet[DLQEntry]]:
    mine = {draft.group_id, draft.target_id or draft.group_id}
    return [DLQEntry.objects.filter(group_id=pk) for pk in sorted(mine)] + [DLQEntry.objects.filter(sync_id=draft.sync_id)]
