"""Kinds of destination: the name in the database -> what people read and where the code is (imported on first use)."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from syncs.destinations.base import CredentialStore, Destination
from syncs.errors import ConfigError

DESTINATION_KINDS: dict[str, tuple[str, str]] = {
    "http": ("HTTP API (configured by data)", "syncs.destinations.http_api"),
    "database": ("Database table", "syncs.destinations.database"),
    "hubspot": ("HubSpot CRM", "syncs.destinations.vendors.hubspot"),
}


def module(kind: str) -> Any:
    """The kind's module: ``FIELDS: tuple[ConfigField, ...]``, ``validate(config, secrets) -> list[Issue]``,
    ``objects(config) -> list[str]``, ``build(config, credentials, object_name, options, environment) -> Destination``.
    Raises ``ConfigError`` for an unknown kind."""
    try:
        return import_module(DESTINATION_KINDS[kind][1])
    except KeyError:
        known = ", ".join(DESTINATION_KINDS)
        raise ConfigError(f"There is no destination kind “{kind}”. Known: {known}.", field="kind") from None


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
