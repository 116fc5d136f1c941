"""What a kind of channel is: declared settings, and a way to send one message to one place.

A kind is a module, see ``channels.registry.Kind``. Plain Python, but for email.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from monitoring.choices import Event, Severity

# Seconds to wait before each further attempt: quickly at first, almost 16 hours in all.
WAITS = (5, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800)
# What the services that page and chat are for.
INCIDENTS = frozenset(
    {Event.INCIDENT_OPENED, Event.INCIDENT_CHANGED, Event.INCIDENT_ACKNOWLEDGED, Event.INCIDENT_RESOLVED, Event.TEST}
)


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be said, whatever the channel. Holds no value of a row and no secret.

    ``id``: the same at every attempt (a UUID). ``subject``: what it is about, the same from an incident's opening to its end
    (PagerDuty's dedup key, the thread of an email). ``facts``, ``links``: label and value or address; the first link is the
    main one. ``data``: the documented JSON of webhooks (docs/channels.md).
    """

    id: str
    event: Event
    severity: Severity
    subject: str
    title: str
    text: str
    at: datetime
    facts: tuple[tuple[str, str], ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        made = asdict(self)
        made["at"] = self.at.isoformat()
        return made

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Message:
        return cls(
            id=stored["id"],
            event=Event(stored["event"]),
            severity=Severity(stored["severity"]),
            subject=stored["subject"],
            title=stored["title"],
            text=stored["text"],
            at=datetime.fromisoformat(stored["at"]),
            facts=tuple((label, value) for label, value in stored.get("facts", ())),
            links=tuple((label, url) for label, url in stored.get("links", ())),
            data=stored.get("data", {}),
        )


@dataclass(frozen=True, slots=True)
class Place:
    """Where to: the settings of a channel, decrypted, and for messages to one person their address.

    ``recipients``: email addresses; user names where messages stay in the console."""

    config: Mapping[str, Any]
    secrets: Mapping[str, Any]
    recipients: tuple[str, ...] = ()
    allowed_private_networks: tuple[str, ...] = ()
    # Standard Webhooks: the secret before a rotation signs as well until its overlap ends.
    former_secret: str = ""
    # Writes notices in the console for people named by ``recipients``; returns the names that nobody has.
    note: Callable[[Message, tuple[str, ...]], list[str]] | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """How one call went. ``is_gone``: the place says it does not exist any more (410): do not try again.
    ``retry_after``: seconds. ``error``, ``excerpt``: redacted, safe to show."""

    is_delivered: bool
    http_status: int | None = None
    milliseconds: float = 0.0
    error: str = ""
    excerpt: str = ""
    is_gone: bool = False
    is_permanent: bool = False  # will be refused the same way again
    retry_after: float | None = None
