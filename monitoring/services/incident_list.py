"""The list of incidents: its filter, strictly read from an address, and its pages by id, never by offset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlencode

from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from monitoring.choices import Condition, IncidentState, Severity
from monitoring.models import Incident, IncidentSync
from monitoring.services import incident_sight
from monitoring.services.incident_sight import visible_rules
from monitoring.services.incident_steps import LIVE
from syncs.connectors import Issue
from syncs.services import access

if TYPE_CHECKING:
    from django.contrib.auth.models import User

PAGE_SIZE = 50
ME, NOBODY = "me", "none"
PARAMETERS = ("show", "severity", "condition", "owner", "sync", "connection", "q", "before")
_TEXT_MAX = 100
E = TypeVar("E", bound=StrEnum)


class Shown(StrEnum):
    OPEN = "open"  # not over, and not following from another
    ACKNOWLEDGED = "acknowledged"
    FOLLOWING = "following"
    RESOLVED = "resolved"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the list was asked for; empty means "not filtered by this". With problems it shows nothing."""

    show: Shown = Shown.OPEN
    severities: tuple[Severity, ...] = ()
    conditions: tuple[Condition, ...] = ()
    owner: str = ""
    sync_id: int | None = None
    connection_id: int | None = None
    rule_id: int | None = None
    text: str = ""
    before: int | None = None
    problems: tuple[Issue, ...] = ()

    def query(self, **instead: str) -> str:
        pairs = [("show", self.show.value)] if self.show != Shown.OPEN else []
        pairs += [("severity", one.value) for one in self.severities] + [("condition", one.value) for one in self.conditions]
        single = {"owner": self.owner, "sync": self.sync_id, "connection": self.connection_id, "q": self.text, **instead}
        return urlencode(pairs + [(name, str(value)) for name, value in single.items() if value])

    @property
    def is_narrowed(self) -> bool:
        return bool(self.severities or self.conditions or self.owner or self.sync_id or self.connection_id or self.text)

    def without(self, name: str, value: str = "") -> Asked:
        empty = {"severity": "severities", "condition": "conditions", "sync": "sync_id", "connection": "connection_id"}
        if name in ("severity", "condition"):
            kept = tuple(one for one in getattr(self, empty[name]) if one.value != value)
            return replace(self, **{empty[name]: kept, "before": None})  # type: ignore[arg-type]
        blank = None if name in ("sync", "connection") else ""
        return replace(self, **{empty.get(name, {"q": "text"}.get(name, name)): blank, "before": None})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Line:
    """``names``: of a few affected syncs that the user may see; ``count``: how many of them there are."""

    incident: Incident
    names: tuple[str, ...]
    count: int
    followers: int

    @property
    def is_following(self) -> bool:
        return self.incident.follows_id is not None


@dataclass(frozen=True, slots=True)
class Page:
    lines: list[Line]
    older_query: str = ""


def parse(given: Mapping[str, Sequence[str]]) -> Asked:
    """From address parameters (name -> values). What is malformed or unknown is a problem, never a wider list."""
    reader = _Reader(given)
    asked = Asked(
        show=reader.several("show", Shown)[0] if reader.one("show") else Shown.OPEN,
        severities=reader.several("severity", Severity),
        conditions=reader.several("condition", Condition),
        owner=reader.owner(),
        sync_id=reader.number("sync"),
        connection_id=reader.number("connection"),
        text=reader.text(),
        before=reader.number("before"),
    )
    return replace(asked, problems=tuple(reader.problems))


class _Reader:
    def __init__(self, given: Mapping[str, Sequence[str]]) -> None:
        self.given = given
        unknown = [name for name in given if name not in PARAMETERS]
        self.problems = [Issue(name, f"is no filter of this list; there are {', '.join(PARAMETERS[:-1])}") for name in unknown]

    def values(self, name: str) -> list[str]:
        return list(dict.fromkeys(text for text in (value.strip() for value in self.given.get(name, ())) if text))

    def one(self, name: str) -> str:
        values = self.values(name)
        if len(values) > 1:
            self.problems.append(Issue(name, f"takes one value, but has {len(values)}"))
        return values[0] if values else ""

    def several(self, name: str, known: type[E]) -> tuple[E, ...]:
        values = self.values(name)
        found = tuple(known(value) for value in values if value in set(known))
        if len(found) < len(values):
            self.problems.append(Issue(name, f"is one of {', '.join(known)}"))
        return found or ((next(iter(known)),) if name == "show" else ())

    def number(self, name: str) -> int | None:
        value = self.one(name)
        if value and not _is_number(value):
            self.problems.append(Issue(name, "is a number"))
            return None
        return int(value) if value else None

    def owner(self) -> str:
        value = self.one("owner")
        if value and value not in (ME, NOBODY) and not _is_number(value):
            self.problems.append(Issue("owner", "is me, none, or the number of a user"))
            return ""
        return value

    def text(self) -> str:
        value = self.one("q")
        if len(value) > _TEXT_MAX or "\0" in value:
            self.problems.append(Issue("q", f"is a text of at most {_TEXT_MAX} characters, without NUL"))
            return ""
        return value


def page(asked: Asked, *, user: User) -> Page:
    """Newest first."""
    if asked.problems:
        return Page([])
    rows = list(chosen(asked, user).order_by("-id")[: PAGE_SIZE + 1])
    older = asked.query(before=str(rows[PAGE_SIZE - 1].pk)) if len(rows) > PAGE_SIZE else ""
    return Page(lines(rows[:PAGE_SIZE], user), older)


def counts(user: User) -> dict[str, int]:
    """{show: how many} of those that are not over."""
    live = incident_sight.visible(user).filter(state__in=LIVE)
    found = live.aggregate(
        open=Count("pk", filter=Q(follows=None)),
        acknowledged=Count("pk", filter=Q(follows=None, state=IncidentState.ACKNOWLEDGED)),
        following=Count("pk", filter=Q(follows__isnull=False)),
    )
    return dict(found)


def chosen(asked: Asked, user: User) -> QuerySet[Incident]:
    """Those that were asked for, among those that the user sees; in no order."""
    chosen = incident_sight.visible(user).filter(_SHOWN[asked.show])
    if asked.severities:
        chosen = chosen.filter(severity__in=asked.severities)
    if asked.conditions:
        chosen = chosen.filter(condition__in=asked.conditions)
    if asked.owner:
        who = Q(owner=None) if asked.owner == NOBODY else Q(owner=user.pk if asked.owner == ME else int(asked.owner))
        chosen = chosen.filter(who)
    if asked.sync_id is not None:
        # Of a sync that the user does not see there are none.
        its = access.scoped(IncidentSync.objects.filter(incident=OuterRef("pk"), sync=asked.sync_id), user)
        chosen = chosen.filter(Exists(its))
    if asked.connection_id is not None:
        chosen = chosen.filter(connection=asked.connection_id)
    if asked.rule_id is not None:
        chosen = chosen.filter(rules__in=visible_rules(user).filter(pk=asked.rule_id))
    if asked.text:
        chosen = chosen.filter(title__icontains=asked.text)
    if asked.before is not None:
        chosen = chosen.filter(pk__lt=asked.before)
    return chosen.select_related("owner")


_SHOWN = {
    Shown.OPEN: Q(state__in=LIVE, follows=None),
    Shown.ACKNOWLEDGED: Q(state=IncidentState.ACKNOWLEDGED, follows=None),
    Shown.FOLLOWING: Q(state__in=LIVE, follows__isnull=False),
    Shown.RESOLVED: Q(state=IncidentState.RESOLVED),
    Shown.ALL: Q(),
}


def lines(incidents: list[Incident], user: User) -> list[Line]:
    """Three queries, however many there are."""
    ids = [one.pk for one in incidents]
    if not ids:
        return []
    names: dict[int, list[str]] = {}
    affected = access.scoped(IncidentSync.objects.filter(incident__in=ids), user).order_by("recovered_at", "sync__name")
    for incident_id, name in affected.values_list("incident_id", "sync__name"):
        names.setdefault(incident_id, []).append(name)
    following = incident_sight.visible(user).filter(follows__in=ids, state__in=LIVE).order_by().values("follows")
    followers = dict(following.annotate(n=Count("pk")).values_list("follows", "n"))
    return [
        Line(one, tuple(names.get(one.pk, ())[:3]), len(names.get(one.pk, ())), followers.get(one.pk, 0)) for one in incidents
    ]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18
