"""Saving the mapping of a sync as a whole: checked as the sync form checks it, refused where somebody else was quicker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils import timezone

from syncs.connectors import Issue
from syncs.engine.mapping import MappingField
from syncs.errors import ConfigError
from syncs.models import FieldMapping, Sync, SyncVersion
from syncs.services import audit, versions
from syncs.services.validation import validate
from syncs.services.versions import MAPPING_FIELDS

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MOST_LINES = 1_000


class StaleMappingError(ConfigError):
    """Somebody saved the sync since it was opened. ``snapshot``, ``digest``: of the sync as it is now."""

    def __init__(self, sync: Sync, snapshot: dict[str, Any]) -> None:
        super().__init__(f"“{sync.name}” was saved by somebody else since you opened this page.", field="digest")
        self.snapshot = snapshot
        self.digest = versions.digest_of(snapshot)


class InvalidMappingError(ConfigError):
    """``issues``: everything that is wrong, as ``validation.validate`` gives it."""

    def __init__(self, issues: Sequence[Issue]) -> None:
        more = f" ({len(issues) - 1} more)" if len(issues) > 1 else ""
        super().__init__(f"{issues[0].message}{more}", field=issues[0].field)
        self.issues = list(issues)


def digest(sync: Sync) -> str:
    """Of the sync as it is in the database now, query and settings too: what a mapping was written against."""
    return versions.digest_of(versions.snapshot(sync))


def lines(sync: Sync) -> list[MappingField]:
    """The mapping as it is in the database now, in its order."""
    rows = FieldMapping.objects.filter(sync=sync).order_by("position", "id").values(*MAPPING_FIELDS)
    return [MappingField.from_snapshot(row) for row in rows]


def as_snapshot(mapping: Sequence[MappingField]) -> list[dict[str, Any]]:
    """The lines as a version's snapshot holds them."""
    return [_values(line) for line in mapping]


def unsaved(sync: Sync, mapping: Sequence[MappingField]) -> list[FieldMapping]:
    return [FieldMapping(sync=sync, position=position, **_values(line)) for position, line in enumerate(mapping)]


def save(
    sync: Sync, mapping: Sequence[MappingField], *, opened: str, by: User | None, door: str, note: str = ""
) -> SyncVersion:
    """Put these lines in the place of the sync's mapping, pin the version with its author and note, and write the audit log.

    ``opened``: the digest of the sync when its mapping was opened. The query is asked for its columns before the lock is taken.
    Raises ``StaleMappingError``, ``InvalidMappingError``, and ``ConfigError`` for an archived sync; nothing is saved then.
    """
    _refuse_stale(sync, opened)
    issues = validate(sync, mappings=unsaved(sync, mapping))
    if issues:
        raise InvalidMappingError(issues)
    with transaction.atomic():
        locked = Sync.objects.select_for_update(no_key=True).get(pk=sync.pk)
        if locked.is_archived:
            raise ConfigError(f"“{sync.name}” is archived: its mapping cannot be changed.", field="is_archived")
        before = _refuse_stale(locked, opened)
        write(locked, mapping)
        Sync.objects.filter(pk=sync.pk).update(updated_at=timezone.now())
        version = versions.pin(locked, author=by, note=note[:255])
        changed = audit.differences(versions.by_field(before["mappings"]), versions.by_field(version.snapshot["mappings"]))
        if changed or versions.digest_of(before) != version.digest:
            audit.record("mapping_changed", locked, by=by, door=door, detail={"version": version.number, "fields": changed})
    return version


def _refuse_stale(sync: Sync, opened: str) -> dict[str, Any]:
    found = versions.snapshot(sync)
    if versions.digest_of(found) != opened:
        raise StaleMappingError(sync, found)
    return found


def write(sync: Sync, mapping: Sequence[MappingField]) -> None:
    """Lines keep their row where their field stays, so that a form that somebody has open still finds it."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in FieldMapping.objects.filter(sync=sync).order_by("position", "id").values("pk", "position", *MAPPING_FIELDS):
        rows.setdefault(row["destination_field"], []).append(row)
    made = []
    for position, line in enumerate(mapping):
        values = {"position": position, **_values(line)}
        found = rows.get(line.destination_field)
        if not found:
            made.append(FieldMapping(sync=sync, **values))
            continue
        row = found.pop(0)
        if any(row[name] != value for name, value in values.items()):
            FieldMapping.objects.filter(pk=row["pk"]).update(**values)
    FieldMapping.objects.filter(pk__in=[row["pk"] for left in rows.values() for row in left]).delete()
    FieldMapping.objects.bulk_create(made)


def _values(line: MappingField) -> dict[str, Any]:
    values = {name: getattr(line, name) for name in MAPPING_FIELDS}
    return {**values, "options": dict(line.options)}
