"""The triggers that keep ``EntryTally``: plain SQL for each kind of database. Installing them again is harmless.

PostgreSQL: statement-level, so that an act on 50,000 rows writes a handful of signed changes, by inserts alone: no writer waits
for another. An update that leaves the tallied columns alone sums up to nothing and writes nothing.
SQLite has row-level triggers only, and one writer at a time: there they adjust the one line of each combination.
"""

from __future__ import annotations

from typing import Any

_POSTGRESQL = """
CREATE OR REPLACE FUNCTION dlq_tally_insert() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO dlq_entrytally (sync_id, status, error_type, http_status, count)
    SELECT sync_id, status, error_type, http_status, count(*) FROM new_rows GROUP BY 1, 2, 3, 4;
    RETURN NULL;
END $$
---
CREATE OR REPLACE FUNCTION dlq_tally_delete() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO dlq_entrytally (sync_id, status, error_type, http_status, count)
    SELECT sync_id, status, error_type, http_status, -count(*) FROM old_rows GROUP BY 1, 2, 3, 4;
    RETURN NULL;
END $$
---
CREATE OR REPLACE FUNCTION dlq_tally_update() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO dlq_entrytally (sync_id, status, error_type, http_status, count)
    SELECT sync_id, status, error_type, http_status, sum(change) FROM (
        SELECT sync_id, status, error_type, http_status, -1 AS change FROM old_rows
        UNION ALL
        SELECT sync_id, status, error_type, http_status, 1 FROM new_rows
    ) AS changes GROUP BY 1, 2, 3, 4 HAVING sum(change) <> 0;
    RETURN NULL;
END $$
---
CREATE OR REPLACE FUNCTION dlq_tally_truncate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    DELETE FROM dlq_entrytally;
    RETURN NULL;
END $$
---
DROP TRIGGER IF EXISTS dlq_tally_insert ON dlq_dlqentry
---
DROP TRIGGER IF EXISTS dlq_tally_delete ON dlq_dlqentry
---
DROP TRIGGER IF EXISTS dlq_tally_update ON dlq_dlqentry
---
DROP TRIGGER IF EXISTS dlq_tally_truncate ON dlq_dlqentry
---
CREATE TRIGGER dlq_tally_insert AFTER INSERT ON dlq_dlqentry
REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION dlq_tally_insert()
---
CREATE TRIGGER dlq_tally_delete AFTER DELETE ON dlq_dlqentry
REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION dlq_tally_delete()
---
CREATE TRIGGER dlq_tally_update AFTER UPDATE ON dlq_dlqentry
REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION dlq_tally_update()
---
CREATE TRIGGER dlq_tally_truncate AFTER TRUNCATE ON dlq_dlqentry FOR EACH STATEMENT EXECUTE FUNCTION dlq_tally_truncate()
"""

# A deleted entry only lowers: when everything is deleted, the tally may have been emptied first, and no line below zero must
# stay behind.
_SQLITE = """
CREATE INDEX IF NOT EXISTS dlq_tally_line ON dlq_entrytally (sync_id, status, error_type, http_status)
---
DROP TRIGGER IF EXISTS dlq_tally_insert
---
DROP TRIGGER IF EXISTS dlq_tally_delete
---
DROP TRIGGER IF EXISTS dlq_tally_update
---
CREATE TRIGGER dlq_tally_insert AFTER INSERT ON dlq_dlqentry BEGIN
    UPDATE dlq_entrytally SET count = count + 1
    WHERE sync_id = NEW.sync_id AND status = NEW.status AND error_type = NEW.error_type AND http_status IS NEW.http_status;
    INSERT INTO dlq_entrytally (sync_id, status, error_type, http_status, count)
    SELECT NEW.sync_id, NEW.status, NEW.error_type, NEW.http_status, 1 WHERE changes() = 0;
END
---
CREATE TRIGGER dlq_tally_delete AFTER DELETE ON dlq_dlqentry BEGIN
    UPDATE dlq_entrytally SET count = count - 1
    WHERE sync_id = OLD.sync_id AND status = OLD.status AND error_type = OLD.error_type AND http_status IS OLD.http_status;
END
---
CREATE TRIGGER dlq_tally_update AFTER UPDATE OF sync_id, status, error_type, http_status ON dlq_dlqentry
WHEN OLD.sync_id <> NEW.sync_id OR OLD.status <> NEW.status OR OLD.error_type <> NEW.error_type
    OR OLD.http_status IS NOT NEW.http_status
BEGIN
    UPDATE dlq_entrytally SET count = count - 1
    WHERE sync_id = OLD.sync_id AND status = OLD.status AND error_type = OLD.error_type AND http_status IS OLD.http_status;
    UPDATE dlq_entrytally SET count = count + 1
    WHERE sync_id = NEW.sync_id AND status = NEW.status AND error_type = NEW.error_type AND http_status IS NEW.http_status;
    INSERT INTO dlq_entrytally (sync_id, status, error_type, http_status, count)
    SELECT NEW.sync_id, NEW.status, NEW.error_type, NEW.http_status, 1 WHERE changes() = 0;
END
"""

_REMOVE = {
    "postgresql": """
DROP FUNCTION IF EXISTS dlq_tally_insert, dlq_tally_delete, dlq_tally_update, dlq_tally_truncate CASCADE
""",
    "sqlite": """
DROP TRIGGER IF EXISTS dlq_tally_insert
---
DROP TRIGGER IF EXISTS dlq_tally_delete
---
DROP TRIGGER IF EXISTS dlq_tally_update
---
DROP INDEX IF EXISTS dlq_tally_line
""",
}

_COUNT_THEM = {
    "postgresql": (
        "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'dlq_dlqentry'::regclass AND tgenabled <> 'D' "
        "AND starts_with(tgname, 'dlq_tally_')"
    ),
    "sqlite": (
        "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'dlq_dlqentry' AND name GLOB 'dlq_tally_*'"
    ),
}
_EXPECTED = {"postgresql": 4, "sqlite": 3}

_FILL = """
DELETE FROM dlq_entrytally
---
INSERT INTO dlq_entrytally (sync_id, status, error_type, http_status, count)
SELECT sync_id, status, error_type, http_status, count(*) FROM dlq_dlqentry GROUP BY 1, 2, 3, 4
"""


def are_there(connection: Any) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_COUNT_THEM[connection.vendor])
        return bool(cursor.fetchone()[0] == _EXPECTED[connection.vendor])


def install(connection: Any) -> None:
    _execute(connection, _POSTGRESQL if connection.vendor == "postgresql" else _SQLITE)


def remove(connection: Any) -> None:
    _execute(connection, _REMOVE[connection.vendor])


def fill(connection: Any) -> None:
    """Set the tally to what the entries say. Only where nobody else writes: in the transaction that installed the triggers,
    which holds the table, or on SQLite."""
    _execute(connection, _FILL)


def ensure(connection: Any) -> bool:
    """Install them where one is missing, and count anew. Returns whether one was.

    On SQLite, altering the entry table makes a new table and drops the old one with its triggers: so after every migration.
    """
    if are_there(connection):
        return False
    install(connection)
    fill(connection)
    return True


def _execute(connection: Any, script: str) -> None:
    with connection.cursor() as cursor:
        for statement in script.split("\n---\n"):
            cursor.execute(statement)
