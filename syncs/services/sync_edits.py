"""Setting a sync up: made, or changed as a whole, checked as the form checks it, refused where somebody else was quicker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from syncs.choices import ConnectionRole
from syncs.connectors import Issue
from syncs.engine.mapping import MappingField
from syncs.errors import ConfigError
from syncs.models import Connection, FieldMapping, Sync
from syncs.services import access, audit, mappings, schedules, tags, touches, validation, versions
from syncs.services.config_files import comparing, documents
from syncs.signals import sync_switched

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SCHEDULE = frozenset({"schedule_kind", "interval_minutes", "cron", "timezone"})
# What no warehouse and no destination needs to be asked about.
_LIGHT = SCHEDULE | {"name", "description", "owner_id", "team_id", "overlap_policy"}
_MOST_TOLD, _LONGEST_TOLD = 60, 300  # changes in one audit event, characters of one value


class StaleSyncError(ConfigError):
    """Somebody saved the sync since it was opened."""

    def __init__(self, sync: Sync) -> None:
        super().__init__(f"“{sync.name}” was saved by somebody else since you opened it.", field="digest")


class InvalidSyncError(ConfigError):
    """``issues``: everything that is wrong, each with the attribute of the sync it stands in."""

    def __init__(self, issues: Sequence[Issue]) -> None:
        more = f" ({len(issues) - 1} more)" if len(issues) > 1 else ""
        super().__init__(f"{issues[0].message}{more}", field=issues[0].field)
        self.issues = list(issues)


@dataclass(frozen=True)
class Wanted:
    """``values``: attributes of the sync (``source_id``, ``query``); those that are not named stay as they are. ``lines``: the
    whole mapping, ``tags``: all names; None: they stay."""

    values: Mapping[str, Any] = field(default_factory=dict)
    lines: Sequence[MappingField] | None = None
    tags: Sequence[str] | None = None


def content(sync: Sync) -> dict[str, Any]:
    """All that an edit can change, as it is in the database now, as plain values. Three queries."""
    related = ("source", "destination", "owner", "team")
    fresh = Sync.objects.select_related(*related).prefetch_related("mappings", "tags").get(pk=sync.pk)
    return documents.sync_content(fresh, sorted(fresh.mappings.all(), key=lambda line: (line.position, line.pk)))


def digest(sync: Sync) -> str:
    """What an edit of the sync is written against."""
    return versions.digest_of(content(sync))


def find_issues(sync: Sync | None, wanted: Wanted, *, by: User, is_deep: bool = False) -> list[Issue]:
    """Everything that would be wrong with the sync (None: a new one) if this were saved. Nothing is.

    The warehouse and the destination are asked, without reading a row; not where nothing that concerns them changes, unless
    ``is_deep``.
    """
    made = _as_wanted(sync, wanted.values)
    issues = _reference_issues(sync, made, wanted, by) + _own_issues(made, sync, wanted)
    if issues:
        return issues
    if not is_deep and sync is not None and wanted.lines is None and wanted.values.keys() <= _LIGHT:
        return schedules.validate_schedule(made.schedule_kind, made.interval_minutes, made.cron, made.timezone)
    return validation.validate(made, mappings=None if wanted.lines is None else mappings.unsaved(made, wanted.lines))


def create(wanted: Wanted, *, by: User, door: str, is_paused: bool = False) -> Sync:
    """Raises ``InvalidSyncError``; nothing is saved then."""
    issues = find_issues(None, wanted, by=by)
    if issues:
        raise InvalidSyncError(issues)
    values = dict(wanted.values)
    if is_paused:
        reason = f"Made by {by.get_username()}. Resume it when it is ready to run."
        values |= {"is_paused": True, "paused_at": timezone.now(), "pause_reason": reason[:255]}
    with _unique_name(values["name"]), transaction.atomic():
        sync = Sync.objects.create(**values)
        FieldMapping.objects.bulk_create(mappings.unsaved(sync, wanted.lines or ()))
        if wanted.tags:
            tags.put(sync, wanted.tags, by=by, door=door)
        versions.pin(sync, author=by)
        schedules.reschedule(sync)
        record(sync, None, by=by, door=door)
        _tell(sync)
    return sync


def change(sync: Sync, wanted: Wanted, *, opened: str, by: User, door: str, note: str = "") -> None:
    """Save this, and pin the version with its author and note. ``opened``: what ``digest`` gave when the edit was begun.

    The warehouse is asked before the lock is taken. Raises ``StaleSyncError``, ``InvalidSyncError``, and ``ConfigError`` for an
    archived sync; nothing is saved then.
    """
    fresh = Sync.objects.get(pk=sync.pk)
    _refuse(fresh, opened)
    issues = find_issues(fresh, wanted, by=by)
    if issues:
        raise InvalidSyncError(issues)
    with _unique_name(str(wanted.values.get("name", ""))), transaction.atomic():
        locked = Sync.objects.select_for_update(no_key=True).get(pk=sync.pk)
        before = _refuse(locked, opened)
        Sync.objects.filter(pk=sync.pk).update(**wanted.values, updated_at=timezone.now())
        if wanted.lines is not None:
            mappings.write(locked, wanted.lines)
        if wanted.tags is not None and sorted(set(wanted.tags)) != before["tags"]:
            tags.put(locked, wanted.tags, by=by, door=door)
        versions.pin(locked, author=by, note=note[:255])
        if any(getattr(locked, name) != value for name, value in wanted.values.items() if name in SCHEDULE):
            schedules.reschedule(locked)
        record(sync, before, by=by, door=door)
        _tell(locked)


def record(sync: Sync, before: Mapping[str, Any] | None, *, by: User, door: str) -> None:
    """Write what differs from this content to the audit log, if anything does; None: the sync is new."""
    if before is None:
        audit.record("created", sync, by=by, door=door)
        return
    changes = comparing.differences(before, content(sync))
    if changes:
        told = {one.path: [_cut(one.before), _cut(one.after)] for one in changes[:_MOST_TOLD]}
        more = {"more": len(changes) - _MOST_TOLD} if len(changes) > _MOST_TOLD else {}
        audit.record("changed", Sync.objects.get(pk=sync.pk), by=by, door=door, detail={**told, **more})


def _refuse(sync: Sync, opened: str) -> dict[str, Any]:
    if sync.is_archived:
        raise ConfigError(f"“{sync.name}” is archived. Take it out of the archive, then edit it.", field="is_archived")
    found = content(sync)
    if versions.digest_of(found) != opened:
        raise StaleSyncError(sync)
    return found


def _as_wanted(sync: Sync | None, values: Mapping[str, Any]) -> Sync:
    made = Sync() if sync is None else copy(sync)
    for name, value in values.items():
        setattr(made, name, value)
    return made


def _reference_issues(sync: Sync | None, made: Sync, wanted: Wanted, by: User) -> list[Issue]:
    """What is named by a number or a word and is not there, or not for this."""
    issues = []
    for name, role in (("source_id", ConnectionRole.SOURCE), ("destination_id", ConnectionRole.DESTINATION)):
        pk = getattr(made, name)
        if not Connection.objects.filter(pk=pk, role=role).exists():
            issues.append(Issue(name, f"There is no {role} connection {pk}."))
    before = sync.team_id if sync is not None else None
    if made.team_id not in (None, before) and not access.teams_of(by).filter(pk=made.team_id).exists():
        issues.append(Issue("team_id", f"There is no team {made.team_id} that you may give a sync to."))
    if wanted.values.get("owner_id") and not get_user_model().objects.filter(pk=wanted.values["owner_id"]).exists():
        issues.append(Issue("owner_id", f"There is no user {made.owner_id}."))
    new = tags.unknown(wanted.tags or ())
    if new and not by.has_perm("syncs.add_tag"):
        issues.append(Issue("tags", f"There is no tag “{new[0]}”, and you may not name one. Leave it out, or ask for it."))
    return issues


def _own_issues(made: Sync, sync: Sync | None, wanted: Wanted) -> list[Issue]:
    """What the models themselves refuse: lengths, ranges, a name that is taken."""
    issues = []
    others = Sync.objects.exclude(pk=sync.pk) if sync is not None else Sync.objects.all()
    if others.filter(name=made.name).exists():
        issues.append(_taken(made.name))
    plain = {one.name for one in Sync._meta.fields if not one.is_relation} & wanted.values.keys()
    try:
        made.clean_fields(exclude={one.name for one in Sync._meta.fields} - plain)
    except ValidationError as error:
        issues += [Issue(name, " ".join(map(str, texts))) for name, texts in error.message_dict.items()]
    if len(wanted.lines or ()) > mappings.MOST_LINES:
        issues.append(Issue("mappings", f"{len(wanted.lines or ()):,} lines; {mappings.MOST_LINES:,} are the most."))
    return issues


def _taken(name: str) -> Issue:
    return Issue("name", f"There is a sync “{name}” already. Choose another name.")


@contextmanager
def _unique_name(name: str) -> Iterator[None]:
    """Two who take a name at once: one is told."""
    try:
        yield
    except IntegrityError:
        if name and Sync.objects.filter(name=name).exists():
            raise InvalidSyncError([_taken(name)]) from None
        raise


def _tell(sync: Sync) -> None:
    touches.touch(sync.pk)
    transaction.on_commit(lambda: sync_switched.send_robust(sender=Sync, sync_id=sync.pk) and None)


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= _LONGEST_TOLD else f"{text[:_LONGEST_TOLD]}…"
