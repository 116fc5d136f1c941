"""The one encrypted field type."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models

from syncs.secrets import Cipher


@lru_cache(maxsize=4)
def _cipher(keys: tuple[str, ...]) -> Cipher:
    return Cipher(keys)


def cipher() -> Cipher:
    return _cipher(tuple(settings.RETL["ENCRYPTION_KEYS"]))


class EncryptedJSONField(models.TextField):  # type: ignore[type-arg]
    """A JSON object, encrypted at rest. Reading with a wrong key raises ``SecretsError``; it never returns ciphertext.

    Not searchable. Forms never render its value: the admin shows which names are set and takes new values only.
    """

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> dict[str, Any] | None:
        if value is None:
            return None
        return cipher().decrypt(value) if value else {}

    def to_python(self, value: Any) -> Any:
        if value is None or isinstance(value, dict):
            return value
        raise ValidationError("Secrets must be an object of names and values.")

    def get_prep_value(self, value: Any) -> str | None:
        if value is None:
            return None
        if not isinstance(value, dict):
            raise TypeError("EncryptedJSONField takes a dict.")
        return cipher().encrypt(value)

    def get_lookup(self, lookup_name: str) -> Any:
        if lookup_name == "isnull":
            return super().get_lookup(lookup_name)
        raise TypeError("Encrypted values cannot be searched.")

    def value_to_string(self, obj: models.Model) -> str:
        """Fixtures and dumps carry the ciphertext, never the value."""
        return self.get_prep_value(self.value_from_object(obj)) or ""
