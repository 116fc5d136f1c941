"""Reading the form of the confirmation page. What cannot be read is refused with the field to correct."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from django.contrib.auth import get_user_model

from dlq.choices import ReprocessMode
from dlq.services.confirmation import USUAL_REASONS, Choice
from dlq.services.moves import ActRefusedError
from dlq.services.snapshots import BulkKind

if TYPE_CHECKING:
    from django.http import QueryDict

NOBODY = "none"
_DIGITS_MAX = 9


def read(form: QueryDict, kind: BulkKind) -> Choice:
    """Raises ``ActRefusedError``."""
    is_reprocess = kind == BulkKind.REPROCESS
    return Choice(
        reason=_reason(form),
        typed=form.get("typed", "")[:40],
        is_acknowledged=form.get("acknowledged") == "1",
        mode=_mode(form) if is_reprocess else ReprocessMode.CURRENT,
        waves=_waves(form) if is_reprocess else None,
        rows_per_minute=_number(form, "rows_per_minute", "The rows a minute are") if is_reprocess else None,
        halt_percent=_number(form, "halt_percent", "The share at which it stops is") if is_reprocess else None,
        owner=_owner(form) if kind == BulkKind.ASSIGN else None,
    )


def _reason(form: QueryDict) -> str:
    """One of the usual ones, words of one's own, or both."""
    usual, own = form.get("usual", ""), form.get("reason", "").strip()
    if usual and usual not in USUAL_REASONS:
        raise ActRefusedError("That reason is not in the list. Choose one, or write your own.", field="reason")
    return ": ".join(filter(None, (usual, own)))


def _mode(form: QueryDict) -> ReprocessMode:
    text = form.get("mode", ReprocessMode.CURRENT)
    if text not in set(ReprocessMode):
        raise ActRefusedError("Choose what is sent.", field="mode")
    return ReprocessMode(text)


def _waves(form: QueryDict) -> tuple[int, ...] | None:
    if form.get("in_waves") != "1":
        return None
    texts = [text for text in re.split(r"[,;\s]+", form.get("waves", "")[:1_000]) if text]
    if not texts or not all(_is_number(text) for text in texts):
        raise ActRefusedError("Write the sizes of the waves as numbers: 1, 10, 100, 1000.", field="waves")
    return tuple(int(text) for text in texts)


def _number(form: QueryDict, name: str, what: str) -> int | None:
    text = form.get(name, "").strip()
    if not text:
        return None
    if not _is_number(text):
        raise ActRefusedError(f"{what} a whole number, or empty.", field=name)
    return int(text)


def _owner(form: QueryDict) -> int | None:
    text = form.get("owner", "")
    if text == NOBODY:
        return None
    if not _is_number(text):
        raise ActRefusedError("Choose who gets the dead letters, or nobody.", field="owner")
    return int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX


def people() -> list[tuple[int, str]]:
    """Whom dead letters may be given to: active users with a desk here."""
    rows = get_user_model().objects.filter(is_active=True, is_staff=True).order_by("username")
    named = rows.values_list("pk", "first_name", "last_name", "username")[:500]
    return [(pk, f"{first} {last} ({name})" if (first or last) else name) for pk, first, last, name in named]
