"""Triggers: addresses that start runs of one sync when they are called with a signature by Standard Webhooks.

Who does not sign right learns nothing: not whether the address exists, not whether the sync does. A call that was taken in is
remembered by its id, so that the same call sent again starts nothing more and hears the same answer.
"""

from __future__ import annotations

import secrets as random
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from syncs import signatures
from syncs.choices import Trigger
from syncs.errors import ConfigError, RedriveError
from syncs.models import Run, Sync, SyncTrigger, TriggerCall
from syncs.secrets import SecretsError
from syncs.services import audit, runs
from syncs.services.run_requests import Wanted

if TYPE_CHECKING:
    from django.contrib.auth.models import User

OVERLAP_HOURS = 24  # how long the secret before is good, unless somebody says otherwise
OVERLAP_MOST = 7 * 24
CALLS_PER_MINUTE = 60  # of one trigger
BODY_MAX = 64 * 1024
SKEW = timedelta(minutes=5)
REMEMBERED = timedelta(days=7)  # senders by Standard Webhooks try again for about three days, under the same id
LONGEST_DETAIL = 120
LONGEST_NAME = 120
EDITABLE = ("name", "is_enabled")
_LETTERS = string.ascii_lowercase + string.digits
_NOBODY = signatures.key_of(signatures.new_secret())  # what a call to no trigger is compared with: takes as long
_GONE = "Nothing was changed: the trigger was deleted meanwhile."


def address(trigger: SyncTrigger) -> str:
    """Where it is called, below the root of the installation."""
    return f"/api/v1/triggers/{trigger.public_id}"


# --- setting up


def add(sync: Sync, *, name: str, by: User, door: str) -> tuple[SyncTrigger, str]:
    """The new trigger, and its secret: shown now and never again. Raises ``ConfigError``."""
    if Sync.objects.filter(pk=sync.pk, is_archived=True).exists():
        raise ConfigError(f"“{sync.name}” is archived and runs no more. Take it out of the archive first.", field="is_archived")
    made = signatures.new_secret()
    public_id = "wh_" + "".join(random.choice(_LETTERS) for _ in range(26))
    trigger = SyncTrigger(sync=sync, public_id=public_id, name=_named(name), created_by=by)
    trigger.secrets = {"current": made}
    with transaction.atomic():
        trigger.save(force_insert=True)
        audit.record("created", trigger, by=by, door=door, detail={"sync": sync.pk})
    return trigger, made


def change(trigger: SyncTrigger, *, by: User, door: str, **values: Any) -> SyncTrigger:
    """``values``: some of ``EDITABLE``. Raises ``ConfigError``."""
    if "name" in values:
        values["name"] = _named(values["name"])
    with transaction.atomic():
        stored = _locked(trigger)
        before = {name: getattr(stored, name) for name in EDITABLE}
        if changes := audit.differences(before, {**before, **values}):
            SyncTrigger.objects.filter(pk=stored.pk).update(**values)
            stored.refresh_from_db()
            audit.record("changed", stored, by=by, door=door, detail=changes)
    return stored


def rotate(trigger: SyncTrigger, *, hours: int = OVERLAP_HOURS, by: User, door: str) -> tuple[SyncTrigger, str]:
    """A new secret, returned once; for ``hours`` the one before is good as well. 0: it ends at once (it leaked)."""
    if not 0 <= hours <= OVERLAP_MOST:
        raise ConfigError(f"The overlap is 0 to {OVERLAP_MOST} hours.", field="overlap_hours")
    made = signatures.new_secret()
    with transaction.atomic():
        stored = _locked(trigger)
        before = _secrets(stored).get("current", "")
        keeps = bool(before and hours)
        stored.secrets = {"current": made, **({"previous": before} if keeps else {})}
        stored.previous_until = timezone.now() + timedelta(hours=hours) if keeps else None
        stored.save(update_fields=["secrets", "previous_until"])
        audit.record("secret_rotated", stored, by=by, door=door, detail={"overlap_hours": hours if keeps else 0})
    return stored, made


def delete(trigger: SyncTrigger, *, by: User, door: str) -> None:
    """With what is remembered of its calls; the runs stay."""
    with transaction.atomic():
        stored = _locked(trigger)
        audit.record("deleted", stored, by=by, door=door, detail={"sync": stored.sync_id})
        stored.delete()


def forget(now: datetime) -> None:
    """On the tick: former secrets whose time is over, and calls too old to come again."""
    for pk in list(SyncTrigger.objects.filter(previous_until__lte=now).values_list("pk", flat=True)):
        with transaction.atomic():
            stored = SyncTrigger.objects.select_for_update().filter(pk=pk, previous_until__lte=now).first()
            if stored is None or not (found := _secrets(stored)):
                continue
            stored.secrets, stored.previous_until = {"current": found.get("current", "")}, None
            stored.save(update_fields=["secrets", "previous_until"])
    TriggerCall.objects.filter(at__lt=now - REMEMBERED).delete()


def _named(text: str) -> str:
    name = " ".join(text.split())
    if not 1 <= len(name) <= LONGEST_NAME:
        raise ConfigError(f"Give a name of 1 to {LONGEST_NAME} characters, for example the job that will call.", field="name")
    return name


def _locked(trigger: SyncTrigger) -> SyncTrigger:
    stored = SyncTrigger.objects.select_for_update().filter(pk=trigger.pk).first()
    if stored is None:
        raise ConfigError(_GONE)
    return stored


def is_readable(trigger: SyncTrigger) -> bool:
    """False: no configured key opens its secret, so that no call fits; it is to be rotated."""
    return bool(_secrets(trigger))


def _secrets(trigger: SyncTrigger) -> dict[str, str]:
    """Empty where no configured key opens them."""
    try:
        return dict(trigger.secrets or {})
    except SecretsError:
        return {}


# --- being called


def signed_by(
    public_id: str, *, call_id: str, timestamp: int, signature: str, body: bytes, now: datetime | None = None
) -> SyncTrigger | None:
    """The trigger of this address if the call is signed with a good secret of it. Whatever is wrong: None."""
    trigger = SyncTrigger.objects.select_related("sync").filter(public_id=public_id).first()
    found = _good_keys(trigger, now or timezone.now()) if trigger is not None else []
    return trigger if signatures.fits(signature, found or [_NOBODY], call_id, timestamp, body) else None


def is_in_time(timestamp: int, now: datetime | None = None) -> bool:
    return abs((now or timezone.now()).timestamp() - timestamp) <= SKEW.total_seconds()


def _good_keys(trigger: SyncTrigger, now: datetime) -> list[bytes]:
    found = _secrets(trigger)
    texts = [found.get("current", "")]
    if trigger.previous_until is not None and trigger.previous_until > now:
        texts.append(found.get("previous", ""))
    return [signatures.key_of(text) for text in texts if text]


@dataclass(frozen=True, slots=True)
class Started:
    """``run_id``: None when the run is not kept any more. ``is_repeat``: this call had come before."""

    run_id: int | None
    is_repeat: bool


def start(trigger: SyncTrigger, *, call_id: str, is_full: bool = False, keys: Sequence[str] = (), detail: str = "") -> Started:
    """Queue a run for a signed call, once for each id. Raises ``ConfigError`` for a key that no row can have, and where the
    trigger or the sync does not run."""
    now = timezone.now()
    before = TriggerCall.objects.filter(trigger=trigger, call_id=call_id).first()
    if before is not None:
        return Started(before.run_id, is_repeat=True)
    try:
        run = _start(trigger, call_id, Wanted(is_full, keys=keys).options(trigger.sync), detail)
    except IntegrityError:  # the same call came twice at the same moment
        before = TriggerCall.objects.filter(trigger=trigger, call_id=call_id).first()
        if before is None and not SyncTrigger.objects.filter(pk=trigger.pk).exists():
            raise ConfigError(_GONE) from None
        if before is None:
            raise
        return Started(before.run_id, is_repeat=True)
    except RedriveError as refusal:
        _note(trigger, now, f"Refused. {refusal.message}")
        raise
    _note(trigger, now, f"Run {run.pk} was queued.")
    return Started(run.pk, is_repeat=False)


@transaction.atomic
def _start(trigger: SyncTrigger, call_id: str, options: Mapping[str, Any], detail: str) -> Run:
    if not SyncTrigger.objects.filter(pk=trigger.pk, is_enabled=True).exists():
        raise ConfigError(f"The trigger “{trigger.name}” is switched off. Switch it on at its sync.")
    call = TriggerCall.objects.create(trigger=trigger, call_id=call_id)
    said = f"{trigger.name}: {detail}" if detail else trigger.name
    is_short = 0 < len(options.get("keys", ())) <= settings.RETL["SHORT_RUN_ROWS"]
    call.run = runs.request(sync=trigger.sync, trigger=Trigger.WEBHOOK, options=options, detail=said, is_short=is_short)
    call.save(update_fields=["run"])
    return call.run


def _note(trigger: SyncTrigger, now: datetime, outcome: str) -> None:
    SyncTrigger.objects.filter(pk=trigger.pk).update(last_called_at=now, last_outcome=outcome[:255])
