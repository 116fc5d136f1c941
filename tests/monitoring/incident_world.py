"""Facts by hand, and rules, for tests of incidents."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from monitoring.choices import Condition, Event, Severity
from monitoring.judging.facts import ConnectionFact, Facts, RunFact
from monitoring.models import AlertRule, Incident
from syncs.choices import ConnectionRole, RunStatus, Trigger
from syncs.models import Connection, Run, Sync

NOW = datetime(2026, 11, 9, 12, 0, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
Announced = tuple[int, str]


def connections() -> tuple[Connection, Connection]:
    name = uuid.uuid4().hex[:8]
    source = Connection.objects.create(name=f"warehouse {name}", role=ConnectionRole.SOURCE, kind="sqlite")
    return source, Connection.objects.create(name=f"crm {name}", role=ConnectionRole.DESTINATION, kind="memory")


def sync(source: Connection, target: Connection, name: str = "", **values: Any) -> Sync:
    made: dict[str, Any] = {"query": "SELECT 1", "key_columns": "id", "destination_object": "things"}
    return Sync.objects.create(name=name or uuid.uuid4().hex[:8], source=source, destination=target, **(made | values))


def run(sync: Sync, status: RunStatus = RunStatus.FAILED) -> Run:
    return Run.objects.create(sync=sync, status=status, trigger=Trigger.SCHEDULE, queued_at=NOW, finished_at=NOW)


def facts(sync: Sync, *runs: RunFact, now: datetime = NOW, **values: Any) -> Facts:
    made = Facts(sync.pk, sync.name, now, NOW - 90 * 24 * HOUR, _fact(sync.source), _fact(sync.destination), runs=runs)
    return replace(made, **values)


def failed(of: Run, *, at: datetime = NOW, kind: str = "unknown", message: str = "It broke.", **values: Any) -> RunFact:
    return _run(of, "failed", at, failure_type=kind, failure_message=message, **values)


def well(of: Run, *, at: datetime = NOW, **values: Any) -> RunFact:
    return _run(of, "succeeded", at, **({"read": 100, "accepted": 100} | values))


def _run(of: Run, status: str, at: datetime, **values: Any) -> RunFact:
    return RunFact(of.pk, status, True, at - 5 * MINUTE, at - 5 * MINUTE, at, **values)


def _fact(one: Connection) -> ConnectionFact:
    return ConnectionFact(one.pk, one.name, one.role, one.state, one.state_message, one.credential_expires_at)


def rule(condition: Condition, severity: Severity = Severity.WARNING, **values: Any) -> AlertRule:
    return AlertRule.objects.create(**({"name": uuid.uuid4().hex, "condition": condition, "severity": severity} | values))


class Heard:
    """Stands where people are told: what was announced, in order."""

    def __init__(self) -> None:
        self.said: list[Announced] = []

    def announce(self, incident: Incident, event: Event, *, at: datetime, text: str = "") -> None:
        self.said.append((incident.pk, event.value.removeprefix("incident.")))

    def take(self) -> list[Announced]:
        said, self.said = self.said, []
        return said
