"""What the dashboard is asked to show: tags, owners, connections and a span of time, from the address of the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urlencode

from monitoring.services.spans import DEFAULT, SPANS, Span
from monitoring.services.sync_lines import SyncLine

NOBODY = "none"
NAMES = {"tag": "Tag", "owner": "Owner", "connection": "Connection"}
PERIOD, WALL = "period", "wall"


@dataclass(frozen=True, slots=True)
class Choice:
    """One filter: the values it knows, and those in force."""

    name: str
    title: str
    options: tuple[tuple[str, str], ...]
    selected: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Filter:
    """``problems``: sentences about what could not be read; then nothing is to be shown."""

    choices: tuple[Choice, ...]
    span: Span
    is_wall: bool = False
    problems: tuple[str, ...] = field(default=())

    @property
    def is_narrow(self) -> bool:
        return any(choice.selected for choice in self.choices)

    def selected(self, name: str) -> tuple[str, ...]:
        return next((choice.selected for choice in self.choices if choice.name == name), ())

    def fits(self, line: SyncLine) -> bool:
        tags, owners, connections = (self.selected(name) for name in NAMES)
        return (
            (not tags or bool(line.tags.intersection(tags)))
            and (not owners or (str(line.owner_id) if line.owner_id else NOBODY) in owners)
            and (not connections or bool({str(line.source_id), str(line.destination_id)}.intersection(connections)))
        )

    def query(self, *, period: str | None = None, wall: bool | None = None, without: tuple[str, str] | None = None) -> str:
        """The part of the address behind the question mark, with one thing changed; what is usual is left out."""
        pairs = [(choice.name, value) for choice in self.choices for value in choice.selected]
        pairs = [pair for pair in pairs if pair != without]
        key = period or self.span.key
        pairs += [(PERIOD, key)] if key != DEFAULT else []
        pairs += [(WALL, "1")] if (self.is_wall if wall is None else wall) else []
        return f"?{urlencode(pairs)}"

    @property
    def chips(self) -> list[tuple[str, str]]:
        """(text, query without it) of each value in force."""
        return [
            (f"{choice.title}: {dict(choice.options)[value]}", self.query(without=(choice.name, value)))
            for choice in self.choices
            for value in choice.selected
        ]


def read(given: Mapping[str, Sequence[str]], lines: Iterable[SyncLine]) -> Filter:
    """``given``: parameter -> values. Options are those of the lines: what somebody may not see, he cannot ask for."""
    kept = list(lines)
    problems = [f"The overview has no filter called “{name[:60]}”." for name in given if name not in {*NAMES, PERIOD, WALL}]
    choices = []
    for choice in _choices(kept):
        values = tuple(dict.fromkeys(value for value in given.get(choice.name, ()) if value))
        known = dict(choice.options)
        problems += [f"{choice.title}: there is no “{value[:60]}”." for value in values if value not in known]
        choices.append(replace(choice, selected=tuple(value for value in values if value in known)))
    period = next((value for value in given.get(PERIOD, ()) if value), DEFAULT)
    if period not in SPANS:
        problems.append(f"Period: there is no “{period[:60]}”. Known: {', '.join(SPANS)}.")
    is_wall = "1" in given.get(WALL, ())
    return Filter(tuple(choices), SPANS.get(period, SPANS[DEFAULT]), is_wall, tuple(problems))


def _choices(lines: Sequence[SyncLine]) -> list[Choice]:
    owners = {str(line.owner_id): line.owner for line in lines if line.owner_id}
    connections = {str(line.source_id): line.source for line in lines}
    connections |= {str(line.destination_id): line.destination for line in lines}
    tags = {tag: tag for line in lines for tag in line.tags}
    nobody = [(NOBODY, "Nobody")] if any(line.owner_id is None for line in lines) else []
    options = {"tag": _by_label(tags), "owner": [*nobody, *_by_label(owners)], "connection": _by_label(connections)}
    return [Choice(name, title, tuple(options[name])) for name, title in NAMES.items()]


def _by_label(options: Mapping[str, str]) -> list[tuple[str, str]]:
    return sorted(options.items(), key=lambda pair: (pair[1].casefold(), pair[0]))
