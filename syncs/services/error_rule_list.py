"""The error rules for their list: by place, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from django.db.models import F

from syncs.choices import ConnectionRole
from syncs.destinations import registry
from syncs.errors import ErrorType
from syncs.models import Connection, ErrorRule
from syncs.services.error_rules import Place, place_of


@dataclass(frozen=True, slots=True)
class Line:
    rule: ErrorRule

    @property
    def is_permanent(self) -> bool:
        said = self.rule.is_permanent
        return ErrorType(self.rule.error_type).info.is_permanent if said is None else said

    @property
    def statuses(self) -> str:
        return ", ".join(map(str, self.rule.statuses))

    @property
    def codes(self) -> Sequence[str]:
        return [str(code) for code in self.rule.codes][:5]

    @property
    def more_codes(self) -> int:
        return max(0, len(self.rule.codes) - 5)


@dataclass(slots=True)
class Section:
    """Rules of one place. ``query``: names the place in addresses."""

    place: Place
    lines: list[Line] = field(default_factory=list)

    @property
    def query(self) -> str:
        return f"connection={self.place.connection.pk}" if self.place.connection is not None else f"kind={self.place.kind}"


def sections(where: Place | None) -> list[Section]:
    """Of a connection: its own, then its kind's, which decide as well. Without a place: all that have rules. One query."""
    chosen = ErrorRule.objects.select_related("connection", "updated_by").defer("connection__secrets", "connection__config")
    by_name = F("connection__name").asc(nulls_last=True)  # databases differ; those of kinds come last
    shown: list[Section] = []
    if where is not None:
        shown = [Section(where)]
        if where.connection is not None:
            shown.append(Section(Place(kind=where.connection.kind)))
    found = {_key(section.place): section for section in shown}
    for rule in chosen.order_by(by_name, "kind", "position", "pk"):
        place = place_of(rule)
        if where is None and _key(place) not in found:
            found[_key(place)] = Section(place)
        if _key(place) in found:
            found[_key(place)].lines.append(Line(rule))
    return list(found.values())


def _key(place: Place) -> tuple[int, str]:
    return (place.connection.pk if place.connection is not None else 0, place.kind)


def places() -> list[tuple[str, str, str]]:
    """(name, value, label) of what a rule may be for: destinations by name, then kinds."""
    destinations = Connection.objects.filter(role=ConnectionRole.DESTINATION).order_by("name").values_list("pk", "name")[:500]
    kinds = [("kind", kind, f"Every connection of the kind “{label}”") for kind, label in registry.kinds()]
    return [("connection", str(pk), name) for pk, name in destinations] + kinds


def count_for(connection: Connection) -> int:
    """Rules that are on and hold for its answers."""
    mine = ErrorRule.objects.filter(connection=connection, is_enabled=True)
    return (mine | ErrorRule.objects.filter(connection__isnull=True, kind=connection.kind, is_enabled=True)).count()
