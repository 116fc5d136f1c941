"""What changed in a sync since its rows failed: the plain answer to "is it worth sending them again?"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dlq.choices import EntryStatus
from dlq.models import DLQEntry
from syncs.errors import ErrorType
from syncs.models import Sync, SyncVersion
from syncs.services import versions

_PARTS = {
    "query": ("query", "key_columns", "source"),
    "mapping": ("mappings",),
    "destination": ("destination", "destination_object", "destination_options", "mode"),
}
UNCHANGED = (
    "Nothing has changed in the sync since: same query, same mapping, same destination. "
    "Unless the row itself or the destination was corrected, reprocessing will very likely fail again."
)


class Tone(StrEnum):
    GOOD = "good"
    INFO = "info"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Verdict:
    tone: Tone
    headline: str
    advice: str = ""


def changed_parts(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Which of query, mapping and destination differ between two snapshots of a sync."""
    return [part for part, keys in _PARTS.items() if any(then.get(key) != now.get(key) for key in keys)]


def parts_changed_since(entry: DLQEntry) -> list[str] | None:
    """What of the sync differs now from what the entry's last run used. None: that run's version is not known."""
    if entry.version is None:
        return None
    return changed_parts(entry.version.snapshot, versions.snapshot(entry.sync))


def verdict(entry: DLQEntry) -> Verdict:
    """One line over the entry: what is to be expected. Looks at the sync as it is now; not at the live warehouse row."""
    if entry.status != EntryStatus.OPEN:
        return _settled(entry)
    if entry.error_type == ErrorType.INVALID_KEY:
        return Verdict(Tone.WARN, "This row has no usable key, so it cannot be reprocessed by itself.", entry.info.remedy)
    if not entry.is_permanent:
        return Verdict(
            Tone.INFO,
            "The failure was a passing one: the next run tries the row again by itself.",
            "Reprocess it to try at once.",
        )
    parts = parts_changed_since(entry)
    if parts is None:
        return Verdict(Tone.INFO, "Whether the sync has changed since is not known.", entry.info.remedy)
    if parts:
        return Verdict(Tone.GOOD, f"The {_join(parts)} of the sync has changed since.", "Reprocessing may succeed now.")
    return Verdict(Tone.WARN, "Nothing has changed in the sync since.", UNCHANGED.split(". ", 1)[1])


def _settled(entry: DLQEntry) -> Verdict:
    who = entry.closed_by.get_username() if entry.closed_by else "somebody"
    if entry.status in (EntryStatus.QUEUED, EntryStatus.INFLIGHT):
        return Verdict(
            Tone.INFO, f"It waits for run {entry.reprocess_run_id}, which sends it again.", "Cancel that run to take it back."
        )
    if entry.status == EntryStatus.DISCARDED:
        return Verdict(
            Tone.INFO,
            f"Discarded by {who}: {entry.close_reason}",
            "The same content is not sent again; a changed row is. Reopen it to undo this.",
        )
    if entry.status == EntryStatus.SUPERSEDED:
        return Verdict(Tone.GOOD, "A newer version of the row landed at the destination.", "Nothing is left to do.")
    run = f" by run {entry.resolved_run_id}" if entry.resolved_run_id else ""
    return Verdict(Tone.GOOD, f"The row was delivered{run}.", "Nothing is left to do.")


def _join(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def warnings_before_reprocess(by_version: Mapping[tuple[int, int | None], int]) -> list[str]:
    """Sentences for the confirmation page. ``by_version``: (sync id, version id) -> entries that would be sent again."""
    totals: dict[int, int] = {}
    for (sync_id, _version), count in by_version.items():
        totals[sync_id] = totals.get(sync_id, 0) + count
    syncs = Sync.objects.select_related("current_version").in_bulk(list(totals))
    return _unchanged(syncs, by_version) + [
        sentence for pk, sync in sorted(syncs.items()) for sentence in _state_of(sync, totals[pk])
    ]


def _state_of(sync: Sync, count: int) -> list[str]:
    if sync.is_paused:
        return [f"{sync.name} is paused: its {count:,} wait until it is resumed."]
    if sync.status == "failing":
        return [f"{sync.name} is failing now: its {count:,} may fail again."]
    return []


def _unchanged(syncs: Mapping[int, Sync], by_version: Mapping[tuple[int, int | None], int]) -> list[str]:
    """How many would be sent by exactly the query, mapping and destination that refused them."""
    now = {pk: versions.snapshot(sync) for pk, sync in syncs.items()} if len(syncs) <= 20 else {}
    used = {version for _sync, version in by_version if version is not None}
    then = SyncVersion.objects.in_bulk(list(used)) if len(used) <= 100 else {}
    same = total = 0
    for (sync_id, version_id), count in by_version.items():
        total += count
        sync = syncs.get(sync_id)
        if sync is None or version_id is None:
            continue
        if sync_id in now and version_id in then:
            is_same = not changed_parts(then[version_id].snapshot, now[sync_id])
        else:
            is_same = version_id == sync.current_version_id
        same += count if is_same else 0
    if total and same == total:
        return [UNCHANGED.replace("the row itself or the destination was", "the rows themselves or the destination were")]
    if same:
        return [f"For {same:,} of {total:,} nothing has changed in the sync since: they will very likely fail again."]
    return []
