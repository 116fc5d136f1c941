"""Kinds of destination: the name in the database -> what people read and where the code is (imported on first use).

Other packages add kinds by an entry point of the group ``redrive.destinations``: its name is the kind, its value the module. A
broken one is told by ``problems()`` and by whoever uses that kind; the other kinds never notice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module, metadata
from typing import Any

from syncs.destinations.base import CredentialStore, Destination
from syncs.destinations.foreign import ForeignKind
from syncs.errors import ConfigError

GROUP = "redrive.destinations"
DESTINATION_KINDS: dict[str, tuple[str, str]] = {
    "http": ("HTTP API (configured by data)", "syncs.destinations.http_api"),
    "database": ("Database table", "syncs.destinations.database"),
    "hubspot": ("HubSpot CRM", "syncs.destinations.vendors.hubspot"),
    "salesforce": ("Salesforce", "syncs.destinations.vendors.salesforce"),
    "braze": ("Braze", "syncs.destinations.vendors.braze"),
    "intercom": ("Intercom", "syncs.destinations.vendors.intercom"),
    "iterable": ("Iterable", "syncs.destinations.vendors.iterable"),
    "klaviyo": ("Klaviyo", "syncs.destinations.vendors.klaviyo"),
    "mailchimp": ("Mailchimp", "syncs.destinations.vendors.mailchimp"),
    "slack": ("Slack incoming webhook", "syncs.destinations.vendors.slack"),
    "zendesk": ("Zendesk", "syncs.destinations.vendors.zendesk"),
}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


@lru_cache(maxsize=1)
def _installed() -> tuple[dict[str, metadata.EntryPoint], list[tuple[str, str]]]:
    """Kinds of other packages, and (kind, sentence) for those that cannot be offered at all."""
    found: dict[str, metadata.EntryPoint] = {}
    refused = []
    for point in sorted(metadata.entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        if not _NAME.fullmatch(point.name):
            refused.append((point.name[:60], "Its name must be lower-case letters, digits and _, at most 40 characters."))
        elif point.name in DESTINATION_KINDS:
            refused.append((point.name, f"The name is taken by Redrive's own kind; {point.value} is not used."))
        elif point.name in found:
            refused.append((point.name, f"The name is taken by {found[point.name].value}; {point.value} is not used."))
        else:
            found[point.name] = point
    return found, refused


def kinds() -> list[tuple[str, str]]:
    """(kind, label) of everything that can be chosen: Redrive's own first, then those of other packages."""
    own = [(kind, label) for kind, (label, _) in DESTINATION_KINDS.items()]
    return own + [(kind, _label(kind)) for kind in _installed()[0]]


def problems() -> list[tuple[str, str]]:
    """(kind, sentence) for each kind of another package that cannot be used."""
    points, refused = _installed()
    tried = [(kind, _foreign(point)) for kind, point in points.items()]
    return refused + [(kind, found) for kind, found in tried if isinstance(found, str)]


def module(kind: str) -> Any:
    """The kind's module: ``FIELDS: tuple[ConfigField, ...]``, ``validate(config, secrets) -> list[Issue]``,
    ``objects(config) -> list[str]``, ``build(config, credentials, object_name, options, environment) -> Destination``.
    Raises ``ConfigError`` for an unknown kind or one of another package that cannot be imported, ``ImportError`` where a
    package that one of Redrive's own kinds needs is missing."""
    if kind in DESTINATION_KINDS:
        return import_module(DESTINATION_KINDS[kind][1])
    point = _installed()[0].get(kind)
    if point is None:
        known = ", ".join(name for name, _ in kinds())
        raise ConfigError(f"There is no destination kind “{kind}”. Known: {known}.", field="kind")
    found = _foreign(point)
    if isinstance(found, str):
        raise ConfigError(found, field="kind")
    return found


def build(
    kind: str,
    *,
    config: Mapping[str, Any],
    credentials: CredentialStore,
    object_name: str,
    options: Mapping[str, Any],
    allowed_private_networks: tuple[str, ...] = (),
) -> Destination:
    """``options``: the sync's own settings for the object. ``allowed_private_networks``: CIDR ranges from the settings file."""
    destination: Destination = module(kind).build(
        config=config,
        credentials=credentials,
        object_name=object_name,
        options=options,
        allowed_private_networks=allowed_private_networks,
    )
    return destination


def _label(kind: str) -> str:
    found = _foreign(_installed()[0][kind])
    return f"{kind} (cannot be used)" if isinstance(found, str) else found.LABEL


@lru_cache(maxsize=100)
def _foreign(point: metadata.EntryPoint) -> ForeignKind | str:
    """The kind, or why it cannot be used."""
    try:
        return ForeignKind(point)
    except ConfigError as error:
        return error.message
