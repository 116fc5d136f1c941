"""Runs that somebody asks for, cancels, or asks for again: by the console and by the API, with the same rules and one log."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import transaction

from syncs.choices import Trigger
from syncs.engine.hashing import key_problem
from syncs.errors import ConfigError
from syncs.models import Run, Sync
from syncs.services import audit, runs

if TYPE_CHECKING:
    from django.contrib.auth.models import User

KEYS_MOST = 1_000
LIMIT_MOST = 1_000_000_000
_REPEATED = ("full", "limit", "keys")  # options that "again" takes over


@dataclass(frozen=True, slots=True)
class Wanted:
    """``keys``: only these rows; empty: every row. ``limit``: the first so many rows, of ``keys`` where they are given.
    ``is_full``: rows that the ledger knows as unchanged are sent as well."""

    is_full: bool = False
    limit: int | None = None
    keys: Sequence[str] = field(default=())

    def options(self, sync: Sync) -> dict[str, Any]:
        """As a run keeps them. Raises ``ConfigError`` for a key that no row of this sync can have."""
        found: dict[str, Any] = {"full": True} if self.is_full else {}
        keys = list(dict.fromkeys(self.keys))
        for key in keys:
            if problem := _problem(sync, key):
                raise ConfigError(problem, field="keys")
        if keys:
            found["keys"] = keys[: self.limit]
        elif self.limit is not None:
            found["limit"] = self.limit
        return found


def ask(sync: Sync, wanted: Wanted, *, by: User, door: str, detail: str = "") -> Run:
    """Queue the run, or give back the one that already waits to do the same. Raises ``ConfigError`` as ``runs.request``."""
    return _asked(sync, wanted.options(sync), by=by, door=door, detail=detail)


def can_be_repeated(run: Run) -> bool:
    """A reprocess is repeated from the dead letters, where one sees what it would send."""
    return not run.is_active and run.trigger != Trigger.REPROCESS


def again(run: Run, *, by: User, door: str) -> Run:
    """A new run with the options of this one, and the sync as it is now. Raises ``ConfigError`` where it is refused."""
    if run.is_active:
        raise ConfigError(f"Run {run.pk} has not ended. Wait for its end, or cancel it, then run again.")
    if not can_be_repeated(run):
        raise ConfigError(f"Run {run.pk} was a reprocess. Reprocess its dead letters again; there you see what would be sent.")
    options = {name: value for name, value in run.options.items() if name in _REPEATED}
    return _asked(run.sync, options, by=by, door=door, detail=f"again, after run {run.pk}")


def cancel(run: Run, *, by: User, door: str) -> bool:
    """False: there was nothing to do, because it has ended or somebody has asked already."""
    with transaction.atomic():
        is_asked = runs.cancel(run, by=by)
        if is_asked:
            audit.record("cancelled", run, by=by, door=door, detail={"sync": run.sync_id})
    return is_asked


def _asked(sync: Sync, options: Mapping[str, Any], *, by: User, door: str, detail: str) -> Run:
    rows = len(options["keys"]) if "keys" in options else options.get("limit")
    with transaction.atomic():
        run = runs.request(
            sync=sync,
            trigger=Trigger.API if door == "api" else Trigger.MANUAL,
            by=by,
            options=options,
            detail=detail,
            is_short=rows is not None and rows <= settings.RETL["SHORT_RUN_ROWS"],
        )
        told = {name: len(value) if name == "keys" else value for name, value in options.items()}
        audit.record("asked", run, by=by, door=door, detail={"sync": sync.pk, **told})
    return run


def _problem(sync: Sync, key: str) -> str:
    """Why no row of the sync can have this key; "" where one can."""
    if problem := key_problem(key):
        return problem
    columns = sync.key_column_list
    if len(columns) == 1:
        return "" if key.strip() else "A row key is not blank."
    try:
        parts = json.loads(key)
    except (ValueError, RecursionError):
        parts = None
    if isinstance(parts, list) and len(parts) == len(columns) and all(isinstance(part, str) for part in parts):
        return ""
    return (
        f"“{key[:60]}” is no row key of this sync: it has the columns {', '.join(columns)}, so a key is a JSON list of as many "
        "texts. Copy it from a dead letter or a preview."
    )
