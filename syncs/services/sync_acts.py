"""One act on many syncs: each by itself, so that one that is refused stops no other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from syncs.errors import RedriveError
from syncs.models import Sync
from syncs.services import run_requests, syncs

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MOST = 500


class SyncAct(StrEnum):
    RUN = "run"
    PAUSE = "pause"
    RESUME = "resume"


class Done(StrEnum):
    """``unchanged``: it was so already."""

    DONE = "done"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Wanted:
    """``reason``: of a pause; ``is_full``: of a run."""

    reason: str = ""
    is_full: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """``message``: why it was refused; ``run_id``: of the run that is queued."""

    sync_id: int
    sync_name: str
    outcome: Done
    message: str = ""
    run_id: int | None = None


def on_many(found: Iterable[Sync], act: str, wanted: Wanted, *, by: User, door: str) -> list[Outcome]:
    return [_on(sync, SyncAct(act), wanted, by, door) for sync in found]


def _on(sync: Sync, act: SyncAct, wanted: Wanted, by: User, door: str) -> Outcome:
    run_id, is_done = None, True
    try:
        if act is SyncAct.RUN:
            run_id = run_requests.ask(sync, run_requests.Wanted(is_full=wanted.is_full), by=by, door=door).pk
        elif act is SyncAct.PAUSE:
            is_done = syncs.pause(sync, by=by, reason=wanted.reason, door=door)
        else:
            is_done = syncs.resume(sync, by=by, door=door)
    except RedriveError as error:
        return Outcome(sync.pk, sync.name, Done.REFUSED, error.message)
    return Outcome(sync.pk, sync.name, Done.DONE if is_done else Done.UNCHANGED, run_id=run_id)
