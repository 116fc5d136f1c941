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
from syncs.models import Sync
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
    changed = _changed(is_row=row == RowState.CHANGED, parts=parts or [])
    if live is not None and changed and live.payload and live.payload == entry.payload:
        return Verdict(
            Tone.WARN,
            f"{changed} since, but not in what is sent.",
            "The same payload would go out, so reprocessing will very likely fail again.",
        )
    if changed:
        advice = "Reprocessing may succeed now."
        if row == RowState.UNKNOWN:
            advice += " Look at the row now to see what would be sent."
        return Verdict(Tone.GOOD, f"{changed} since.", advice)
    if parts is None:
        return Verdict(Tone.INFO, "Whether the sync has changed since is not known.", entry.info.remedy)
    if row == RowState.SAME:
        return Verdict(Tone.WARN, "Nothing has changed: reprocessing will very likely fail again.", UNCHANGED_ROW)
    return Verdict(Tone.WARN, "Nothing has changed in the sync since.", UNCHANGED.split(". ", 1)[1])


def _changed(*, is_row: bool, parts: list[str]) -> str:
    """``The row and the mapping of the sync have changed``; "" for nothing."""
    subjects = ["row"] if is_row else []
    if parts:
        subjects.append(f"{_join(parts)} of the sync")
    if not subjects:
        return ""
    return f"The {' and the '.join(subjects)} {'have' if is_row + len(parts) > 1 else 'has'} changed"


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
