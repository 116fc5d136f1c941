"""A few rows of a preview sent for real: shown first, then a normal run of exactly these row keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.core import signing
from django.db import transaction

from syncs.choices import Trigger
from syncs.errors import ConfigError
from syncs.models import Run, Sync
from syncs.services import audit, runs
from syncs.services.previews import Preview, preview

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MOST_ROWS = 5
_SALT = "syncs.sends"
_SECONDS = 900
DETAIL = "rows sent from the preview"


@dataclass(frozen=True, slots=True)
class Offer:
    """What will be sent, as it was read just now. ``token`` names it: give it to ``send``."""

    found: Preview
    keys: tuple[str, ...]
    token: str


def refusal(sync: Sync) -> str:
    """Why nothing of this sync can be sent by hand; "" where it can."""
    if sync.is_archived:
        return f"“{sync.name}” is archived and runs no more."
    if sync.current_version_id is None:
        return f"“{sync.name}” has no version yet. Save it, then send rows."
    return f"“{sync.name}” is paused. Resume it, then send rows." if sync.is_paused else ""


def offer(sync: Sync, keys: Sequence[str], *, by: User) -> Offer:
    """Read these rows once more, to be confirmed. Raises ``ConfigError`` where they cannot be sent; else as ``preview``."""
    wanted = tuple(dict.fromkeys(key.replace("\r\n", "\n") for key in keys if key))  # browsers write line ends their way
    if problem := refusal(sync):
        raise ConfigError(problem)
    if not wanted:
        raise ConfigError("Tick the rows that are to be sent.", field="keys")
    if len(wanted) > MOST_ROWS:
        raise ConfigError(f"{len(wanted)} rows are ticked; at most {MOST_ROWS} are sent at once. Untick some.", field="keys")
    found = preview(sync, keys=wanted)
    if found.missing:
        raise ConfigError(f"The query has no row “{found.missing[0][:80]}” any more. Preview the rows again.", field="keys")
    told = {"sync": sync.pk, "keys": wanted, "digest": found.digest, "by": by.pk}
    return Offer(found, wanted, signing.dumps(told, salt=_SALT, compress=True))


def send(sync: Sync, token: str, *, by: User, is_full: bool = False, door: str = "admin") -> Run:
    """Queue the run that sends what was shown, and no other row. ``is_full``: rows that the ledger knows as unchanged too.

    Raises ``ConfigError`` when the offer is somebody else's, older than 15 minutes, or the sync was changed since.
    """
    told = _told(sync, token, by)
    options: dict[str, Any] = {"keys": list(told["keys"])}
    if is_full:
        options["full"] = True
    if problem := refusal(Sync.objects.get(pk=sync.pk)):
        raise ConfigError(problem)
    with transaction.atomic():
        trigger = Trigger.API if door == "api" else Trigger.MANUAL
        run = runs.request(sync=sync, trigger=trigger, by=by, options=options, detail=DETAIL, is_short=True)
        if run.version is None or run.version.digest != told["digest"]:
            raise ConfigError("The sync was changed since these rows were shown. Preview them again.", field="digest")
        audit.record("asked", run, by=by, door=door, detail={"sync": sync.pk, "keys": len(options["keys"])})
    return run


def _told(sync: Sync, token: str, by: User) -> dict[str, Any]:
    try:
        told = signing.loads(token, salt=_SALT, max_age=_SECONDS)
    except signing.BadSignature:
        told = {}
    if not isinstance(told, dict) or (told.get("sync"), told.get("by")) != (sync.pk, by.pk):
        text = "This confirmation is no longer valid: it is older than 15 minutes, or not yours. Preview the rows again."
        raise ConfigError(text, field="token")
    return told
