"""Error rules of a connection or a kind: read for a run, written by people, every change in the audit log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from syncs.choices import ConnectionRole
from syncs.connectors import Issue
from syncs.destinations import registry, ruled
from syncs.destinations.expressions import problem
from syncs.destinations.ruled import ASSIGNABLE, Rule
from syncs.errors import ErrorType, RedriveError
from syncs.models import Connection, ErrorRule
from syncs.services import audit

if TYPE_CHECKING:
    from datetime import datetime

    from django.contrib.auth.models import User

MAX_RULES = 100  # of a connection or a kind: each refused row is held against them
MAX_STATUSES = 50
MAX_CODES = 50
NAME_MAX, CODE_MAX, ADVICE_MAX = 120, 120, 2_000
NO_CONDITION = "Give at least one condition, or every answer would be taken for this: a status, a code or a text."
CHANGED_MEANWHILE = "Somebody has changed or deleted the rule since you opened it. Open it again and look what it says now."
_AUDITED = ("name", "statuses", "codes", "text", "error_type", "is_permanent", "advice", "is_enabled", "position")


class RuleRefusedError(RedriveError):
    """The change cannot be made as asked, and was not. ``issues``: what is wrong with which field."""

    def __init__(self, message: str, issues: Sequence[Issue] = ()) -> None:
        super().__init__(message)
        self.issues = list(issues) or [Issue("", message)]


@dataclass(frozen=True, slots=True)
class Place:
    """Whose rules: of one connection, or of every connection of a kind. One of the two is given."""

    connection: Connection | None = None
    kind: str = ""

    @property
    def name(self) -> str:
        if self.connection is not None:
            return str(self.connection)
        label: str = dict(registry.kinds()).get(self.kind, self.kind)
        return f"every connection of the kind “{label}”"

    def rules(self) -> QuerySet[ErrorRule]:
        """In the order in which they are tried."""
        if self.connection is not None:
            return ErrorRule.objects.filter(connection=self.connection).order_by("position", "pk")
        return ErrorRule.objects.filter(connection__isnull=True, kind=self.kind).order_by("position", "pk")

    def reaches(self) -> QuerySet[Connection]:
        """The connections whose answers are held against these rules."""
        chosen = Connection.objects.filter(role=ConnectionRole.DESTINATION)
        return chosen.filter(pk=self.connection.pk) if self.connection is not None else chosen.filter(kind=self.kind)


@dataclass(frozen=True, slots=True)
class Draft:
    """A rule as somebody wrote it, not yet saved. ``pk``: the saved one that it changes, or None."""

    place: Place
    name: str = ""
    statuses: tuple[int, ...] = ()
    codes: tuple[str, ...] = ()
    text: str = ""
    error_type: str = ErrorType.VALIDATION
    is_permanent: bool | None = None
    advice: str = ""
    is_enabled: bool = True
    pk: int | None = None

    @classmethod
    def of(cls, rule: ErrorRule) -> Draft:
        return cls(
            place_of(rule),
            rule.name,
            tuple(rule.statuses),
            tuple(rule.codes),
            rule.text,
            rule.error_type,
            rule.is_permanent,
            rule.advice,
            rule.is_enabled,
            rule.pk,
        )

    def compiled(self) -> Rule:
        """Raises ``ExpressionError`` or ``ValueError`` for what ``issues`` names."""
        return _compile(self, self.pk or 0)


def place_of(rule: ErrorRule) -> Place:
    return Place(rule.connection, rule.kind)


# --- read


def load(connections: Iterable[Connection]) -> dict[int, list[Rule]]:
    """Connection id -> its rules in the order in which they decide: its own, then its kind's; without those that are off.
    One query."""
    wanted = list(connections)
    of_them = Q(connection__in=[one.pk for one in wanted]) | Q(connection__isnull=True, kind__in={one.kind for one in wanted})
    rules = list(ErrorRule.objects.filter(of_them, is_enabled=True).order_by("position", "pk"))
    return {one.pk: compile_chain(one, rules) for one in wanted}


def compile_chain(connection: Connection, rules: Iterable[ErrorRule | Draft]) -> list[Rule]:
    """Of these, those that hold for the connection, in the order in which they decide. Those of the same place keep the order
    they come in."""
    mine: list[ErrorRule | Draft] = []
    of_kind: list[ErrorRule | Draft] = []
    for rule in rules:
        own, kind = (rule.connection_id, rule.kind) if isinstance(rule, ErrorRule) else _owner(rule.place)
        if own == connection.pk:
            mine.append(rule)
        elif own is None and kind == connection.kind:
            of_kind.append(rule)
    return ruled.compile_rules(_compiler(rule) for rule in (*mine, *of_kind))


def _owner(place: Place) -> tuple[int | None, str]:
    return (place.connection.pk if place.connection else None), place.kind


def _compiler(rule: ErrorRule | Draft) -> Callable[[], Rule]:
    return partial(_compile, rule, rule.pk or 0)


def _compile(rule: ErrorRule | Draft, pk: int) -> Rule:
    return Rule.of(
        id=pk,
        name=rule.name,
        error_type=rule.error_type,
        is_permanent=rule.is_permanent,
        statuses=rule.statuses,
        codes=rule.codes,
        text=rule.text,
    )


def advice(rule_id: int | None) -> ErrorRule | None:
    """The rule that decided, as it is now. None where none did, or it was deleted."""
    return ErrorRule.objects.filter(pk=rule_id).select_related("connection").first() if rule_id else None


# --- what is wrong with a draft


def issues(draft: Draft) -> list[Issue]:
    """Each with the field's name, the reason and the way out. Asks the database for nothing."""
    found = [Issue(*pair) for pair in _place_issues(draft.place)]
    name = " ".join(draft.name.split())
    if not name or len(name) > NAME_MAX or not name.isprintable():
        found.append(Issue("name", f"Give the rule a name of at most {NAME_MAX} characters."))
    found += _condition_issues(draft)
    if draft.error_type not in ASSIGNABLE:
        words = "Redrive alone knows when that is so" if draft.error_type in set(ErrorType) else "There is no such type"
        found.append(Issue("error_type", f"{words}. Choose one of the list."))
    if len(draft.advice) > ADVICE_MAX:
        found.append(
            Issue("advice", f"It has {len(draft.advice):,} characters; at most {ADVICE_MAX:,} fit. Link to a runbook.")
        )
    if "\0" in draft.advice:
        found.append(Issue("advice", "It holds a NUL character. Take it out."))
    return found


def _place_issues(place: Place) -> list[tuple[str, str]]:
    if place.connection is not None:
        is_source = place.connection.role != ConnectionRole.DESTINATION
        return [("connection", f"“{place.connection}” is a source; rules are for destinations.")] if is_source else []
    if place.kind not in dict(registry.kinds()):
        return [("kind", f"There is no kind of destination “{place.kind[:40]}”. Choose one of the list.")]
    return []


def _condition_issues(draft: Draft) -> list[Issue]:
    found = []
    if not (draft.statuses or draft.codes or draft.text):
        found.append(Issue("text", NO_CONDITION))
    wrong = [status for status in draft.statuses if not 100 <= status <= 599]
    if wrong:
        found.append(Issue("statuses", f"{wrong[0]} is no HTTP status: they go from 100 to 599."))
    if len(draft.statuses) > MAX_STATUSES:
        found.append(Issue("statuses", f"At most {MAX_STATUSES} statuses fit. Leave the field empty for any status."))
    if len(draft.codes) > MAX_CODES:
        found.append(Issue("codes", f"At most {MAX_CODES} codes fit. Make a second rule for the rest."))
    for code in draft.codes:
        if not code.strip() or len(code) > CODE_MAX or "\0" in code:
            found.append(Issue("codes", f"“{code[:40]}” is no code: one a line, at most {CODE_MAX} characters each."))
            break
    said = problem(draft.text) if draft.text else ""
    return [*found, Issue("text", said)] if said else found


# --- write


@transaction.atomic
def save(draft: Draft, *, by: User | None, door: str, seen_at: datetime | None = None) -> ErrorRule:
    """Create the rule, at the end of its place, or change it. ``seen_at``: the ``updated_at`` of what the person looked at.

    Raises ``RuleRefusedError``: a field is wrong, the place is full, or somebody changed the rule meanwhile.
    """
    draft = replace(draft, name=" ".join(draft.name.split()), text=draft.text.strip(), advice=draft.advice.strip())
    wrong = issues(draft)
    if wrong:
        raise RuleRefusedError("The rule is not saved: correct what is named below.", wrong)
    return _create(draft, by=by, door=door) if draft.pk is None else _change(draft, by=by, door=door, seen_at=seen_at)


def _create(draft: Draft, *, by: User | None, door: str) -> ErrorRule:
    others = _locked(draft.place)
    if len(others) >= MAX_RULES:
        raise RuleRefusedError(f"There are {MAX_RULES} rules for {draft.place.name} already. Delete one that decides nothing.")
    position = max((rule.position for rule in others), default=-1) + 1
    rule = ErrorRule.objects.create(
        connection=draft.place.connection, kind=draft.place.kind, position=position, updated_by=by, **_values(draft)
    )
    detail = {"of": draft.place.name, **{name: [None, getattr(rule, name)] for name in _AUDITED}}
    audit.record("created", rule, by=by, door=door, detail=detail)
    return rule


def _change(draft: Draft, *, by: User | None, door: str, seen_at: datetime | None) -> ErrorRule:
    before = ErrorRule.objects.select_for_update().filter(pk=draft.pk or 0).first()
    if before is None or (seen_at is not None and before.updated_at != seen_at):
        raise RuleRefusedError(CHANGED_MEANWHILE)
    changes = audit.differences(_as_dict(before), {**_as_dict(before), **_values(draft)})
    if changes:
        ErrorRule.objects.filter(pk=before.pk).update(**_values(draft), updated_at=timezone.now(), updated_by=by)
        after = ErrorRule.objects.get(pk=before.pk)
        audit.record("changed", after, by=by, door=door, detail={"of": draft.place.name, **changes})
        return after
    return before


def switch(rule: ErrorRule, *, is_enabled: bool, by: User | None, door: str) -> bool:
    """Returns whether anything changed."""
    with transaction.atomic():
        mine = ErrorRule.objects.filter(pk=rule.pk, is_enabled=not is_enabled)
        if not mine.update(is_enabled=is_enabled, updated_at=timezone.now(), updated_by=by):
            return False
        detail = {"of": place_of(rule).name, "is_enabled": [not is_enabled, is_enabled]}
        audit.record("enabled" if is_enabled else "disabled", rule, by=by, door=door, detail=detail)
    return True


def move(rule: ErrorRule, *, by_places: int, by: User | None, door: str) -> bool:
    """Earlier (-1) or later (+1) among the rules of its place. Returns whether it moved."""
    with transaction.atomic():
        place = place_of(rule)
        rules = _locked(place)
        ids = [one.pk for one in rules]
        if rule.pk not in ids:
            return False
        at = ids.index(rule.pk)
        to = max(0, min(len(ids) - 1, at + by_places))
        if at == to:
            return False
        rules.insert(to, rules.pop(at))
        for position, one in enumerate(rules):
            if one.position != position:
                ErrorRule.objects.filter(pk=one.pk).update(position=position)
        detail = {"of": place.name, "place": [at + 1, to + 1]}
        audit.record("moved", rule, by=by, door=door, detail=detail)
    return True


def delete(rule: ErrorRule, *, by: User | None, door: str) -> bool:
    """Returns whether it was there. Dead letters that it decided keep the type it gave, until the rules are applied anew."""
    with transaction.atomic():
        found = ErrorRule.objects.select_for_update().filter(pk=rule.pk).first()
        if found is None:
            return False
        detail = {"of": place_of(found).name, **{name: [getattr(found, name), None] for name in _AUDITED}}
        audit.record("deleted", found, by=by, door=door, detail=detail)
        ErrorRule.objects.filter(pk=found.pk).delete()
    return True


def _locked(place: Place) -> list[ErrorRule]:
    """Who adds to a place or orders it comes after the other."""
    if place.connection is not None:
        Connection.objects.select_for_update(no_key=True).only("pk").get(pk=place.connection.pk)
    return list(place.rules().select_for_update(of=("self",)))


def _values(draft: Draft) -> dict[str, Any]:
    return {
        "name": draft.name,
        "statuses": sorted(set(draft.statuses)),
        "codes": list(dict.fromkeys(code.strip() for code in draft.codes)),
        "text": draft.text,
        "error_type": str(draft.error_type),
        "is_permanent": draft.is_permanent,
        "advice": draft.advice,
        "is_enabled": draft.is_enabled,
    }


def _as_dict(rule: ErrorRule) -> dict[str, Any]:
    return {name: getattr(rule, name) for name in _AUDITED}
