"""What a sync's ledger and watermark speak of, and what happens to them when the sync is pointed elsewhere."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.db.models import F

from syncs.choices import SyncMode
from syncs.errors import FenceLostError
from syncs.models import DeliveredRow, Run
from syncs.services.leases import Claim

log = logging.getLogger(__name__)


def target(snapshot: Mapping[str, Any]) -> list[Any]:
    """Where the rows go and by which key: what is accepted there says nothing of another target. A delete is no write."""
    is_delete = snapshot["mode"] == SyncMode.DELETE
    return [snapshot["destination"]["id"], snapshot["destination_object"], snapshot["key_columns"], is_delete]


def watermark_scope(snapshot: Mapping[str, Any]) -> str:
    """Names what a watermark was read from and for. A watermark of another scope is not compared with."""
    values = [snapshot["source"]["id"], snapshot["query"], snapshot["cursor_column"], *target(snapshot)]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]


def start_over_elsewhere(run: Run, claim: Claim) -> None:
    """Forget what the ledger says of another target than this run's: then every row is sent here, and a mirror deletes nothing
    that it never wrote. Dead letters stay, and close when this target takes their rows. May be repeated.

    Raises ``FenceLostError`` when another worker owns the run.
    """
    before = Run.objects.filter(sync_id=run.sync_id, progress_at__isnull=False, version__isnull=False).exclude(pk=run.pk)
    last = before.order_by("-progress_at").select_related("version").first()
    if last is None or last.version is None or run.version is None:
        return
    if target(last.version.snapshot) == target(run.version.snapshot):
        return
    log.warning("Run %s: its destination, object, key or mode is not that of run %s; the ledger starts over.", run.pk, last.pk)
    with transaction.atomic():
        if Run.objects.owned(claim.run_id, claim.fence).update(fence=F("fence")) != 1:
            raise FenceLostError("Another worker owns this run now.")
        others = DeliveredRow.objects.filter(sync_id=run.sync_id).exclude(run_id=run.pk)
        others.filter(held_hash__isnull=True).delete()
        others.update(payload_hash=None, accepted_at=None, is_hold_permanent=False)
