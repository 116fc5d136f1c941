"""What is to be mended decides what counts as one cause: a login that three syncs share is one, however many runs it fails.

A cause is a text: ``connection:3:auth``, ``connection:3:expiry``, ``connection:3:destination_unavailable``,
``connection:3:rate_limited``, ``connection:7:unavailable`` (a source), ``sync:12:drift``, ``sync:12:setup``,
``sync:12:<condition>``, ``group:5``. Plain Python.
"""

from __future__ import annotations

from dataclasses import dataclass

from monitoring.choices import Condition
from monitoring.judging.facts import ConnectionFact, Facts, RunFact
from syncs.errors import ErrorType

SETUP_CODES = ("config", "address_refused", "https_required")  # a run that its own set-up kept from starting
REAUTHORIZE = "reauthorize"  # the code of a run, and the state of a connection, that waits for a person to log in
# An answer that does not come and one that says "out of order" are the same outage.
_OUTAGE = (ErrorType.DESTINATION_UNAVAILABLE, ErrorType.TIMEOUT)
# Failures of a run by one of its rows: their messages hold the row's values.
_OF_ROWS = frozenset(ErrorType) - {*_OUTAGE, ErrorType.AUTH, ErrorType.RATE_LIMITED, ErrorType.WORKER_CRASH, ErrorType.UNKNOWN}


@dataclass(frozen=True, slots=True)
class Cause:
    """``key``: see above. ``connection``: whose fault it is, where a connection's."""

    key: str
    title: str
    advice: str
    connection: ConnectionFact | None = None


def of_condition(facts: Facts, condition: Condition) -> str:
    return f"sync:{facts.sync_id}:{condition}"


def of_login(connection: ConnectionFact) -> Cause:
    return Cause(
        f"connection:{connection.id}:auth",
        f"“{connection.name}” does not accept the login",
        "Renew the credentials on the connection's page; the next run of each sync goes on.",
        connection,
    )


def of_run(facts: Facts, run: RunFact) -> Cause:
    """Why this failed run failed."""
    at_source = run.failure_role == "source"
    connection = facts.source if at_source else facts.destination
    kind = run.failure_type
    if kind == ErrorType.AUTH or run.failure_code == REAUTHORIZE:
        return of_login(_that_ended(facts, connection) if run.failure_code == REAUTHORIZE else connection)
    if at_source:
        return _outage(connection, "unavailable", "Check that the warehouse is up and that this machine may reach it.")
    if kind in _OUTAGE:
        advice = "Check the vendor's status page. Nothing is lost: what was not sent stays pending, and the next run sends it."
        return _outage(connection, ErrorType.DESTINATION_UNAVAILABLE.value, advice)
    if kind == ErrorType.RATE_LIMITED:
        title = f"“{connection.name}” asks to slow down"
        return Cause(f"connection:{connection.id}:rate_limited", title, ErrorType.RATE_LIMITED.info.remedy, connection)
    return _of_sync(facts, run)


def _that_ended(facts: Facts, otherwise: ConnectionFact) -> ConnectionFact:
    return next((one for one in (facts.destination, facts.source) if one.state == REAUTHORIZE), otherwise)


def _outage(connection: ConnectionFact, word: str, advice: str) -> Cause:
    return Cause(f"connection:{connection.id}:{word}", f"“{connection.name}” cannot be reached", advice, connection)


def _of_sync(facts: Facts, run: RunFact) -> Cause:
    if run.failure_code in SETUP_CODES:
        advice = "Correct the setting that is named, then run the sync."
        return Cause(of_condition(facts, Condition.SETUP), f"“{facts.name}” cannot run as it is set up", advice)
    if run.failure_type == ErrorType.SCHEMA_DRIFT:
        return Cause(of_condition(facts, Condition.DRIFT), drift_title(facts), ErrorType.SCHEMA_DRIFT.info.remedy)
    if run.failure_type == ErrorType.FIELD_PERMISSION:
        title = f"“{facts.name}” may not write a field"
        return Cause(of_condition(facts, Condition.PERMISSION), title, ErrorType.FIELD_PERMISSION.info.remedy)
    advice = "Open the run: its steps and attempts say where it stopped."
    if is_known(run.failure_type) and run.failure_type != ErrorType.UNKNOWN:
        advice = ErrorType(run.failure_type).info.remedy
    return Cause(of_condition(facts, Condition.RUN_FAILED), f"Runs of “{facts.name}” fail", advice)


def drift_title(facts: Facts) -> str:
    return f"The destination of “{facts.name}” has changed"


def is_known(error_type: str) -> bool:
    return error_type in list(ErrorType)


def failure_text(run: RunFact) -> str:
    """Why a run failed, in a sentence that holds no value of a row."""
    if is_known(run.failure_type) and ErrorType(run.failure_type) in _OF_ROWS and run.failure_code not in SETUP_CODES:
        kind = ErrorType(run.failure_type)
        return f"{kind.info.label}: {kind.info.meaning}"
    return run.failure_message or run.reason or f"Run {run.id} failed."
