"""What /readyz looks at: whether this process can answer people, and beside it whether any worker lives.

A silent worker does not make the console unready: without the console nobody could see what waits. Who wants to be told of
workers by a probe asks for ``?with=worker``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor

from monitoring.services import silence
from syncs.console import formats

_migrated: set[str] = set()  # databases found up to date: the code of a running process does not change any more


@dataclass(frozen=True, slots=True)
class Line:
    """``is_needed``: without it the answer is "not ready"."""

    what: str
    is_well: bool
    text: str
    is_needed: bool = True


def look(now: datetime, *, with_worker: bool) -> list[Line]:
    """Database, migrations, worker, in this order; ends at the first that the others rest on."""
    try:
        missing = _missing_migrations()
        if missing:
            return [Line("database", True, "answers"), Line("migrations", False, f"{missing} to apply: manage.py migrate")]
        felt = silence.pulse(now)
    except Error:
        connection.close()
        return [Line("database", False, "does not answer")]
    found = [Line("database", True, "answers"), Line("migrations", True, "up to date")]
    return [*found, _worker(felt, is_needed=with_worker)]


def _worker(felt: silence.Pulse, *, is_needed: bool) -> Line:
    if felt.tick is None:
        return Line("worker", False, "none has run yet", is_needed)
    age = felt.tick.age(felt.now)
    said = f"last tick {formats.span(age)} ago, {len(felt.workers)} living"
    return Line("worker", not felt.is_silent, said, is_needed)


def _missing_migrations() -> int:
    name = str(connection.settings_dict["NAME"])
    if name in _migrated:
        return 0
    executor = MigrationExecutor(connection)
    missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    if not missing:
        _migrated.add(name)
    return missing
