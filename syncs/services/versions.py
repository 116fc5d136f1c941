"""Versions of a sync: what a run used stays readable, whatever is edited later."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import Max

from syncs.models import Connection, FieldMapping, Sync, SyncVersion

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

_SYNC_FIELDS = (
    "query",
    "mode",
    "detection",
    "cursor_column",
    "cursor_overlap_seconds",
    "on_mapping_error",
    "delete_guard_percent",
    "delete_guard_rows",
    "batch_records",
    "max_attempts",
    "retry_budget_seconds",
    "breaker_threshold",
    "destination_object",
    "destination_options",
)
MAPPING_FIELDS = (
    "destination_field",
    "kind",
    "column",
    "constant",
    "template",
    "type",
    "options",
    "on_null",
    "default",
    "is_required",
    "is_key",
)


def snapshot(sync: Sync) -> dict[str, Any]:
    """Everything that decides what a run sends, as JSON. Connections by id and name: their secrets never enter it."""
    return snapshots([sync])[sync.pk]


def snapshots(syncs: Collection[Sync]) -> dict[int, dict[str, Any]]:
    """``snapshot`` of each, by sync id, in two queries however many there are; one where the connections are loaded."""
    names = _connection_names(syncs)
    lines: dict[int, list[dict[str, Any]]] = {sync.pk: [] for sync in syncs}
    mappings = FieldMapping.objects.filter(sync_id__in=list(lines)).order_by("position", "id")
    for line in mappings.values("sync_id", *MAPPING_FIELDS):
        lines[line.pop("sync_id")].append(line)
    return {sync.pk: _snapshot(sync, names, lines[sync.pk]) for sync in syncs}


def _snapshot(sync: Sync, names: Mapping[int, str], lines: list[dict[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(sync, name) for name in _SYNC_FIELDS}
    values["key_columns"] = list(sync.key_column_list)
    values["source"] = {"id": sync.source_id, "name": names[sync.source_id]}
    values["destination"] = {"id": sync.destination_id, "name": names[sync.destination_id]}
    values["mappings"] = lines
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return plain


def _connection_names(syncs: Collection[Sync]) -> dict[int, str]:
    roles = ("source", "destination")
    if all(role in sync._state.fields_cache for sync in syncs for role in roles):
        return {used.pk: used.name for sync in syncs for used in (sync.source, sync.destination)}
    ids = {pk for sync in syncs for pk in (sync.source_id, sync.destination_id)}
    return dict(Connection.objects.filter(pk__in=ids).values_list("pk", "name"))


def digest_of(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def pin(sync: Sync, *, author: AbstractBaseUser | None = None, note: str = "") -> SyncVersion:
    """The version that equals the sync as it is in the database now: the current one, or a new one."""
    with transaction.atomic():
        # Without the key lock, rows that refer to the sync (runs, dead letters) need not wait for this transaction.
        fresh = Sync.objects.select_for_update(no_key=True).get(pk=sync.pk)
        values = snapshot(fresh)
        digest = digest_of(values)
        current = fresh.current_version
        if current is not None and current.digest == digest:
            return current
        last = SyncVersion.objects.filter(sync=fresh).aggregate(last=Max("number"))["last"] or 0
        version = SyncVersion.objects.create(
            sync=fresh, number=last + 1, snapshot=values, digest=digest, author_id=getattr(author, "pk", None), note=note
        )
        Sync.objects.filter(pk=fresh.pk).update(current_version=version)
        return version


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """{path: (before, after)} of what differs between two snapshots, a mapping line by line; None: it is not there."""
    one, other = _flat(before), _flat(after)
    names = [*one, *(name for name in other if name not in one)]
    return {name: (one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name)}


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: value for name, value in values.items() if name != "mappings"}
    found |= {f"mappings.{name}": line for name, line in by_field(values.get("mappings", [])).items()}
    return found


def by_field(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A list collects several lines, so each is named by its place among those of its field."""
    found: dict[str, Any] = {}
    for line in lines:
        name = number = line["destination_field"]
        count = 1
        while number in found:
            count += 1
            number = f"{name} ({count})"
        found[number] = {key: value for key, value in line.items() if key != "destination_field"}
    return found
