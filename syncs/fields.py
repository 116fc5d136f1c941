"""The one encrypted field type."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.query_utils import DeferredAttribute

from syncs.secrets import Cipher


@lru_cache(maxsize=4)
def _cipher(keys: tuple[str, ...]) -> Cipher:
    return Cipher(keys)


def cipher() -> Cipher:
    return _cipher(tuple(settings.RETL["ENCRYPTION_KEYS"]))


@dataclass(frozen=True, slots=True)
class Sealed:
    """A stored value that nobody has opened yet."""

    text: str = field(repr=False)

    def open(self) -> dict[str, Any]:
        """Raises ``SecretsError``."""
        return cipher().decrypt(self.text) if self.text else {}


class _OpenedOnRead(DeferredAttribute):
    """Decrypts when the attribute is read, not when the row is loaded: a page that shows only names needs no key."""

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        value = super().__get__(instance, cls)
        if isinstance(value, Sealed):
            value = instance.__dict__[self.field.attname] = value.open()
        return value

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self.field.attname] = value


class EncryptedJSONField(models.TextField):  # type: ignore[type-arg]
    """A JSON object, encrypted at rest. Reading the attribute with a wrong key raises ``SecretsError``; it never returns
    ciphertext, and ``values()`` gives ``Sealed`` objects.

    Not searchable. Forms never render its value: the admin shows which names are set and takes new values only.
    """

    descriptor_class = _OpenedOnRead

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> Sealed | None:
        return None if value is None else Sealed(value)

    def to_python(self, value: Any) -> Any:
        if value is None or isinstance(value, dict):
            return value
        raise ValidationError("Secrets must be an object of names and values.")

    def get_prep_value(self, value: Any) -> str | None:
        if value is None:
            return None
        if isinstance(value, Sealed):
            return value.text
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
