"""Messages to people in the console: the bell, and the page behind it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from django.conf import settings
from django.db.models import Count, IntegerField, Max, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from monitoring.channels.base import Message
from monitoring.models import Incident, Notice
from monitoring.services import audience
from syncs.services import access

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MOST_SAID = 99  # the bell says "99+" of more
PAGE = 50


@dataclass(frozen=True, slots=True)
class Note:
    """``sync_id``: the only sync it speaks of, where there is one: who may not see that any more does not see the note."""

    user_id: int
    message: Message
    sync_id: int | None = None


def write(notes: Iterable[Note], *, at: datetime, incident: Incident | None = None, is_only_news: bool = False) -> int:
    """One notice for each. Earlier ones about the incident need not be read any more: the bell counts things, not messages.
    ``is_only_news``: nothing for whom the newest notice about the incident says the same."""
    if is_only_news and incident is not None:
        known = _last(incident)
        notes = [note for note in notes if known.get(note.user_id) != (note.message.event, note.message.title[:255])]
    made = [
        Notice(
            user_id=note.user_id,
            incident=incident,
            sync_id=note.sync_id,
            event=note.message.event,
            severity=note.message.severity,
            title=note.message.title[:255],
            text=note.message.text,
            url=inner(note.message.links[0][1]) if note.message.links else "",
            created_at=at,
        )
        for note in notes
    ]
    if made and incident is not None:
        Notice.objects.filter(incident=incident, user__in=[one.user_id for one in made], read_at__isnull=True).update(
            read_at=at
        )
    Notice.objects.bulk_create(made)
    return len(made)


def to_admins(message: Message, *, at: datetime) -> int:
    """What concerns the set-up of alerting itself, such as a channel that was switched off. Returns how many are told."""
    return write([Note(one.id, message) for one in audience.able().values() if one.is_admin], at=at)


def last_told(incident: Incident) -> dict[int, str]:
    """The event of the newest notice about it, by id of the user."""
    return {user_id: event for user_id, (event, _) in _last(incident).items()}


def _last(incident: Incident) -> dict[int, tuple[str, str]]:
    newest = Notice.objects.filter(incident=incident).order_by().values("user").annotate(last=Max("pk")).values("last")
    rows = Notice.objects.filter(pk__in=newest).values_list("user_id", "event", "title")
    return {user_id: (event, title) for user_id, event, title in rows}


def inner(url: str) -> str:
    """An address without the console's own origin; "" for any other, which a notice never leads to."""
    base = settings.RETL["BASE_URL"]
    path = url[len(base) :] if url.startswith(f"{base}/") else url
    parts = urlsplit(path)
    is_ours = not parts.scheme and not parts.netloc and path.startswith("/") and not path.startswith("//")
    return path[:500] if is_ours and "\\" not in path else ""


# --- for the person


def of(user: User) -> QuerySet[Notice]:
    """His own, newest first; without those about syncs that he may not see any more."""
    own = Notice.objects.filter(user=user)
    ids = access.visible_sync_ids(user)
    if ids is None:
        return own
    of_sync = Q(sync=None) | Q(sync__in=ids)
    return own.filter(of_sync, Q(incident=None) | Q(incident__sync=None) | Q(incident__sync__in=ids))


def with_unread(users: QuerySet[User]) -> QuerySet[User]:
    """With ``unread_notices``, counted in the index of unread ones."""
    unread = Notice.objects.filter(user=OuterRef("pk"), read_at__isnull=True).order_by().values("user")
    counted = unread.annotate(n=Count("pk")).values("n")
    return users.annotate(unread_notices=Coalesce(Subquery(counted), 0, output_field=IntegerField()))


def unread_count(user: User) -> int:
    """As the login found it for this request (``with_unread``), else counted now."""
    known: int | None = getattr(user, "unread_notices", None)
    return Notice.objects.filter(user=user, read_at__isnull=True).count() if known is None else known


@dataclass(frozen=True, slots=True)
class Page:
    """``older``: the number before which the next page begins; None at the end. ``newest``: of what is shown here."""

    notices: list[Notice]
    older: int | None
    unread_count: int

    @property
    def newest(self) -> int | None:
        return self.notices[0].pk if self.notices else None


def page(user: User, *, before: int | None, is_unread: bool) -> Page:
    rows = of(user).order_by("-pk")
    if is_unread:
        rows = rows.filter(read_at=None)
    if before is not None:
        rows = rows.filter(pk__lt=before)
    found = list(rows[: PAGE + 1])
    shown = found[:PAGE]
    return Page(shown, shown[-1].pk if len(found) > PAGE else None, unread_count(user))


def read(user: User, *, at: datetime, pk: int | None = None, up_to: int | None = None) -> str:
    """Mark one of his own, or all up to the newest that he was shown. Returns where the one leads to; "" where nowhere."""
    mine = Notice.objects.filter(user=user)
    mine = mine.filter(pk=pk) if pk is not None else mine.filter(pk__lte=up_to)
    mine.filter(read_at=None).update(read_at=at)
    url = mine.values_list("url", flat=True).first() if pk is not None else ""
    return inner(url or "")
