"""Conditions about runs that cannot end well: failed runs, set-up, credentials, drift, missing permissions. Plain Python."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import takewhile

from monitoring.choices import Condition
from monitoring.judging import causes
from monitoring.judging.facts import ConnectionFact, Facts, Finding, Level, OpenErrors, RunFact
from monitoring.judging.limits import Limits
from syncs.errors import ErrorType

FAILED = "failed"


def telling_runs(facts: Facts) -> list[RunFact]:
    """Those that tell how the sync is, newest first: a run of a few chosen rows can tell of failures only."""
    return [run for run in facts.runs if run.is_regular or run.status == FAILED]


def failed_in_a_row(facts: Facts) -> list[RunFact]:
    return list(takewhile(lambda run: run.status == FAILED, telling_runs(facts)))


def run_failed(facts: Facts, limits: Limits) -> Iterator[Finding]:
    failed = failed_in_a_row(facts)
    least = max(1, limits.failures_to_fail)
    if len(failed) < least:
        return
    cause = causes.of_run(facts, failed[0])
    count = f"The last {len(failed)} runs failed" if len(failed) > 1 else "The last run failed"
    yield Finding(
        condition=Condition.RUN_FAILED,
        level=Level.FAIL,
        cause=cause.key,
        title=cause.title,
        text=f"{count}: {causes.failure_text(failed[0])}",
        advice=cause.advice,
        value=len(failed),
        limit=least,
        run_id=failed[0].id,
        connection_id=cause.connection.id if cause.connection else None,
        drivers=tuple((f"Run {run.id}, {run.finished_at:%Y-%m-%d %H:%M} UTC", causes.failure_text(run)) for run in failed[:5]),
    )


def setup(facts: Facts, limits: Limits) -> Iterator[Finding]:
    failed = failed_in_a_row(facts)[:1]
    is_refused = bool(failed) and failed[0].failure_code in causes.SETUP_CODES
    text = causes.failure_text(failed[0]) if is_refused else facts.setup_problem
    if text:
        yield Finding(
            condition=Condition.SETUP,
            level=Level.FAIL,
            cause=causes.of_condition(facts, Condition.SETUP),
            title=f"“{facts.name}” cannot run as it is set up",
            text=text,
            advice="Correct the setting that is named, then run the sync.",
            run_id=failed[0].id if is_refused else None,
        )


def credential(facts: Facts, limits: Limits) -> Iterator[Finding]:
    """An ended login, however it shows, is one cause; the known end of a credential is told days before."""
    ended = ended_login(facts)
    if ended is not None:
        failed = failed_in_a_row(facts)[:1]
        cause = causes.of_login(ended)
        yield Finding(
            condition=Condition.CREDENTIAL,
            level=Level.FAIL,
            cause=cause.key,
            title=cause.title,
            text=_ended_text(facts, ended),
            advice=cause.advice,
            run_id=failed[0].id if failed else None,
            connection_id=ended.id,
        )
    for connection in (facts.source, facts.destination):
        if (ended is None or ended.id != connection.id) and _is_ending(facts, connection, limits):
            yield _expiry(facts, connection)


def login_text(connection: ConnectionFact) -> str:
    at = "destination" if connection.role == "destination" else "source"
    return f"“{connection.name}”: log in again at the {at}."


def ended_login(facts: Facts) -> ConnectionFact | None:
    for connection in (facts.destination, facts.source):
        if connection.state == causes.REAUTHORIZE:
            return connection
    failed = failed_in_a_row(facts)[:1]
    if failed and failed[0].failure_type == ErrorType.AUTH:
        return causes.of_run(facts, failed[0]).connection
    return None


def _ended_text(facts: Facts, connection: ConnectionFact) -> str:
    if connection.state == causes.REAUTHORIZE:
        return login_text(connection)
    return causes.failure_text(failed_in_a_row(facts)[0])


def _is_ending(facts: Facts, connection: ConnectionFact, limits: Limits) -> bool:
    ends_at = connection.credential_expires_at
    return ends_at is not None and ends_at <= facts.now + timedelta(days=limits.credential_days)


def _expiry(facts: Facts, connection: ConnectionFact) -> Finding:
    ends_at = connection.credential_expires_at
    assert ends_at is not None
    verb = "expired" if ends_at <= facts.now else "expires"
    text = f"The credential of “{connection.name}” {verb} on {ends_at:%-d %b %Y}. Renew it on the connection's page."
    return Finding(
        condition=Condition.CREDENTIAL,
        level=Level.WARN,
        cause=f"connection:{connection.id}:expiry",
        title=f"The credential of “{connection.name}” {verb}",
        text=text,
        advice="Renew it on the connection's page before that day; runs fail afterwards.",
        value=round((ends_at - facts.now) / timedelta(days=1), 1),
        connection_id=connection.id,
    )


def drift(facts: Facts, limits: Limits) -> Iterator[Finding]:
    refused = _open(facts, ErrorType.SCHEMA_DRIFT)
    failed = failed_in_a_row(facts)[:1]
    is_run = bool(failed) and failed[0].failure_type == ErrorType.SCHEMA_DRIFT  # it met the change before the daily reading
    if facts.drift_since is not None:
        text = f"Destination schema changed: {facts.drift_reason}."
        advice = "Look at the changes, correct the mapping, and preview the sync."
    elif refused is not None:
        name = f" (“{refused.field}”)" if refused.field else ""
        text = (
            f"The destination no longer knows something that the mapping names{name}: {_letters(refused.count)} of this kind."
        )
        advice = ErrorType.SCHEMA_DRIFT.info.remedy
    elif is_run:
        text, advice = causes.failure_text(failed[0]), ErrorType.SCHEMA_DRIFT.info.remedy
    else:
        return
    yield Finding(
        condition=Condition.DRIFT,
        level=Level.WARN,
        cause=causes.of_condition(facts, Condition.DRIFT),
        title=causes.drift_title(facts),
        text=text,
        advice=advice,
        run_id=failed[0].id if is_run else None,
        group_id=refused.group_id if refused else None,
        data={"since": facts.drift_since.isoformat()} if facts.drift_since else {},
    )


def permission(facts: Facts, limits: Limits) -> Iterator[Finding]:
    refused = _open(facts, ErrorType.FIELD_PERMISSION)
    failed = failed_in_a_row(facts)[:1]
    is_run = bool(failed) and failed[0].failure_type == ErrorType.FIELD_PERMISSION
    if refused is None and not is_run:
        return
    name = f"“{refused.field}”" if refused and refused.field else "a field of the mapping"
    count = f": {_letters(refused.count)} of this kind" if refused else ""
    yield Finding(
        condition=Condition.PERMISSION,
        level=Level.FAIL if is_run else Level.WARN,
        cause=causes.of_condition(facts, Condition.PERMISSION),
        title=f"“{facts.name}” may not write a field",
        text=f"The user of “{facts.destination.name}” may not write {name}{count}.",
        advice=ErrorType.FIELD_PERMISSION.info.remedy,
        run_id=failed[0].id if is_run else None,
        group_id=refused.group_id if refused else None,
    )


def _open(facts: Facts, kind: ErrorType) -> OpenErrors | None:
    """Live dead letters of this kind; where they are not known (a moment in the past), those of the newest run."""
    for one in facts.open_errors:
        if one.error_type == kind and one.count:
            return one
    if facts.open_errors or facts.depth:
        return None
    for run in facts.regular_runs[:1]:
        for error_type, _code, field, _message, count in run.errors:
            if error_type == kind:
                return OpenErrors(error_type, count, field)
    return None


def _letters(count: int) -> str:
    return f"{count:,} dead letter{'' if count == 1 else 's'}"
