"""What the kinds of known vendors share: a short form that becomes settings of the kind ``http``, and discovery.

A vendor's module declares ``FIELDS``, writes ``document`` and lends the rest from a ``Vendor``:

    VENDOR = Vendor(FIELDS, document, objects=names, discover=discover)
    validate, objects, build = VENDOR.validate, VENDOR.objects, VENDOR.build
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from syncs.connectors import ConfigField, Issue
from syncs.destinations.base import CredentialStore, Discovery, Field
from syncs.destinations.http_api import opened
from syncs.destinations.http_api.destination import HttpDestination
from syncs.destinations.http_api.loading import SECRETS, load
from syncs.errors import ConfigError

Read = Callable[[str], Any]
DEADLINE = ConfigField(
    "deadline_seconds",
    "Deadline of a call, seconds",
    "integer",
    default=30,
    help="A call without a whole answer by then is lost.",
)
_PAIR = re.compile(r"([^:=\s]+)\s*[:=]\s*([^:=\s]+)")


class VendorDestination(HttpDestination):
    """An ``HttpDestination`` that can ask the vendor which fields an object has."""

    object_name: str = ""
    discover: Callable[[Read, str], list[Field] | None] | None = None

    def fields(self) -> list[Field] | None:
        """One or two read-only calls. Raises ``CredentialsError``, ``TransientError`` or ``ConfigError`` where the vendor does
        not answer them with what its documents promise."""
        found = self.discover(self.read, self.object_name) if self.discover else None
        return super().fields() if found is None else found


@dataclass(frozen=True, slots=True)
class Vendor:
    """A kind made from data.

    ``fields``: the form. Secrets carry the names the authentication of the kind ``http`` reads: ``token``, ``api_key``,
    ``password``, ``client_id``, ``client_secret``, ``refresh_token``. A field ``base_url`` lets tests and sandboxes point
    elsewhere. ``document``: the form's values, with defaults filled in -> settings of the kind ``http``; it may assume that
    ``problems`` found nothing. ``names``: objects that can be written. ``problems``: what is wrong beyond missing values.
    ``discover``: (read, object) -> fields; ``read(path)`` gives the JSON at an address below ``base_url``.
    """

    fields: tuple[ConfigField, ...]
    document: Callable[[Mapping[str, Any]], dict[str, Any]]
    names: Callable[[Mapping[str, Any]], list[str]]
    problems: Callable[[Mapping[str, Any]], list[Issue]] = lambda config: []
    discover: Callable[[Read, str], list[Field] | None] | None = None
    destination: type[VendorDestination] = VendorDestination

    def validate(self, config: Mapping[str, Any], secrets: Mapping[str, Any]) -> list[Issue]:
        given = self._filled(config)
        issues = [issue for field in self.fields if (issue := _field_issue(field, given, secrets))]
        issues = issues or self.problems(given)
        if issues:
            return issues
        loaded, issues = load(self._document(given))
        if loaded is None:
            return issues
        missing = [name for name in SECRETS[loaded.auth.kind] if not secrets.get(name)]
        return [Issue(name, "Is required.") for name in missing]

    def objects(self, config: Mapping[str, Any]) -> list[str]:
        given = self._filled(config)
        return [] if self.problems(given) else self.names(given)

    def build(
        self,
        *,
        config: Mapping[str, Any],
        credentials: CredentialStore,
        object_name: str,
        options: Mapping[str, Any],
        allowed_private_networks: tuple[str, ...] = (),
    ) -> VendorDestination:
        """Raises ``ConfigError`` for settings that do not hold. Opens no connection."""
        given = self._filled(config)
        for issue in self.problems(given):
            raise ConfigError(issue.message, field=issue.field)
        destination = opened(
            self._document(given),
            credentials=credentials,
            object_name=object_name,
            options=options,
            allowed_private_networks=allowed_private_networks,
            secret_names=tuple(field.name for field in self.fields if field.is_secret),
            made=self.destination,
        )
        destination.object_name = object_name
        destination.discover = self.discover
        if self.discover is not None or self.destination.fields is not VendorDestination.fields:
            destination.capabilities = replace(destination.capabilities, discovery=frozenset({Discovery.FIELDS}))
        return destination

    def _document(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """With the deadline, which every vendor's form may offer (``DEADLINE``)."""
        made = self.document(given)
        seconds = given.get(DEADLINE.name)
        return made if seconds is None else {**made, "limits": {**made.get("limits", {}), "deadline_seconds": seconds}}

    def _filled(self, config: Mapping[str, Any]) -> dict[str, Any]:
        defaults = {field.name: field.default for field in self.fields if field.default is not None}
        return {**defaults, **{name: value for name, value in config.items() if value not in (None, "")}}


def _field_issue(field: ConfigField, config: Mapping[str, Any], secrets: Mapping[str, Any]) -> Issue | None:
    value = (secrets if field.is_secret else config).get(field.name)
    if value in (None, "", {}, []):
        return Issue(field.name, "Is required.") if field.is_required else None
    is_text = field.type in ("text", "secret", "choice")
    if is_text and not isinstance(value, str):
        return Issue(field.name, "Must be text.")
    if field.choices and value not in dict(field.choices):
        return Issue(field.name, f"“{str(value)[:60]}” is not a choice here. Known: {', '.join(dict(field.choices))}.")
    if field.type == "integer" and (not isinstance(value, int) or isinstance(value, bool)):
        return Issue(field.name, "Must be a whole number.")
    if field.type == "boolean" and not isinstance(value, bool):
        return Issue(field.name, "Must be true or false.")
    return None


def words(text: Any) -> list[str]:
    """Names that a person listed, with commas or blanks between them, each once."""
    return list(dict.fromkeys(word for word in re.split(r"[,\s]+", str(text or "")) if word))


def pairs(text: Any) -> dict[str, str]:
    """``contacts: email, deals: order_number`` -> name -> property. Raises ``ValueError`` with the part that is no pair."""
    found = {}
    for part in re.split(r"[,;\n]+", str(text or "")):
        if not part.strip():
            continue
        match = _PAIR.fullmatch(part.strip())
        if match is None:
            raise ValueError(part.strip()[:60])
        found[match[1]] = match[2]
    return found


def listed(data: Any, name: str) -> list[Mapping[str, Any]]:
    """The list of objects that an answer must hold under the name. Raises ``ConfigError`` for anything else."""
    found = data.get(name) if isinstance(data, Mapping) else None
    if not isinstance(found, list) or not all(isinstance(item, Mapping) for item in found):
        raise ConfigError(f"The answer to the question for fields holds no list “{name}”. Is base_url the vendor's?")
    return found
