"""What a reader of a feed asks for: how far it has read, how much it takes, and of what. Wrong values are named."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.utils.dateparse import parse_datetime

from syncs.connectors import Issue

LIMIT, MOST = 100, 500
BEGINNING = timedelta(days=1)  # where a reader without a cursor begins


@dataclass(frozen=True, slots=True)
class Position:
    """Up to where a feed was read: a moment and, among what shares it, an id."""

    at: datetime
    id: int

    def cursor(self, feed: str) -> str:
        text = json.dumps([feed, self.at.astimezone(UTC).isoformat(), self.id], separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@dataclass(frozen=True, slots=True)
class Asked:
    """``sync_id`` None: of all syncs. ``words``: the values of the feed's own filter; empty: all."""

    after: Position
    limit: int = LIMIT
    sync_id: int | None = None
    words: tuple[str, ...] = ()


@dataclass(slots=True)
class _Reading:
    given: Mapping[str, str]
    issues: list[Issue] = field(default_factory=list)

    def value(self, name: str, read: Callable[[str], object], problem: str) -> object:
        text = self.given.get(name, "").strip()
        if not text:
            return None
        try:
            return read(text)
        except (ValueError, OverflowError):
            self.issues.append(Issue(name, problem))
            return None


def parse(given: Mapping[str, str], *, feed: str, word: str, words: Sequence[str], now: datetime) -> tuple[Asked, list[Issue]]:
    """``word``: the name of the feed's own filter, ``words``: what it may say, several joined by commas."""
    reading = _Reading(given)
    known = ("after", "since", "limit", "sync", word)
    reading.issues += [
        Issue(name[:80], f"This feed knows no parameter of that name. It knows {', '.join(known)}.")
        for name in given
        if name not in known
    ]
    after = reading.value(
        "after", lambda text: _position(text, feed), "This is no cursor of this feed. Leave it out to begin anew."
    )
    since = reading.value("since", _moment, "Write a moment like 2026-05-01T00:00:00Z.")
    limit = reading.value("limit", _number(1, MOST), f"Give a number from 1 to {MOST}.")
    sync_id = reading.value("sync", _number(1, 2**63 - 1), "Give the number of a sync.")
    chosen = tuple(part for part in given.get(word, "").replace(" ", "").split(",") if part)
    if set(chosen) - set(words):
        reading.issues.append(Issue(word, f"Choose among {', '.join(words)}; several are joined by commas."))
    start = after or Position(since if isinstance(since, datetime) else now - BEGINNING, 0)
    assert isinstance(start, Position)
    return (
        Asked(
            start,
            limit if isinstance(limit, int) else LIMIT,
            sync_id if isinstance(sync_id, int) else None,
            chosen,
        ),
        reading.issues,
    )


def _position(text: str, feed: str) -> Position:
    try:
        named, at, pk = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        moment = datetime.fromisoformat(at)
    except (binascii.Error, TypeError, RecursionError) as error:
        raise ValueError("no cursor") from error
    if named != feed or not isinstance(pk, int) or not 0 <= pk < 2**63 or moment.tzinfo is None:
        raise ValueError("a cursor of something else")
    return Position(moment, pk)


def _moment(text: str) -> datetime:
    moment = parse_datetime(text.replace(" ", "+") if "T" in text else text)
    if moment is None:
        raise ValueError("no moment")
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _number(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise ValueError("out of range")
        return int(text)

    return read
