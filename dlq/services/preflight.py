"""Before a reprocess: what has changed since the rows failed? For the syncs exact, by versions; for the rows by a live sample.

The answer decides whether the confirmation asks for more than a click: where nothing has changed, the same error is to be
expected again.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dlq.choices import ReprocessMode, RowState
from dlq.models import DLQEntry
from dlq.services import samples
from dlq.services.changes import changed_parts
from dlq.services.rowcheck import compare_rows
from dlq.services.snapshots import Looked, Shown, Snapshot
from syncs.errors import RedriveError
from syncs.models import Sync, SyncVersion
from syncs.services import versions

logger = logging.getLogger(__name__)

SAMPLE = 200
SECONDS = 3.0  # for a whole look, however many syncs it is about
_VERSIONS_READ = 200  # more versions than that are compared by their number alone
_LEAST_SECONDS = 1.0  # with less time left, a warehouse is not asked any more
ByVersion = Mapping[tuple[int, int | None], int]  # (sync id, version id) -> dead letters


@dataclass(slots=True)
class SyncChanges:
    """Counts of dead letters. ``parts``: query, mapping, destination -> those for which it differs now from what refused them.
    ``unknown``: the version that refused them is not known. ``total`` = ``same`` + ``changed`` + ``unknown``."""

    total: int = 0
    same: int = 0
    changed: int = 0
    unknown: int = 0
    parts: Counter[str] = field(default_factory=Counter)


def sync_changes(syncs: Mapping[int, Sync], by_version: ByVersion) -> SyncChanges:
    """Three queries. Syncs that are not among ``syncs`` count as unknown."""
    found = SyncChanges(total=sum(by_version.values()))
    now = versions.snapshots(list(syncs.values()))
    used = {version for _sync, version in by_version if version is not None}
    then = SyncVersion.objects.in_bulk(list(used)) if len(used) <= _VERSIONS_READ else {}
    for (sync_id, version_id), count in by_version.items():
        sync = syncs.get(sync_id)
        if sync is None or version_id is None:
            found.unknown += count
            continue
        if version_id in then:
            parts = changed_parts(then[version_id].snapshot, now[sync_id])
        else:
            parts = [] if version_id == sync.current_version_id else ["settings"]
        for part in parts:
            found.parts[part] += count
        found.changed += count if parts else 0
        found.same += 0 if parts else count
    return found


def needs_acknowledgement(shown: Shown, mode: ReprocessMode) -> bool:
    """Nothing is known to have changed in what would be sent, so it is likely to be refused again.

    Rows count where today's row is sent; a stored row only meets a changed sync; a correction is a change itself.
    """
    if mode == ReprocessMode.EDITED or shown.changed_count:
        return False
    if mode != ReprocessMode.CURRENT or shown.looked is None:
        return True
    return not shown.looked.changed and not (shown.looked.gone and not shown.looked.same)


def look(snapshot: Snapshot, *, seconds: float = SECONDS) -> Looked:
    """Read the warehouse rows of a sample and compare. Takes about ``seconds`` at most; what cannot be read becomes a note."""
    until = time.monotonic() + seconds
    chosen = samples.spread(snapshot.entries().reprocessable(), SAMPLE, seed=snapshot.nonce)
    ids = [pk for one in chosen for pk in one.ids]
    entries = DLQEntry.objects.filter(pk__in=ids).only("pk", "sync_id", "row_key", "error_type", "source_row", "operation")
    by_sync: dict[int, list[DLQEntry]] = {}
    for entry in entries:
        by_sync.setdefault(entry.sync_id, []).append(entry)
    syncs = Sync.objects.select_related("source").in_bulk(list(by_sync))
    states, notes = _compare(sorted(syncs.values(), key=lambda sync: -len(by_sync[sync.pk])), by_sync, until)
    left = sum(1 for one in chosen if not one.ids)
    if left:
        notes.append(f"{left:,} smaller {'sync was' if left == 1 else 'syncs were'} not looked at.")
    return Looked(states[RowState.SAME], states[RowState.CHANGED], states[RowState.GONE], tuple(notes))


def _compare(
    syncs: Sequence[Sync], by_sync: Mapping[int, Sequence[DLQEntry]], until: float
) -> tuple[Counter[RowState], list[str]]:
    states, notes = Counter[RowState](), []
    silent: set[int] = set()  # sources that failed once: the next sync would wait for them again
    for sync in syncs:
        left = until - time.monotonic()
        if sync.source_id in silent:
            notes.append(f"{sync.name}: not looked at, its warehouse is the same.")
            continue
        if left < _LEAST_SECONDS and sync is not syncs[0]:
            notes.append(f"{sync.name}: not looked at, the time for it was used up.")
            continue
        try:
            found = compare_rows(sync, by_sync[sync.pk], at_most_seconds=max(1, math.floor(left)))
            states.update(found.values())
        except RedriveError as problem:
            silent.add(sync.source_id)
            notes.append(f"{sync.name}: its warehouse could not be read. {problem}")
        except Exception as error:  # noqa: BLE001 - a driver's own error; its words may hold anything, so only the type is told
            silent.add(sync.source_id)
            logger.error("A look into the warehouse of sync %s failed with %s.", sync.pk, type(error).__name__)
            notes.append(f"{sync.name}: its warehouse could not be read ({type(error).__name__}). Test its connection.")
    return states, notes


def rows_sentence(looked: Looked, count: int) -> str:
    """``Of 200 looked at: 20 changed, 3 gone, 177 the same. Of all 158,194 about 16,000 have probably changed.``"""
    if not looked.total:
        return "No warehouse row could be looked at."
    said = f"Of {looked.total:,} looked at: {looked.changed:,} changed, {looked.gone:,} gone, {looked.same:,} the same."
    if looked.total >= count:
        return said
    guesses = [
        f"about {_rounded(part * count / looked.total):,} {word}"
        for part, word in ((looked.changed, "have probably changed"), (looked.gone, "are probably gone"))
        if part
    ]
    return f"{said} Of all {count:,}, {' and '.join(guesses)}." if guesses else said


def _rounded(value: float) -> int:
    """To two digits: a sample of 200 tells no more."""
    if value < 1:
        return 1
    step = 10 ** max(0, math.floor(math.log10(value)) - 1)
    return int(round(value / step) * step)


def sync_sentence(found: SyncChanges) -> str:
    """What of the syncs has changed, with numbers."""
    if not found.total:
        return ""
    if found.same == found.total:
        return "Nothing: the same query, the same mapping, the same destination as when they failed."
    said = [f"the {part} for {count:,}" for part, count in found.parts.most_common()]
    sentences = [f"Changed since they failed: {_listed(said)} of {found.total:,}."] if said else []
    if found.same and said:
        sentences.append(f"For {found.same:,} nothing has changed: they will very likely fail again.")
    if found.unknown:
        sentences.append(f"For {found.unknown:,} it is not known what refused them.")
    return " ".join(sentences)


def _listed(parts: Iterable[str]) -> str:
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last
