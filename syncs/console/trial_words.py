"""What became of a tried record, in words."""

from __future__ import annotations

from typing import Any

from syncs.destinations.trials import Trial
from syncs.engine.hashing import canonical_body
from syncs.records import RecordState, Signal
from syncs.services.trials import Draft

_STATES = {
    RecordState.WRITTEN: ("good", "Written", "A run would count the row as accepted."),
    RecordState.REJECTED: ("bad", "Refused", "A run would dead-letter the row."),
    RecordState.RETRYABLE: ("warn", "To be tried again", "A run would wait and send the row again."),
    RecordState.NOT_ATTEMPTED: ("warn", "Not attempted", "A run would send the row again."),
    RecordState.UNKNOWN: (
        "warn",
        "Nobody can say",
        "A run would send the row again where that does no harm, and else leave it to a person.",
    ),
}
_SIGNALS = {
    Signal.AUTH: ("bad", "Credentials refused", "A run would stop and say so; no row is dead-lettered for it."),
    Signal.CONFIG: ("bad", "The set-up is at fault", "A run would stop and say so; no row is dead-lettered for it."),
    Signal.CONFIRMING: ("warn", "Taken in as a job", "A run would ask for its end later."),
    Signal.RATE_LIMITED: ("warn", "Rate limited", "A run would wait and send the row again."),
    Signal.UNAVAILABLE: ("warn", "Not available", "A run would wait and send the row again."),
}


def outcome(trial: Trial) -> dict[str, Any] | None:
    """Kind of notice, headline, what a run would do, and (name, text) of the rest. None where nothing is known."""
    result = trial.result
    if result is None:
        return None
    record = result.outcomes[0] if result.outcomes else None
    kind, title, text = _SIGNALS.get(result.signal) or (
        _STATES[record.state] if record else ("warn", result.signal.value.capitalize(), "")
    )
    error = (record.error if record else None) or result.error
    facts = [("Signal", result.signal.value), ("Outcome", record.state.value if record else "")]
    if record:
        facts += [("Detail", record.detail), ("Id at the destination", record.destination_id)]
    if error:
        permanent = "permanent: it goes to the dead letters" if error.permanent else "transient: it is tried again"
        facts += [
            ("Error type", f"{error.type.info.label} ({error.type.value}), {permanent}"),
            ("Error code", error.code),
            ("Field", error.field),
            ("Message", error.message),
        ]
    if result.retry_after is not None:
        facts.append(("Asked to wait", f"{result.retry_after:g} s"))
    if result.job is not None:
        facts.append(("Job", result.job.id))
    remedy = error.type.info.remedy if error else ""
    return {"kind": kind, "title": title, "text": text, "remedy": remedy, "facts": [(a, b) for a, b in facts if b]}


def form(draft: Draft) -> dict[str, str]:
    """The form filled with what was sent, to change it and look again."""
    return {
        "object": draft.object_name,
        "operation": draft.operation.value,
        "key": draft.key,
        "payload": canonical_body(draft.payload).decode(),
        "key_fields": ", ".join(draft.options.get("key_fields", [])),
    }
