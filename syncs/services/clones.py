"""A copy of a sync under a new name: everything that was set up, nothing that happened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction
from django.utils import timezone

from syncs.errors import ConfigError
from syncs.models import FieldMapping, Sync
from syncs.services import audit, touches, versions
from syncs.services.versions import MAPPING_FIELDS
from syncs.signals import sync_switched

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# What a person sets up. Connections are referred to, so their secrets stay where they are. Runs, ledger, watermark, approvals
# and status belong to the original alone: the copy has written nothing yet.
SETTINGS = (
    "description", "owner_id", "team_id", "source_id", "query", "key_columns", "destination_id", "destination_object",
    "destination_options", "mode", "detection", "cursor_column", "cursor_overlap_seconds", "on_mapping_error",
    "delete_guard_percent", "delete_guard_rows", "batch_records", "max_attempts", "retry_budget_seconds",
    "breaker_threshold", "schedule_kind", "interval_minutes", "cron", "timezone", "overlap_policy",
)  # fmt: skip
_LONGEST = 120


def free_name(sync: Sync) -> str:
    """``Contacts (copy)``, or with the first number that nobody has."""
    number = 1
    while True:
        tail = " (copy)" if number == 1 else f" (copy {number})"
        name = sync.name[: _LONGEST - len(tail)] + tail
        if not Sync.objects.filter(name=name).exists():
            return name
        number += 1


def clone(sync: Sync, *, name: str, by: User | None, door: str) -> Sync:
    """The copy, paused: nothing runs until somebody resumes it. Raises ``ConfigError`` for a name that cannot be taken."""
    name = name.strip()
    if not name:
        raise ConfigError("Give the copy a name.", field="name")
    if len(name) > _LONGEST:
        raise ConfigError(f"The name has {len(name)} characters; {_LONGEST} are the most.", field="name")
    if "\x00" in name:
        raise ConfigError("The name holds a NUL character, which cannot be stored.", field="name")
    try:
        with transaction.atomic():
            return _clone(Sync.objects.get(pk=sync.pk), name, by, door)
    except IntegrityError:
        if Sync.objects.filter(name=name).exists():
            raise ConfigError(f"There is a sync “{name}” already. Choose another name.", field="name") from None
        raise


def _clone(sync: Sync, name: str, by: User | None, door: str) -> Sync:
    who = by.get_username() if by else "the command line"
    reason = f"Cloned from “{sync.name}” by {who}. Resume it when it is ready to run."
    made = Sync.objects.create(
        name=name,
        is_paused=True,
        paused_at=timezone.now(),
        pause_reason=reason[:255],
        **{field: getattr(sync, field) for field in SETTINGS},
    )
    lines = sync.mappings.order_by("position", "id")
    FieldMapping.objects.bulk_create(
        FieldMapping(sync=made, position=position, **{field: getattr(line, field) for field in MAPPING_FIELDS})
        for position, line in enumerate(lines)
    )
    made.tags.set(sync.tags.all())
    versions.pin(made, author=by, note=f"Cloned from “{sync.name}”"[:255])
    audit.record("cloned", made, by=by, door=door, detail={"from": sync.name, "from_id": sync.pk})
    touches.touch(made.pk)
    transaction.on_commit(lambda: sync_switched.send_robust(sender=Sync, sync_id=made.pk) and None)
    return made
