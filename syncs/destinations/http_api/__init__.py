"""Destination kind ``http``: a REST API described by data. The keys are explained in docs/http-destination.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from syncs.connectors import ConfigField, Issue
from syncs.destinations.base import CredentialStore
from syncs.destinations.http_api.config import HttpConfig
from syncs.destinations.http_api.destination import HttpDestination
from syncs.destinations.http_api.loading import SECRETS, load
from syncs.errors import ConfigError
from syncs.http import Redactor, Session

FIELDS: tuple[ConfigField, ...] = (
    ConfigField("base_url", "Base URL", is_required=True, help="https://api.example.com/v1; every path is added to it."),
    ConfigField("auth", "Authentication", "json", help='For example {"kind": "bearer"}.'),
    ConfigField(
        "objects",
        "Objects",
        "json",
        is_required=True,
        help='For example {"contacts": {"operations": {"upsert": {"method": "POST", "path": "/contacts"}}}}.',
    ),
    ConfigField("defaults", "Defaults of operations", "json", help="Keys that every operation has unless it says otherwise."),
    ConfigField("headers", "Headers", "json", help="Sent with every call. No secrets here."),
    ConfigField("limits", "Limits", "json", help="Records, bytes, concurrency, calls per window, deadline."),
    ConfigField("wait", "Waiting", "json", help="Where a rate limit says how long to wait."),
    ConfigField("check", "Connection test", "json", help='A read, for example {"path": "/me"}.'),
    ConfigField("error_rules", "Error rules", "json", help="Ordered; the first that fits decides type and remedy."),
    ConfigField("request_id_header", "Request id header", help="Only where its name is unusual."),
    ConfigField("token", "Token", "secret", help="For auth bearer."),
    ConfigField("api_key", "API key", "secret", help="For auth api_key."),
    ConfigField("password", "Password", "secret", help="For auth basic and session."),
    ConfigField("client_id", "Client id", "secret", help="For OAuth 2: what the destination calls this application."),
    ConfigField("client_secret", "Client secret", "secret", help="For OAuth 2."),
    ConfigField("refresh_token", "Refresh token", "secret", help="For auth oauth2_refresh; replaced by each refresh."),
)
_SECRET_NAMES = tuple(item.name for item in FIELDS if item.is_secret)
_MASKED_TOO = ("access_token",)  # kept by a refresh, never entered
_Made = TypeVar("_Made", bound=HttpDestination)


def validate(config: Mapping[str, Any], secrets: Mapping[str, Any]) -> list[Issue]:
    """Everything wrong with the settings, with paths such as ``objects.contacts.operations.upsert.path``."""
    loaded, issues = load(config)
    if loaded is None:
        return issues
    needed = [name for name in SECRETS[loaded.auth.kind] if name != "client_id" or loaded.auth.token_call.has_client]
    missing = [name for name in needed if not secrets.get(name)]
    return [Issue(name, f"Is required for auth {loaded.auth.kind}.") for name in missing]


def objects(config: Mapping[str, Any]) -> list[str]:
    """Names of what can be written. Empty where the settings cannot be read."""
    found = config.get("objects")
    return [str(name) for name in found] if isinstance(found, Mapping) else []


def build(
    *,
    config: Mapping[str, Any],
    credentials: CredentialStore,
    object_name: str,
    options: Mapping[str, Any],
    allowed_private_networks: tuple[str, ...] = (),
) -> HttpDestination:
    """Raises ``ConfigError`` for settings that do not hold, ``CredentialsError`` for a missing secret. Opens no connection."""
    return opened(
        config,
        credentials=credentials,
        object_name=object_name,
        options=options,
        allowed_private_networks=allowed_private_networks,
        made=HttpDestination,
    )


def opened(
    config: Mapping[str, Any],
    *,
    credentials: CredentialStore,
    object_name: str,
    options: Mapping[str, Any],
    allowed_private_networks: tuple[str, ...],
    made: type[_Made],
    secret_names: tuple[str, ...] = (),
) -> _Made:
    """A destination of the class ``made`` from settings of this kind. ``secret_names``: masked beside this kind's own."""
    loaded, issues = load(config)
    if loaded is None:
        raise ConfigError(f"{issues[0].field}: {issues[0].message}", field=issues[0].field)
    if object_name not in loaded.objects:
        known = ", ".join(loaded.objects)
        raise ConfigError(f"The connection describes no object “{object_name}”. Known: {known}.", field="destination_object")
    session = _session(loaded, credentials.read(), allowed_private_networks, secret_names)
    return made(loaded, object_name, credentials=credentials, session=session, options=options)


def _session(
    config: HttpConfig, secrets: Mapping[str, Any], allowed_private_networks: tuple[str, ...], secret_names: tuple[str, ...]
) -> Session:
    names = dict.fromkeys((*_SECRET_NAMES, *_MASKED_TOO, *secret_names))
    return Session(
        allowed_private_networks=allowed_private_networks,
        deadline_seconds=config.limits.deadline_seconds,
        max_body_bytes=config.limits.max_answer_bytes,
        redactor=Redactor(str(secrets[name]) for name in names if secrets.get(name)),
    )
