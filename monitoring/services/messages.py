"""What is said to channels and people: titles, sentences, facts, links, and the documented JSON of webhooks.

No message holds a value of a row or a secret. Addresses begin with ``RETL["BASE_URL"]``.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.utils import timezone

from dlq.models import BulkOperation, ErrorGroup
from monitoring.channels.base import Message
from monitoring.choices import Event, Severity
from monitoring.models import Channel, Incident, IncidentSync, StatusChange
from syncs.choices import RunStatus, SyncStatus
from syncs.console import links
from syncs.models import Connection, Run, Sync

NAMED = 10  # syncs that a message names; of the others it gives the number
_PREFIX = {
    Event.INCIDENT_CHANGED: "Worse",
    Event.INCIDENT_ACKNOWLEDGED: "Acknowledged",
    Event.INCIDENT_RESOLVED: "Resolved",
}
Links = list[tuple[str, str]]


def make(
    event: Event,
    *,
    severity: Severity | str,
    subject: str,
    title: str,
    text: str = "",
    at: datetime | None = None,
    facts: list[tuple[str, str]] | None = None,
    links: Links | None = None,
    data: Mapping[str, Any] | None = None,
) -> Message:
    """Any message. Facts and links without a value are left out."""
    return Message(
        id=str(uuid.uuid4()),
        event=Event(event),
        severity=Severity(severity),
        subject=subject,
        title=title,
        text=text,
        at=at or timezone.now(),
        facts=tuple((label, str(value)) for label, value in facts or () if value not in (None, "")),
        links=tuple((label, url) for label, url in links or () if url),
        data=dict(data or {}),
    )


def url(name: str, *args: object, **query: str | int) -> str:
    """The whole address of a page of the console; "" where there is no such page."""
    path = links.page(name, *args, **query)
    return settings.RETL["BASE_URL"] + path if path else ""


# --- incidents


def of_incident(incident: Incident, event: Event, *, at: datetime, text: str = "") -> Message:
    """For a place that may read of every sync it affects. ``text``: what just happened."""
    affected = _affected(incident)
    names = [sync.name for sync, _ in affected]
    said = [part for part in (text, incident.text) if part]
    if len(said) == 2 and (said[0] in said[1] or said[1] in said[0]):
        said = [max(said, key=len)]
    return make(
        event,
        severity=incident.severity,
        subject=thread_of(incident),
        title=title_of(incident, event),
        text="\n".join(said),
        at=at,
        facts=[
            ("Severity", incident.get_severity_display()),
            ("What", incident.get_condition_display()),
            ("Connection", incident.connection.name if incident.connection else ""),
            ("Sync" if len(names) == 1 else "Syncs", _listed(names)),
            ("Since", said_moment(incident.opened_at)),
            ("Acknowledged by", _name(incident.acknowledged_by) if event == Event.INCIDENT_ACKNOWLEDGED else ""),
            *[(str(label), str(value)) for label, value in incident.drivers[:8]],
        ],
        links=_incident_links(incident, affected),
        data={"incident": incident_json(incident, [sync for sync, _ in affected])},
    )


def thread_of(incident: Incident) -> str:
    """The same from its opening to its end, and again when it comes back: one alert elsewhere for one incident here."""
    return f"incident:{incident.pk}"


def title_of(incident: Incident, event: Event) -> str:
    prefix = _PREFIX.get(event, "")
    if event == Event.INCIDENT_OPENED and incident.reopened_count:
        prefix = "Back again"
    return f"{prefix}: {incident.title}" if prefix else incident.title


def incident_json(incident: Incident, syncs: list[Sync]) -> dict[str, Any]:
    """docs/channels.md documents it: names are added, never changed."""
    return {
        "id": incident.pk,
        "url": url("admin:monitoring_incident_change", incident.pk),
        "cause": incident.cause,
        "condition": incident.condition,
        "severity": incident.severity,
        "state": incident.state,
        "title": incident.title,
        "text": incident.text,
        "drivers": [{"label": str(label), "value": str(value)} for label, value in incident.drivers],
        "opened_at": _iso(incident.opened_at),
        "acknowledged_at": _iso(incident.acknowledged_at),
        "acknowledged_by": _username(incident.acknowledged_by),
        "resolved_at": _iso(incident.resolved_at),
        "resolution": incident.resolution,
        "reopened_count": incident.reopened_count,
        "owner": _username(incident.owner),
        "connection": _connection_json(incident.connection) if incident.connection else None,
        "syncs": [sync_json(sync) for sync in syncs],
        "run_id": incident.run_id,
        "group_id": incident.group_id,
        "follows_id": incident.follows_id,
    }


def _affected(incident: Incident) -> list[tuple[Sync, str]]:
    """Those still affected; of what is over, all."""
    rows = IncidentSync.objects.filter(incident=incident).select_related("sync").order_by("pk")
    if not incident.is_over:
        rows = rows.filter(recovered_at=None)
    found = [(row.sync, row.text) for row in rows]
    return found or ([(incident.sync, "")] if incident.sync else [])


def _incident_links(incident: Incident, affected: list[tuple[Sync, str]]) -> Links:
    """The incident first; then where its next step is made."""
    found: Links = [("Incident", url("admin:monitoring_incident_change", incident.pk))]
    if incident.group_id:
        found.append(("Error group", group_url(incident.group_id)))
    if incident.run_id:
        found.append((f"Run {incident.run_id}", run_url(incident.run_id)))
    if incident.connection_id:
        found.append(("Connection", url("admin:syncs_connection_page", incident.connection_id)))
    elif len(affected) == 1:
        found.append(("Sync", sync_url(affected[0][0].pk)))
    runbook = incident.rules.exclude(runbook_url="").order_by("pk").values_list("runbook_url", flat=True).first()
    return [*found, ("Runbook", runbook or "")]


# --- syncs, runs, groups, operations


def of_status(change: StatusChange) -> Message:
    sync = change.sync
    severity = Severity.WARNING if change.after in (SyncStatus.FAILING, SyncStatus.DEGRADED) else Severity.INFO
    return make(
        Event.STATUS_CHANGED,
        severity=severity,
        subject=f"sync:{sync.pk}:status",
        title=f"{sync.name} is {change.after}, was {change.before}",
        text=change.reason,
        at=change.at,
        facts=[("Sync", sync.name), ("Status", change.get_after_display()), ("Before", change.get_before_display())],
        links=[("Sync", sync_url(sync.pk)), (f"Run {change.run_id}", run_url(change.run_id) if change.run_id else "")],
        data={
            "sync": sync_json(sync),
            "before": change.before,
            "after": change.after,
            "reason": change.reason,
            "conditions": change.conditions,
            "run_id": change.run_id,
        },
    )


def of_run(run: Run, event: Event = Event.RUN_FINISHED) -> Message:
    """A run that has ended; with ``DLQ_GREW``, the dead letters it left."""
    counts = f"{run.read_count:,} rows read, {run.accepted_count:,} accepted, {run.dead_lettered_count:,} dead-lettered"
    ended = run.get_status_display().lower()
    title = f"{run.sync.name}: run {run.pk} {ended if ended != 'partial' else 'ended partially'}"
    if event == Event.DLQ_GREW:
        title = f"{run.sync.name}: run {run.pk} added {run.dead_lettered_count:,} dead letters"
    bad = run.status == RunStatus.FAILED or event == Event.DLQ_GREW
    return make(
        event,
        severity=Severity.WARNING if bad else Severity.INFO,
        subject=f"run:{run.pk}",
        title=title,
        text=" ".join(filter(None, (run.failure_message or run.reason, f"{counts}."))),
        at=run.finished_at,
        facts=[("Sync", run.sync.name), ("Status", run.get_status_display()), ("Started by", run.get_trigger_display())],
        links=[(f"Run {run.pk}", run_url(run.pk)), ("Sync", sync_url(run.sync_id))],
        data={"sync": sync_json(run.sync), "run": run_json(run)},
    )


def of_group(group: ErrorGroup, event: Event, *, at: datetime) -> Message:
    """An error that was never seen before, or one that came back."""
    word = "New error" if event == Event.GROUP_NEW else "Error is back"
    return make(
        event,
        severity=Severity.WARNING,
        subject=f"group:{group.pk}",
        title=f"{group.sync.name}: {word[0].lower()}{word[1:]}: {group.headline}",
        text=f"{group.open_count:,} dead letters are open.",
        at=at,
        facts=[("Sync", group.sync.name), ("Error type", group.error_type), ("Error code", group.error_code)],
        links=[("Error group", group_url(group.pk)), ("Sync", sync_url(group.sync_id))],
        data={"sync": sync_json(group.sync), "group": group_json(group)},
    )


def of_operation(operation: BulkOperation) -> Message:
    """One act on dead letters of any number of syncs: no sync is named."""
    kind, status = operation.get_kind_display(), operation.get_status_display().lower()
    return make(
        Event.OPERATION_FINISHED,
        severity=Severity.INFO,
        subject=f"operation:{operation.pk}",
        title=f"{kind} of {operation.member_count:,} dead letters: {status}",
        text=operation.message,
        at=operation.finished_at,
        facts=[("Done", f"{operation.done_count:,}"), ("Refused", f"{operation.refused_count:,}")],
        links=[("Operation", url("admin:dlq_bulkoperation_change", operation.pk))],
        data={
            "operation": {
                "id": operation.pk,
                "url": url("admin:dlq_bulkoperation_change", operation.pk),
                "kind": operation.kind,
                "status": operation.status,
                "member_count": operation.member_count,
                "done_count": operation.done_count,
                "refused_count": operation.refused_count,
                "gone_count": operation.gone_count,
                "left_out_count": operation.left_out_count,
                "not_reached_count": operation.not_reached_count,
                "created_at": _iso(operation.created_at),
                "finished_at": _iso(operation.finished_at),
            }
        },
    )


# --- channels themselves


def of_disabled(channel: Channel, *, at: datetime, reason: str) -> Message:
    page = url("admin:monitoring_channel_change", channel.pk)
    return make(
        Event.CHANNEL_DISABLED,
        severity=Severity.WARNING,
        subject=f"channel:{channel.pk}:disabled:{at.isoformat()}",
        title=f"Channel “{channel.name}” was switched off",
        text=f"{reason} Nothing is sent there until somebody mends it, tests it and switches it on again.",
        at=at,
        facts=[("Channel", channel.name)],
        links=[("Channel", page)],
        data={"channel": {"id": channel.pk, "name": channel.name, "kind": channel.kind, "url": page}, "reason": reason},
    )


def of_test(channel: Channel, *, by: str, at: datetime) -> Message:
    page = url("admin:monitoring_channel_change", channel.pk)
    return make(
        Event.TEST,
        severity=Severity.INFO,
        subject=f"test:{uuid.uuid4()}",
        title="Test message from Redrive",
        text=f"{by} tests the channel “{channel.name}”. Nothing is wrong, and nothing is to be done.",
        at=at,
        facts=[("Channel", channel.name), ("Asked for by", by)],
        links=[("Channel", page)],
        data={"channel": {"id": channel.pk, "name": channel.name, "kind": channel.kind, "url": page}},
    )


# --- parts


def sync_url(pk: int) -> str:
    return url("admin:syncs_sync_page", pk)


def run_url(pk: int) -> str:
    return url("admin:syncs_run_change", pk)


def group_url(pk: int) -> str:
    return url("admin:dlq_errorgroup_change", pk)


def sync_json(sync: Sync) -> dict[str, Any]:
    return {"id": sync.pk, "name": sync.name, "status": sync.status, "url": sync_url(sync.pk)}


def run_json(run: Run) -> dict[str, Any]:
    counts = ("read", "accepted", "unchanged", "skipped", "dead_lettered", "pending")
    return {
        "id": run.pk,
        "url": run_url(run.pk),
        "status": run.status,
        "trigger": run.trigger,
        "queued_at": _iso(run.queued_at),
        "started_at": _iso(run.started_at),
        "finished_at": _iso(run.finished_at),
        "failure_type": run.failure_type,
        "failure_code": run.failure_code,
        "failure_message": run.failure_message,
        "reason": run.reason,
        **{f"{name}_count": getattr(run, f"{name}_count") for name in counts},
    }


def group_json(group: ErrorGroup) -> dict[str, Any]:
    return {
        "id": group.pk,
        "url": group_url(group.pk),
        "headline": group.headline,
        "error_type": group.error_type,
        "error_code": group.error_code,
        "field": group.field,
        "state": group.state,
        "open_count": group.open_count,
        "first_seen_at": _iso(group.first_seen_at),
        "last_seen_at": _iso(group.last_seen_at),
    }


def said_moment(value: datetime) -> str:
    return f"{timezone.localtime(value, timezone=timezone.get_default_timezone()):%Y-%m-%d %H:%M %Z}"


def _connection_json(connection: Connection) -> dict[str, Any]:
    page = url("admin:syncs_connection_page", connection.pk)
    return {"id": connection.pk, "name": connection.name, "role": connection.role, "url": page}


def _listed(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _iso(value: datetime | None) -> str | None:
    return value.isoformat() if value else None


def _username(user: Any) -> str | None:
    return user.get_username() if user else None


def _name(user: Any) -> str:
    return (user.get_full_name() or user.get_username()) if user else ""
