"""What somebody may choose on “My alerts”, and what is wrong with a choice: each problem with its field, reason and way out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import time
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from monitoring.choices import Digest, Follows, Severity
from monitoring.models import Channel

# Of channels that a person may choose for himself: email goes to his own address, notices come anyway.
NOT_PERSONAL = ("email", "in_app")
NO_DIGESTS = ("pagerduty",)


@dataclass(frozen=True, slots=True)
class Choice:
    """For the syncs one owns, watches or may see. ``digest_weekday``: 0 is Monday; only weekly digests look at it."""

    is_active: bool = True
    min_severity: Severity = Severity.WARNING
    by_email: bool = False
    channel_id: int | None = None
    digest: Digest = Digest.NONE
    digest_hour: int = 8
    digest_weekday: int = 0


@dataclass(frozen=True, slots=True)
class Quiet:
    """Times of the day in ``timezone``; what is as grave as ``lets_through`` comes all the same."""

    timezone: str = "UTC"
    begin: time | None = None
    end: time | None = None
    lets_through: Severity = Severity.PAGE
    fallback_id: int | None = None

    @property
    def is_complete(self) -> bool:
        return self.begin is not None and self.end is not None


@dataclass(frozen=True, slots=True)
class Choices:
    of: Mapping[Follows, Choice]
    quiet: Quiet = field(default_factory=Quiet)


def changed(held: Choices, given: Mapping[str, Any]) -> Choices:
    """``given`` over what holds: choices by what they follow, each as a mapping of its fields; and the fields of the quiet
    hours, as columns of ``Subscription``. What is left out stays."""
    of = {follows: replace(choice, **_typed(given.get(follows.value, {}))) for follows, choice in held.of.items()}
    quiet = {field: given[name] for name, field in _QUIET.items() if name in given}
    quiet |= {name: time.fromisoformat(quiet[name]) for name in ("begin", "end") if quiet.get(name)}
    if "lets_through" in quiet:
        quiet["lets_through"] = Severity(quiet["lets_through"])
    return Choices(of, replace(held.quiet, **quiet))


_QUIET = {
    "timezone": "timezone",
    "quiet_from": "begin",
    "quiet_until": "end",
    "quiet_lets_through": "lets_through",
    "fallback_id": "fallback_id",
}


def _typed(given: Mapping[str, Any]) -> dict[str, Any]:
    kinds = {"min_severity": Severity, "digest": Digest}
    return {name: kinds[name](value) if name in kinds else value for name, value in given.items()}


class ChoicesRefusedError(ValueError):
    """``problems``: by field; a field of one choice has what it follows before it: ``owned-digest_hour``."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__(" ".join(problems.values()))
        self.problems = dict(problems)


def problems(choices: Choices, channels: Mapping[int, Channel], *, email: str) -> dict[str, str]:
    """By field; empty where all is well. ``channels``: that may be chosen, by id; ``email``: the person's address."""
    found = dict(_of_quiet(choices, channels))
    for follows, choice in choices.of.items():
        if choice.is_active:
            for name, text in _of_choice(choice, choices.quiet, channels, email, is_zone_good="timezone" not in found):
                found.setdefault(f"{follows}-{name}", text)
        elif choice.channel_id is not None and choice.channel_id not in channels:
            found.setdefault(f"{follows}-channel", _of_channel(choice.channel_id, channels))
    return found


def _of_quiet(choices: Choices, channels: Mapping[int, Channel]) -> Iterator[tuple[str, str]]:
    quiet = choices.quiet
    active = [choice for choice in choices.of.values() if choice.is_active]
    if quiet.timezone not in zones():
        yield "timezone", f"“{quiet.timezone[:60]}” is not a time zone. Take a name such as Europe/Berlin or America/New_York."
    elif quiet.timezone != "UTC" and not quiet.is_complete and all(choice.digest == Digest.NONE for choice in active):
        yield "timezone", "A time zone is for quiet hours and digests, and there are none. Give quiet hours, or choose UTC."
    if (quiet.begin is None) != (quiet.end is None):
        name = "quiet_from" if quiet.begin is None else "quiet_until"
        yield name, "Quiet hours need a beginning and an end: give both times, or neither."
    if quiet.begin is not None and quiet.begin == quiet.end:
        yield "quiet_until", "Quiet hours that end when they begin never end. To be told nothing, switch the alerts off."
    if quiet.fallback_id is not None:
        yield from _of_fallback(quiet, quiet.fallback_id, active, channels)


def _of_fallback(
    quiet: Quiet, fallback_id: int, active: list[Choice], channels: Mapping[int, Channel]
) -> Iterator[tuple[str, str]]:
    if quiet.begin is None and quiet.end is None:
        yield "fallback", "The fallback is for quiet hours, and there are none. Give both times, or choose no fallback."
    if text := _of_channel(fallback_id, channels):
        yield "fallback", text
    elif any(choice.channel_id == fallback_id for choice in active):
        yield (
            "fallback",
            f"{channels[fallback_id]} is where alerts go anyway, so nothing would be quiet. Choose another, or none.",
        )


def _of_choice(
    choice: Choice, quiet: Quiet, channels: Mapping[int, Channel], email: str, *, is_zone_good: bool
) -> Iterator[tuple[str, str]]:
    if choice.by_email and not email:
        yield "by_email", "Your account has no email address. Whoever manages people can add one; until then, take a channel."
    if choice.channel_id is not None and (text := _of_channel(choice.channel_id, channels)):
        yield "channel", text
    if choice.digest == Digest.NONE:
        return
    channel = channels.get(choice.channel_id or 0)
    if channel is not None and channel.kind in NO_DIGESTS:
        yield "digest", f"{channel} wakes people about incidents and takes no digests. Choose “At once”, or another channel."
    if not choice.by_email and choice.channel_id is None:
        yield "digest", "A digest needs a place to go: tick email, or choose a channel. Notices in the console come at once."
    if is_zone_good and quiet.begin and quiet.end and _holds(time(choice.digest_hour), quiet.begin, quiet.end):
        span = f"{quiet.begin:%H:%M} to {quiet.end:%H:%M}"
        yield "digest_hour", f"{choice.digest_hour:02}:00 is within your quiet hours ({span}). Choose an hour outside of them."


def _of_channel(channel_id: int, channels: Mapping[int, Channel]) -> str:
    channel = channels.get(channel_id)
    if channel is None:
        return "There is no such channel any more, or it is not for single persons. Choose another, or none."
    if not channel.is_enabled:
        why = f": {channel.disabled_reason}" if channel.disabled_reason else ""
        return f"{channel} is switched off{why}. Choose another, or none."
    return ""


def _holds(at: time, begin: time, end: time) -> bool:
    """Whether quiet hours hold at this time of the day."""
    return begin <= at < end if begin <= end else at >= begin or at < end


@cache
def zones() -> frozenset[str]:
    """Names people choose from; ``posix/`` and ``right/`` are other spellings of the same."""
    return frozenset(name for name in available_timezones() if not name.startswith(("posix", "right", "local")))
