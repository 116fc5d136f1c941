"""The headings of the API's document, in the order in which they are shown."""

from __future__ import annotations

HEADINGS = {
    "Callers": "Who you are, and what you may.",
    "API keys": "Keys for programs: made, rotated with an overlap, revoked. A key is shown once and never exceeds its owner.",
    "Service accounts": "Users for machines: they have roles and teams, call with keys, and never sign in.",
    "People and teams": "To whom things can be given, and who looks after which syncs.",
    "Connections": "Warehouses and destinations: settings, secrets that never come out, checks, objects, fields, drift.",
    "Error rules": "What an answer of a destination means, and applying that to what is open.",
    "Syncs": "The rows of one query, mapped, written to one object of a destination: set up, run, paused, compared, archived.",
    "Configuration": "Syncs and connections as YAML: exported, compared, applied.",
    "Tags": "Words by which syncs are found, filtered and alerted on together.",
    "Runs": "Executions of a sync: started, followed, cancelled, with steps, attempts, log and evidence.",
    "Triggers": "Addresses that start a sync by a signed call, for jobs that cannot hold a key.",
    "Chains": "Syncs that run after others.",
    "Dead letters": "Rows that could not be written: seen, compared, corrected, sent again, discarded.",
    "Error groups": "Dead letters by their cause: states, owners, merging and splitting.",
    "Bulk operations": "Acts on many dead letters: planned, confirmed, started, followed, paused, undone.",
    "Exports": "Dead letters as files, masked.",
    "Imports": "Corrected payloads from a file.",
    "Saved views": "Filters of the list of dead letters under a name.",
    "Figures": "Counts, charts and the overview as numbers.",
    "Status": "Healthy, degraded, failing: why, since when, and by which thresholds.",
    "Alert rules": "When people are told.",
    "Incidents": "What people were told of: acknowledged, muted, resolved.",
    "Channels": "Where people and programs are told, and what was delivered.",
    "My alerts": "How oneself is told, and what one was told of.",
    "Retention": "How long things are kept, and purges.",
    "Audit log": "Who changed what of the set-up, when and through which door.",
}


def tags() -> list[dict[str, str]]:
    return [{"name": name, "description": text} for name, text in HEADINGS.items()]
