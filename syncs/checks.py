"""System checks: settings that would fail later, at night, in a worker, fail here by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cryptography.fernet import Fernet
from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.utils.module_loading import import_string

from syncs.destinations import registry as destinations
from syncs.services import presets

_PORTS = {
    "REJECTED_ROW_SINK": ("store", "resolve", "finish"),
    "REPROCESS_SELECTION": ("chunks", "stored", "gone"),
    "PAGE_MASK": ("row",),
}


@register()
def check_ports(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """The classes that other apps lend to a run can be imported and do what the engine asks of them."""
    found: list[CheckMessage] = []
    for name, methods in _PORTS.items():
        path = settings.RETL.get(name, "")
        try:
            port = import_string(path)
        except ImportError as error:
            found.append(Error(f"RETL[{name!r}] is {path!r}, which cannot be imported: {error}", id="syncs.E001"))
            continue
        missing = [method for method in methods if not callable(getattr(port, method, None))]
        if missing:
            text = f"RETL[{name!r}] is {path!r}, which has no {', '.join(missing)}()."
            found.append(Error(text, hint="See syncs/engine/ports.py for what it must do.", id="syncs.E002"))
    return found


@register()
def check_encryption_keys(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for position, key in enumerate(settings.RETL["ENCRYPTION_KEYS"], start=1):
        try:
            Fernet(key.encode())
        except ValueError:
            text = f"Key {position} of RETL_ENCRYPTION_KEYS is not 32 url-safe base64 bytes."
            found.append(Error(text, hint="Make one with: python manage.py make_key", id="syncs.E003"))
    if not settings.RETL["ENCRYPTION_KEYS"]:
        found.append(Error("RETL_ENCRYPTION_KEYS is empty.", hint="Make a key: python manage.py make_key", id="syncs.E004"))
    return found


@register()
def check_no_pool(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """A pool's connections would be shared by the forked worker processes: they hang, or mix their transactions."""
    return [
        Error(
            f"DATABASES[{alias!r}] uses the psycopg connection pool.",
            hint="Take 'pool' out of OPTIONS (or of DATABASE_URL); CONN_MAX_AGE keeps connections open.",
            id="syncs.E005",
        )
        for alias, values in settings.DATABASES.items()
        if values.get("OPTIONS", {}).get("pool")
    ]


@register()
def check_lease(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    # A lease is renewed each third of its length, and nothing is sent in its last sixth.
    if settings.RETL["LEASE_SECONDS"] >= 3:
        return []
    return [Error("RETL_LEASE_SECONDS is below 3: hardly a batch would be sent between two renewals.", id="syncs.E006")]


@register(deploy=True)
def check_sqlite_workers(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    is_sqlite = settings.DATABASES["default"]["ENGINE"].endswith("sqlite3")
    if not is_sqlite or settings.Q_CLUSTER["workers"] <= 1:
        return []
    text = "SQLite lets one process write at a time, so several workers wait for each other."
    return [Warning(text, hint="Set DATABASE_URL to a PostgreSQL database, or REDRIVE_WORKERS=1.", id="syncs.W001")]


@register()
def check_destination_kinds(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Kinds that other packages bring by entry point. A broken one leaves the others alone."""
    hint = "Correct or remove that package; its connections cannot be used. See docs/connectors.md."
    return [Warning(f"Destination kind {kind!r}: {text}", hint=hint, id="syncs.W002") for kind, text in destinations.problems()]


@register()
def check_presets(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    hint = "Correct the file in RETL_PRESET_FOLDER; the others are offered meanwhile. See docs/presets.md."
    return [Warning(f"Preset {text}", hint=hint, id="syncs.W003") for text in presets.offered()[1]]
