"""To whom an incident or a rule may be given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth import get_user_model

from dlq.services.moves import ActRefusedError

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MOST = 500


def able() -> list[User]:
    """Active staff who may see incidents, by name; at most ``MOST``."""
    holders = get_user_model()._default_manager.with_perm(
        "monitoring.view_incident", backend="django.contrib.auth.backends.ModelBackend"
    )
    return list(holders.filter(is_staff=True).only("pk", "username", "first_name", "last_name").order_by("username")[:MOST])


def choices(owner: User | None) -> list[tuple[int, str, bool]]:
    """(id, name, whether it is the owner); an owner who may not any more stands first."""
    found = [(one.pk, one.get_username(), owner is not None and one.pk == owner.pk) for one in able()]
    if owner is not None and not any(is_owner for _pk, _name, is_owner in found):
        found.insert(0, (owner.pk, owner.get_username(), True))
    return found


def named(text: str) -> User | None:
    """The one of these with this number; None for an empty text. Raises ``ActRefusedError``."""
    if not text:
        return None
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0
    found = next((one for one in able() if one.pk == number), None)
    if found is None:
        raise ActRefusedError("There is nobody like that who may see incidents. Choose from the list.", field="owner")
    return found
