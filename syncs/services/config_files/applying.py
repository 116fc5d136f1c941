"""Writing a plan: all of it in one transaction, or nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction
from django.utils import timezone

from syncs.errors import ConfigError
from syncs.models import Connection, FieldMapping, Sync
from syncs.services import audit, connection_changes, schedules, tags, touches, versions
from syncs.services.config_files import planning
from syncs.services.config_files.checking import Known, unsaved_lines, unsaved_sync
from syncs.services.config_files.documents import CONNECTION, SYNC, SYNC_SETTINGS
from syncs.services.config_files.planning import Action, Item, Plan
from syncs.services.config_files.references import APPLIED, Environment
from syncs.services.connections import ConnectionCredentials
from syncs.signals import sync_switched

if TYPE_CHECKING:
    from django.contrib.auth.models import User

_SCHEDULE = {"schedule_kind", "interval_minutes", "cron", "timezone"}
_MOST_SHOWN, _LONGEST_SHOWN = 60, 300  # changes in one audit event, characters of one value
MOVED = "Somebody changed “{name}” since the files were compared with it. Nothing was applied. Compare again."


def apply(plan: Plan, known: Known, *, environment: Environment, by: User | None, door: str, is_paused: bool = False) -> None:
    """``is_paused``: new syncs wait to be resumed. Raises ``ConfigError``, and then nothing was written."""
    if plan.problems:
        raise ConfigError(str(plan.problems[0]))
    if plan.is_empty:
        return
    try:
        with _credentials_locked(plan), transaction.atomic():
            _compare_again(plan, environment)
            made = {item.name: _write_connection(item, by, door) for item in plan.of(CONNECTION)}
            saved = Known({**known.connections, **made}, known.owners, known.teams)
            for item in plan.of(SYNC):
                _write_sync(item, saved, by, door, is_paused=is_paused)
    except IntegrityError as error:
        reason = str(error).splitlines()[0][:200]
        raise ConfigError(f"The database refused the change: {reason}. Nothing was applied.") from error


@contextlib.contextmanager
def _credentials_locked(plan: Plan) -> Iterator[None]:
    """No worker renews a token of these connections meanwhile, and overwrites what is written here."""
    changed = [item.existing.pk for item in plan.of(CONNECTION) if item.action == Action.CHANGE and item.existing is not None]
    with contextlib.ExitStack() as stack:
        for pk in sorted(changed):
            stack.enter_context(ConnectionCredentials(pk).locked())
        yield


def _compare_again(plan: Plan, environment: Environment) -> None:
    """Under locks: what is there must be what was shown."""
    before = [(item.action, item.changes) for item in plan.items]
    problems = planning.match(plan.items, environment=environment, is_locking=True)
    moved = [item for item, was in zip(plan.items, before, strict=True) if (item.action, item.changes) != was]
    if moved:
        raise ConfigError(MOVED.format(name=moved[0].name))
    if problems:
        raise ConfigError(str(problems[0]))


def _write_connection(item: Item, by: User | None, door: str) -> Connection:
    values = {"description": item.content["description"], "config": item.content["config"], "secrets": item.secrets}
    if not isinstance(item.existing, Connection):
        made = Connection.objects.create(name=item.name, role=item.content["role"], kind=item.content["kind"], **values)
        detail = {"kind": made.kind, "role": made.role, "secrets": sorted(set(item.secrets) - {APPLIED})}
        audit.record("created", made, by=by, door=door, detail={**detail, "file": item.found.file})
        return made
    if item.action == Action.CHANGE:
        before = connection_changes.settings_of(item.existing)
        Connection.objects.filter(pk=item.existing.pk).update(**values, updated_at=timezone.now())
        item.existing.refresh_from_db()
        connection_changes.changed(item.existing, before, _secrets(item), by=by, door=door)
    return item.existing


def _secrets(item: Item) -> connection_changes.Secrets:
    named = {change.path.partition(".")[2]: change for change in item.changes if change.path.startswith("secrets.")}
    removed = tuple(name for name, change in named.items() if change.after == "removed")
    return connection_changes.Secrets(given=tuple(name for name in named if name not in removed), removed=removed)


def _write_sync(item: Item, known: Known, by: User | None, door: str, *, is_paused: bool) -> None:
    if item.action == Action.UNCHANGED:
        return
    wanted = unsaved_sync(item, known)
    values = {name: getattr(wanted, name) for name in ("description", "key_columns", *SYNC_SETTINGS)}
    values |= {f"{name}_id": getattr(wanted, f"{name}_id") for name in ("owner", "team", "source", "destination")}
    paths = {change.path for change in item.changes}
    if item.existing is None:
        sync = Sync.objects.create(name=item.name, **values, **(_paused(item) if is_paused else {}))
    else:
        Sync.objects.filter(pk=item.existing.pk).update(**values, updated_at=timezone.now())
        sync = Sync.objects.get(pk=item.existing.pk)
    if item.existing is None or any(path.split(".")[0] == "mappings" for path in paths):
        FieldMapping.objects.filter(sync=sync).delete()
        FieldMapping.objects.bulk_create(unsaved_lines(item, sync))
    if item.existing is None or "tags" in paths:
        tags.put(sync, item.content["tags"], by=by, door=door)
    versions.pin(sync, author=by, note=f"Applied from {item.found.file}"[:255])
    if item.existing is None or paths & _SCHEDULE:
        schedules.reschedule(sync)
    _record(item, sync, by, door)
    touches.touch(sync.pk)
    transaction.on_commit(lambda: sync_switched.send_robust(sender=Sync, sync_id=sync.pk) and None)


def _paused(item: Item) -> dict[str, object]:
    reason = f"Applied from {item.found.file}. Resume it when it is ready to run."
    return {"is_paused": True, "paused_at": timezone.now(), "pause_reason": reason[:255]}


def _record(item: Item, sync: Sync, by: User | None, door: str) -> None:
    if item.existing is None:
        audit.record("created", sync, by=by, door=door, detail={"file": item.found.file})
        return
    shown = {one.path: [_cut(one.before), _cut(one.after)] for one in item.changes[:_MOST_SHOWN]}
    audit.record("changed", sync, by=by, door=door, detail={"file": item.found.file, **shown})


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
