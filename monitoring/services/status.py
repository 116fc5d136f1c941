"""The status of a sync, with its reason and since when: this module alone writes it, and its history."""

from __future__ import annotations

import logging
from dataclasses import replace

from django.db import transaction

from monitoring.judging.facts import ChangeFact, Facts
from monitoring.judging.verdict import Verdict
from monitoring.models import StatusChange
from monitoring.services import events
from syncs.choices import SyncStatus
from syncs.models import Sync

logger = logging.getLogger(__name__)


class OvertakenError(Exception):
    """The sync changed between the reading of the facts and the writing of the verdict."""


def apply(facts: Facts, verdict: Verdict) -> Facts:
    """Write the status where it differs; ``status_since`` moves only with the status itself. Returns the facts as they are now.

    The UPDATE asks for the row as it was when the facts were read. Raises ``OvertakenError`` where it is not so any more.
    """
    before, after = SyncStatus(facts.status), verdict.status
    if (before, facts.status_reason) == (after, verdict.reason):
        return facts
    as_read = Sync.objects.active().filter(
        pk=facts.sync_id,
        is_paused=facts.is_paused,
        drift_since=facts.drift_since,
        status=before,
        status_reason=facts.status_reason,
    )
    since = facts.status_since if before == after else facts.now
    if as_read.update(status=after, status_reason=verdict.reason, status_since=since) != 1:
        raise OvertakenError
    changed = replace(facts, status=after, status_reason=verdict.reason, status_since=since)
    return changed if before == after else _noted(changed, verdict, before)


def _noted(facts: Facts, verdict: Verdict, before: SyncStatus) -> Facts:
    newest = facts.runs[0].id if facts.runs else None
    change = StatusChange.objects.create(
        sync_id=facts.sync_id,
        at=facts.now,
        before=before,
        after=verdict.status,
        reason=verdict.reason,
        conditions=list(dict.fromkeys(finding.condition.value for finding in verdict.findings)),
        run_id=next((finding.run_id for finding in verdict.findings if finding.run_id), newest),
    )
    _tell(change)
    return replace(facts, changes=(ChangeFact(facts.now, before, verdict.status), *facts.changes))


def _tell(change: StatusChange) -> None:
    """What cannot be told must not keep the status from being right."""
    try:
        with transaction.atomic():
            events.status_changed(change)
    except Exception:
        logger.exception("The status change %s could not be told to webhooks.", change.pk)
