"""To whom a dead letter may be given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth import get_user_model

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MOST = 500
_MAY_SEE = "dlq.view_dlqentry"


def assignable() -> list[User]:
    """Active staff who may see dead letters, by name; at most ``MOST``."""
    able = get_user_model()._default_manager.with_perm(_MAY_SEE, backend="django.contrib.auth.backends.ModelBackend")
    return list(able.filter(is_staff=True).only("pk", "username", "first_name", "last_name").order_by("username")[:MOST])


def assignee(text: str) -> User | None:
    """The one of these whose id this is; None: there is no such person to give it to."""
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        return None
    return next((person for person in assignable() if person.pk == int(text)), None)
