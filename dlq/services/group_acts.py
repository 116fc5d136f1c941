"""The acts of people on an error group: one conditional UPDATE each, and an event that says who, when, what, why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from dlq.choices import Door, GroupEventKind, GroupState
from dlq.models import ErrorGroup, GroupEvent
from dlq.services.moves import ActRefusedError, checked_reason

if TYPE_CHECKING:
    from django.contrib.auth.models import User

NOTE_MAX = 10_000
URL_MAX = 500


@dataclass(frozen=True, slots=True)
class GroupAct:
    """``sentence``: what was done, for people. ``group``: as it is now."""

    group: ErrorGroup
    sentence: str


def acknowledge(group: ErrorGroup, *, by: User | None, door: Door, reason: str = "") -> GroupAct:
    """Somebody has seen it and works on it. Raises ``ActRefusedError`` when it is acknowledged or resolved."""
    states = (GroupState.OPEN, GroupState.REGRESSED)
    now = _change(group, states, GroupState.ACKNOWLEDGED, GroupEventKind.ACKNOWLEDGED, by, door, reason)
    return GroupAct(now, "The error is acknowledged.")


def resolve(group: ErrorGroup, *, by: User | None, door: Door, reason: str) -> GroupAct:
    """Somebody believes that it is fixed. Its dead letters stay as they are; the next failure makes it regressed.

    Raises ``ActRefusedError`` without a reason, and when it is resolved already.
    """
    states = (GroupState.OPEN, GroupState.ACKNOWLEDGED, GroupState.REGRESSED)
    now = _change(
        group, states, GroupState.RESOLVED, GroupEventKind.RESOLVED, by, door, checked_reason(reason, is_required=True)
    )
    if not now.open_count:
        return GroupAct(now, "The error is resolved. A new failure makes it regressed.")
    are = "1 dead letter of it is" if now.open_count == 1 else f"{now.open_count:,} dead letters of it are"
    return GroupAct(
        now,
        f"The error is marked as resolved, but {are} still open: reprocess them to see whether it is fixed, or discard them. "
        "A new failure makes it regressed.",
    )


def reopen(group: ErrorGroup, *, by: User | None, door: Door, reason: str = "") -> GroupAct:
    """It is not fixed, or nobody works on it after all. Raises ``ActRefusedError`` when it is open or regressed."""
    states = (GroupState.RESOLVED, GroupState.ACKNOWLEDGED)
    return GroupAct(
        _change(group, states, GroupState.OPEN, GroupEventKind.REOPENED, by, door, reason), "The error is open again."
    )


def _change(
    group: ErrorGroup,
    before: tuple[GroupState, ...],
    after: GroupState,
    kind: GroupEventKind,
    by: User | None,
    door: Door,
    reason: str,
) -> ErrorGroup:
    reason = checked_reason(reason, is_required=False)
    with transaction.atomic():
        mine = ErrorGroup.objects.select_for_update().get(pk=group.pk)
        if not ErrorGroup.objects.filter(pk=group.pk, state__in=before).update(state=after, state_changed_at=timezone.now()):
            raise ActRefusedError(f"Nothing was changed: the error is {mine.state} already. Reload the page to see by whom.")
        _write(group, kind, by, door, reason, {"from": mine.state, "open": mine.open_count})
    group.refresh_from_db()
    return group


def assign(group: ErrorGroup, *, owner: User | None, by: User | None, door: Door) -> GroupAct:
    """Give the group an owner, or none. Its dead letters keep theirs. Raises ``ActRefusedError`` when nothing would change,
    and for an owner who cannot sign in here."""
    if owner is not None and not (owner.is_active and owner.is_staff):
        raise ActRefusedError(f"{owner.get_username()} cannot sign in here; choose somebody who can.", field="owner")
    other = Q(owner__isnull=False) if owner is None else ~Q(owner=owner) | Q(owner__isnull=True)
    name = owner.get_username() if owner else ""
    said = f"The error belongs to {name} now." if name else "The error has no owner now."
    has_it = f"{name} owns it already." if name else "It has no owner."
    return _set(group, other, {"owner": owner}, GroupEventKind.ASSIGNED, by, door, {"owner": name}, said, has_it)


def owner_of(text: str) -> User | None:
    """The user with this number; None for an empty text. Raises ``ActRefusedError``."""
    if not text:
        return None
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0
    found = get_user_model().objects.filter(pk=number).first()
    if found is None:
        raise ActRefusedError("There is no such user. Choose one from the list.", field="owner")
    return found


def note(group: ErrorGroup, *, text: str, by: User | None, door: Door) -> GroupAct:
    """Replace the note (empty takes it away); the history keeps each version. Raises ``ActRefusedError``."""
    text = text.strip().replace("\r\n", "\n")
    if len(text) > NOTE_MAX or "\0" in text:
        raise ActRefusedError(f"A note is plain text of at most {NOTE_MAX:,} characters, without NUL.", field="note")
    said = "The note is saved." if text else "The note is taken away."
    return _set(
        group, ~Q(note=text), {"note": text}, GroupEventKind.NOTED, by, door, {"note": text}, said, "The note is as it was."
    )


def set_runbook(group: ErrorGroup, *, url: str, by: User | None, door: Door) -> GroupAct:
    """Link the page that says what to do (empty takes it away). Raises ``ActRefusedError`` for all but http and https."""
    url = checked_url(url)
    said = "The runbook is linked." if url else "The runbook link is taken away."
    detail = {"runbook_url": url}
    return _set(
        group, ~Q(runbook_url=url), {"runbook_url": url}, GroupEventKind.NOTED, by, door, detail, said, "The link is as it was."
    )


def checked_url(text: str) -> str:
    """The address trimmed; empty stays empty. Raises ``ActRefusedError`` for what a browser should not be sent to."""
    url = text.strip()
    if not url:
        return ""
    if len(url) > URL_MAX:
        raise ActRefusedError(f"The address has {len(url):,} characters; at most {URL_MAX} fit.", field="runbook_url")
    if not url.isprintable() or any(character.isspace() or character in '<>"\\^`{|}' for character in url):
        raise ActRefusedError("The address holds blanks, quotes or invisible characters. Copy it again.", field="runbook_url")
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        raise ActRefusedError("A runbook is linked by an address that begins with https:// or http://.", field="runbook_url")
    if parts.username is not None or parts.password is not None:
        raise ActRefusedError(
            "The address holds a user name or password. Take them out: everybody here reads it.", field="runbook_url"
        )
    return url


def _set(
    group: ErrorGroup,
    is_other: Q,
    values: Mapping[str, Any],
    kind: GroupEventKind,
    by: User | None,
    door: Door,
    detail: Mapping[str, Any],
    said: str,
    unchanged: str,
) -> GroupAct:
    with transaction.atomic():
        if not ErrorGroup.objects.filter(is_other, pk=group.pk).update(**values):
            raise ActRefusedError(f"Nothing was changed. {unchanged}")
        _write(group, kind, by, door, "", detail)
    group.refresh_from_db()
    return GroupAct(group, said)


def _write(
    group: ErrorGroup, kind: GroupEventKind, by: User | None, door: Door, reason: str, detail: Mapping[str, Any]
) -> None:
    GroupEvent.objects.create(group_id=group.pk, kind=kind, actor=by, door=door, reason=reason, detail=dict(detail))
