"""What a bulk act was confirmed for: a signed text that goes through the confirmation page and back.

It freezes by predicate (the filter with absolute times, the highest id, nothing touched after the as-of time), never by a
list of a million ids; ticked rows are at most a page and go as ids.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from django.core import signing
from django.db.models import Count, Max
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from dlq.models import DLQEntry
from dlq.querysets import DLQEntryQuerySet
from dlq.services import operation_access, tally
from dlq.services.moves import ActRefusedError
from dlq.services.selection import EntryFilter, parse
from syncs.services import access

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MAX_AGE = timedelta(hours=1)
MAX_TICKED = 1_000
_SALT = "dlq.bulk"


class BulkKind(StrEnum):
    REPROCESS = "reprocess"
    DISCARD = "discard"
    EXPORT = "export"
    REOPEN = "reopen"
    ASSIGN = "assign"
    CHECK = "check"


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look at a sample of the warehouse rows found: dead letters by state. ``notes``: what was not read, and why."""

    same: int = 0
    changed: int = 0
    gone: int = 0
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        return self.same + self.changed + self.gone


@dataclass(frozen=True, slots=True)
class Shown:
    """What the confirmation page said. ``count``: dead letters that the act takes. ``changed_count``: of these, those whose
    sync has changed since they failed; ``looked``: None until somebody looked. These two are for a reprocess.
    """

    count: int = 0
    changed_count: int = 0
    looked: Looked | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """``query``: the filter with absolute times. ``ids``: ticked rows; None: all that match. ``count``: all of them then.

    ``nonce`` is this confirmation's own: what is made of it is made once, however often the form is posted. ``shown``: what its
    page said, so that the post is held to that without counting again.
    """

    kind: BulkKind
    query: str
    ids: tuple[int, ...] | None
    max_id: int
    as_of: datetime
    count: int
    user_id: int
    nonce: str = ""
    shown: Shown = Shown()
    found: EntryFilter | None = field(default=None, compare=False, repr=False)  # ``query`` as read: reading asks the database

    @property
    def digest(self) -> str:
        """SHA-256 of the nonce, in hex: what is stored of a confirmation, to find what it made when it is posted again."""
        return hashlib.sha256(self.nonce.encode()).hexdigest()

    def entries(self) -> DLQEntryQuerySet:
        """The selection as confirmed, less what was touched since."""
        if self.ids is not None:
            chosen = DLQEntry.objects.filter(pk__in=self.ids)
        else:
            chosen = self.filter().entries()
        return chosen.frozen(max_id=self.max_id, as_of=self.as_of)

    def filter(self) -> EntryFilter:
        """Raises ``ActRefusedError`` where the signed text cannot be read any more."""
        return self.found or _filter_of(self.query)

    def showing(self, **values: Any) -> Snapshot:
        """The same confirmation, with what its page says of it."""
        return replace(self, shown=replace(self.shown, **values))

    def token(self) -> str:
        values = asdict(replace(self, found=None)) | {"kind": self.kind.value, "as_of": self.as_of.isoformat()}
        del values["found"]
        return signing.dumps(values, salt=_SALT, compress=True)


def take(kind: BulkKind, found: EntryFilter, *, user: User, ids: tuple[int, ...] | None = None) -> Snapshot:
    """Freeze what is there now, of the syncs that the user may see. ``ids`` None: all that match the filter."""
    if ids is not None and len(ids) > MAX_TICKED:
        raise ActRefusedError(f"At most {MAX_TICKED:,} rows can be ticked; narrow the filter and take all that match it.")
    now = timezone.now()
    fixed = _within_sight(found.at(now), user)
    if ids is None:
        chosen = fixed.entries()
    else:
        chosen = access.scoped(DLQEntry.objects.filter(pk__in=ids), user)
        ids = tuple(chosen.order_by("pk").values_list("pk", flat=True))
    count, last = _there(chosen, now, tallied=tally.total(fixed) if ids is None else None)
    return Snapshot(kind, fixed.query(), ids, last, now, count, user.pk, secrets.token_urlsafe(18), found=fixed)


def _there(chosen: DLQEntryQuerySet, now: datetime, *, tallied: int | None) -> tuple[int, int]:
    """How many, and the highest id: what arrives later has a higher one. ``tallied``: the number, where it is known without
    counting; of a million that saves the second it takes to read them."""
    if tallied is None:
        there = chosen.order_by().filter(updated_at__lte=now).aggregate(count=Count("pk"), last=Max("pk"))
        return there["count"], there["last"] or 0
    return tallied, DLQEntry.objects.order_by().aggregate(last=Max("pk"))["last"] or 0


def _within_sight(fixed: EntryFilter, user: User) -> EntryFilter:
    """Narrowed to the syncs that the user may see, so that whoever carries it out needs to know nothing of teams."""
    visible = access.visible_sync_ids(user)
    if visible is None or operation_access.sees_every_sync(user):
        return fixed
    scope = fixed.scope()
    seen = tuple(pk for pk in visible if scope is None or pk in scope)
    return replace(fixed, connection_sync_ids=seen) if seen else replace(fixed, is_nothing=True)


def load(token: str, kind: BulkKind | None, *, user: User) -> Snapshot:
    """``kind`` None: whichever it was confirmed for.

    Raises ``ActRefusedError`` when it is too old, was changed on its way, or belongs to another act or person.
    """
    try:
        values = signing.loads(token, salt=_SALT, max_age=MAX_AGE)
    except signing.SignatureExpired:
        raise ActRefusedError("This confirmation is older than an hour. Choose the dead letters again.") from None
    except signing.BadSignature:
        raise ActRefusedError("This confirmation is not valid. Choose the dead letters again.") from None
    if (kind is not None and values["kind"] != kind) or values["user_id"] != user.pk:
        raise ActRefusedError("This confirmation belongs to another act or another user. Choose the dead letters again.")
    as_of = parse_datetime(values["as_of"])
    assert as_of is not None  # we signed it
    if timezone.now() - as_of > MAX_AGE:  # signed again since, with what a look found
        raise ActRefusedError("This confirmation is older than an hour. Choose the dead letters again.")
    ids = values["ids"]
    return Snapshot(
        kind=BulkKind(values["kind"]),
        query=values["query"],
        ids=None if ids is None else tuple(ids),
        max_id=values["max_id"],
        as_of=as_of,
        count=values["count"],
        user_id=values["user_id"],
        nonce=values.get("nonce", ""),
        shown=_shown(values.get("shown") or {}),
    )


def _shown(values: Mapping[str, Any]) -> Shown:
    looked = values.get("looked")
    found = Looked(**{**looked, "notes": tuple(looked["notes"])}) if looked else None
    return Shown(**{**values, "looked": found}) if values else Shown()


def checked(snapshot: Snapshot) -> DLQEntryQuerySet:
    """Its entries; refuses when more match than were shown, which a commit in the same instant could cause."""
    entries = snapshot.entries()
    if entries.count() > snapshot.count:
        raise ActRefusedError("Dead letters arrived in the very moment of the confirmation. Look at it once more.")
    return entries


def _filter_of(query: str) -> EntryFilter:
    """The filter as signed. A sync or group that has gone since matches nothing, so that nothing more is matched either."""
    parsed = parse(parse_qs(query, keep_blank_values=True))
    if parsed.problems:
        raise ActRefusedError(f"{parsed.problems[0].field} {parsed.problems[0].message}. Choose the dead letters again.")
    return parsed.filter
