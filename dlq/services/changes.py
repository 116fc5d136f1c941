"""What changed in a sync since its rows failed: the plain answer to "is it worth sending them again?"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from dlq.choices import EntryStatus, RowState
from dlq.models import DLQEntry
from dlq.services.live import Live
from syncs.choices import SyncStatus
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

UNCHANGED_ROW = (
    "The row, the query, the mapping and the destination are as they were. Correct one of them first, "
    "unless the fault was at the destination and is repaired there."
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


def parts_changed_since(entry: DLQEntry, now: Mapping[str, Any] | None = None) -> list[str] | None:
    """What of the sync differs now from what the entry's last run used. None: that run's version is not known.

    ``now``: the sync's snapshot of this moment, where the caller has it.
    """
    if entry.version is None:
        return None
    return changed_parts(entry.version.snapshot, versions.snapshot(entry.sync) if now is None else now)


def verdict(entry: DLQEntry, *, now: Mapping[str, Any] | None = None, live: Live | None = None) -> Verdict:
    """One line over the entry: what is to be expected. Combines the row (as ``live`` found it, else as it was found last), the
    sync's query, mapping and destination then and now, and the state of the sync."""
    if entry.status != EntryStatus.OPEN:
        return _settled(entry)
    if entry.error_type == ErrorType.INVALID_KEY:
        return Verdict(Tone.WARN, "This row has no usable key, so it cannot be reprocessed by itself.", entry.info.remedy)
    found = _expected(entry, parts_changed_since(entry, now), live)
    return replace(found, advice=" ".join(filter(None, (found.advice, _state_sentence(entry.sync)))))


def _expected(entry: DLQEntry, parts: list[str] | None, live: Live | None) -> Verdict:
    is_asked = live is not None and not live.problem
    row = live.state if live is not None and is_asked else RowState(entry.row_state)
    if row == RowState.GONE:
        return Verdict(
            Tone.WARN,
            "The row is gone from the warehouse.",
            "There is nothing to reprocess: discard this dead letter, or delete the record at the destination.",
        )
    if live is not None and live.refused:
        return Verdict(Tone.BAD, "Today's mapping refuses the row.", live.refused)
    if not entry.is_permanent:
        return Verdict(
            Tone.INFO,
            "The failure was a passing one: the next run tries the row again by itself.",
            "Reprocess it to try at once.",
        )
    changed = (["row"] if row == RowState.CHANGED else []) + [f"{part} of the sync" for part in parts or ()]
    if live is not None and changed and live.payload and live.payload == entry.payload:
        return Verdict(
            Tone.WARN,
            f"The {_join(changed)} has changed since, but not in what is sent.",
            "The same payload would go out, so reprocessing will very likely fail again.",
        )
    if changed:
        advice = "Reprocessing may succeed now."
        if row == RowState.UNKNOWN:
            advice += " Look at the row now to see what would be sent."
        return Verdict(Tone.GOOD, f"The {_join(changed)} has changed since.", advice)
    if parts is None:
        return Verdict(Tone.INFO, "Whether the sync has changed since is not known.", entry.info.remedy)
    if row == RowState.SAME:
        return Verdict(Tone.WARN, "Nothing has changed: reprocessing will very likely fail again.", UNCHANGED_ROW)
    return Verdict(Tone.WARN, "Nothing has changed in the sync since.", UNCHANGED.split(". ", 1)[1])


def _state_sentence(sync: Sync) -> str:
    """What keeps a reprocess from going well although the row may be right."""
    if sync.is_archived:
        return "The sync is archived and runs no more."
    if sync.is_paused:
        return "The sync is paused: a reprocess waits until it is resumed."
    if sync.status == SyncStatus.FAILING:
        return "The sync is failing now, so a reprocess may fail for another reason."
    return ""


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
