"""Which parts each kind has, in the order in which they are walked."""

from __future__ import annotations

from collections.abc import Mapping

from monitoring.choices import Retained
from monitoring.services.retention import of_entries, of_rest, of_runs
from monitoring.services.retention.parts import Part

PARTS: Mapping[Retained, tuple[Part, ...]] = {
    Retained.STEPS: (of_runs.STEPS,),
    Retained.RUNS: (of_runs.RUNS,),
    Retained.RESOLVED_ENTRIES: (of_entries.RESOLVED, of_entries.SUPERSEDED),
    Retained.DISCARDED_ENTRIES: (of_entries.DISCARDED,),
    Retained.LEDGER_OF_ARCHIVED: (of_rest.LEDGER,),
    Retained.DELIVERIES: (of_rest.DELIVERIES, of_rest.NOTICES),
    Retained.INCIDENTS: (of_rest.INCIDENTS, of_rest.STATUS_CHANGES),
    Retained.EXPORTS: (of_entries.EXPORTS,),
    Retained.OPERATIONS: (of_entries.ITEMS,),
    Retained.HOURS: (of_rest.SYNC_HOURS, of_rest.GROUP_HOURS, of_rest.DEPTH_HOURS),
    Retained.AUDIT: (of_rest.AUDIT,),
}
ENTRIES = (Retained.RESOLVED_ENTRIES, Retained.DISCARDED_ENTRIES)
