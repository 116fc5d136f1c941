"""The sandbox CRM's own store: records, unique values, receipts and remembered answers, in one SQLite file.

One writer at a time; every call that writes is one transaction, so a killed process leaves whole batches or none.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import orjson

from retl_project.demo.crm_fields import changed, dumped, loaded
from retl_project.demo.crm_schema import OBJECTS, CrmObject, Problem, leaves, problems

MAX_RECORD_BYTES = 16_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    object TEXT NOT NULL, key TEXT NOT NULL, id INTEGER NOT NULL, properties TEXT NOT NULL,
    created_at REAL NOT NULL, updated_at REAL NOT NULL, PRIMARY KEY (object, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS uniques (
    object TEXT NOT NULL, field TEXT NOT NULL, value TEXT NOT NULL, key TEXT NOT NULL,
    PRIMARY KEY (object, field, value)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS receipts (
    id INTEGER PRIMARY KEY, at REAL NOT NULL, request INTEGER NOT NULL, object TEXT NOT NULL, key TEXT NOT NULL,
    action TEXT NOT NULL, idempotency_key TEXT NOT NULL, is_replay INTEGER NOT NULL, digest TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS receipts_of_key ON receipts (object, key);
CREATE TABLE IF NOT EXISTS fields (object TEXT PRIMARY KEY, fields TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answers (
    idempotency_key TEXT PRIMARY KEY, digest TEXT NOT NULL, status INTEGER NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
"""


def _plain(value: Any) -> Any:
    """Decimals leave as the number they came as: 38.70 stays 38.70."""
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    raise TypeError(type(value).__name__)


def dumps(value: Any) -> bytes:
    return orjson.dumps(value, default=_plain)


def loads(text: str | bytes) -> Any:
    """JSON with exact decimals. Raises ``ValueError`` for anything else, NaN and half characters included."""
    orjson.loads(text)  # the stricter reader
    return json.loads(text, parse_float=Decimal)


@dataclass(slots=True)
class Answer:
    status: int
    body: bytes
    is_replay: bool = False


@dataclass(slots=True)
class _Result:
    """One record's outcome. ``action``: created, updated, unchanged or deleted; "" when refused."""

    key: str = ""
    action: str = ""
    record_id: int = 0
    problems: list[Problem] | None = None
    properties: str = ""


class Store:
    def __init__(self, path: str) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.executescript(_SCHEMA)
        row = self._db.execute("SELECT coalesce(max(id), 0) FROM records").fetchone()
        self._last_id: int = row[0]
        own = dict(self._db.execute("SELECT object, fields FROM fields"))
        self.objects = {
            name: replace(item, fields=loaded(own[name])) if name in own else item for name, item in OBJECTS.items()
        }

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(sql, values).fetchall()

    def change_fields(self, name: str, form: Mapping[str, str]) -> None:
        """Change what the object demands from now on; its records stay as they are. Raises ``FieldError``."""
        with self._writing() as db:
            item = changed(self.objects[name], form)
            db.execute("INSERT OR REPLACE INTO fields VALUES (?, ?)", (name, dumped(item.fields)))
            self.objects = {**self.objects, name: item}

    # --- writing

    def write(
        self, item: CrmObject, operation: str, entries: list[Any], *, request: int, idempotency_key: str, body: bytes
    ) -> Answer:
        """Carry out one batch, or give the stored answer when ``idempotency_key`` was seen with the same body.

        An answer is remembered only when it changed something; a batch that was refused whole may be tried again.
        """
        digest = hashlib.sha256(item.name.encode() + operation.encode() + body).hexdigest()
        with self._writing() as db:
            if idempotency_key and (answer := self._replay(item, idempotency_key, digest, request)):
                return answer
            results = [self._one(item, operation, entry) for entry in entries]
            accepted = [result for result in results if result.action]
            answer = Answer(200 if len(accepted) == len(results) else 207, _answer_body(entries, results))
            self._receipts(item.name, request, idempotency_key, accepted, is_replay=False)
            if idempotency_key and accepted:
                db.execute("INSERT INTO answers VALUES (?, ?, ?, ?)", (idempotency_key, digest, answer.status, answer.body))
            return answer

    def _replay(self, item: CrmObject, idempotency_key: str, digest: str, request: int) -> Answer | None:
        query = "SELECT digest, status, body FROM answers WHERE idempotency_key = ?"
        found = self._db.execute(query, (idempotency_key,)).fetchone()
        if found is None:
            return None
        if found[0] != digest:
            text = "This Idempotency-Key was used with another request body."
            return Answer(422, dumps({"error": {"code": "IDEMPOTENCY_KEY_REUSED", "message": text}}))
        query = (
            "INSERT INTO receipts (at, request, object, key, action, idempotency_key, is_replay, digest) "
            "SELECT ?, ?, object, key, action, idempotency_key, 1, digest FROM receipts "
            "WHERE idempotency_key = ? AND is_replay = 0"
        )
        self._db.execute(query, (time.time(), request, idempotency_key))
        return Answer(found[1], found[2], is_replay=True)

    def _receipts(
        self, object_name: str, request: int, idempotency_key: str, accepted: list[_Result], *, is_replay: bool
    ) -> None:
        now = time.time()
        rows = [(now, request, object_name, r.key, r.action, idempotency_key, is_replay, _sha(r.properties)) for r in accepted]
        self._db.executemany(
            "INSERT INTO receipts (at, request, object, key, action, idempotency_key, is_replay, digest) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )

    def _one(self, item: CrmObject, operation: str, entry: Any) -> _Result:
        if not isinstance(entry, dict) or not isinstance(entry.get("properties"), dict):
            return _refused(Problem("MALFORMED_RECORD", "", "A record is an object with “properties”."))
        values = dict(leaves(entry["properties"]))
        key = values.get(item.key)
        if operation == "delete":
            return self._delete(item, key)
        found = problems(item, values)
        if not found:
            found = self._relations(item, str(key), values)
        if found:
            return _Result(problems=found)
        properties = dumps(entry["properties"]).decode()
        if len(properties.encode()) > MAX_RECORD_BYTES:
            return _refused(Problem("RECORD_TOO_LARGE", "", f"A record may have at most {MAX_RECORD_BYTES} bytes."))
        return self._put(item, operation, str(key), values, properties)

    def _relations(self, item: CrmObject, key: str, values: Mapping[str, Any]) -> list[Problem]:
        found = []
        for field in item.fields:
            value = values.get(field.name)
            if value in (None, ""):
                continue
            if field.reference and not self._exists(field.reference, value):
                text = f"There is no record “{value[:80]}” in {field.reference}."
                found.append(Problem("REFERENCE_NOT_FOUND", field.name, text))
            if field.is_unique and (holder := self._holder(item.name, field.name, value)) not in (None, key):
                text = f"{field.name} must be unique; record “{holder}” already has “{value[:140]}”."
                found.append(Problem("DUPLICATE_VALUE", field.name, text))
        return found

    def _exists(self, object_name: str, key: str) -> bool:
        query = "SELECT 1 FROM records WHERE object = ? AND key = ?"
        return self._db.execute(query, (object_name, key)).fetchone() is not None

    def _holder(self, object_name: str, field: str, value: str) -> str | None:
        query = "SELECT key FROM uniques WHERE object = ? AND field = ? AND value = ?"
        row = self._db.execute(query, (object_name, field, value.casefold())).fetchone()
        return row[0] if row else None

    def _put(self, item: CrmObject, operation: str, key: str, values: Mapping[str, Any], properties: str) -> _Result:
        old = self._db.execute("SELECT id, properties FROM records WHERE object = ? AND key = ?", (item.name, key)).fetchone()
        if old and operation == "insert":
            return _refused(Problem("DUPLICATE_VALUE", item.key, f"A record with {item.key} “{key}” exists."))
        if not old and operation == "update":
            return _refused(Problem("RECORD_NOT_FOUND", item.key, f"There is no record with {item.key} “{key}”."))
        if old and old[1] == properties:
            return _Result(key, "unchanged", old[0], properties=properties)
        now = time.time()
        if old:
            statement = "UPDATE records SET properties = ?, updated_at = ? WHERE object = ? AND key = ?"
            self._db.execute(statement, (properties, now, item.name, key))
            self._forget_uniques(item, key, old[1])
        else:
            self._last_id += 1
            record = (item.name, key, self._last_id, properties, now, now)
            self._db.execute("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?)", record)
        self._db.executemany("INSERT INTO uniques VALUES (?, ?, ?, ?)", _uniques(item, key, values))
        return _Result(key, "updated" if old else "created", old[0] if old else self._last_id, properties=properties)

    def _forget_uniques(self, item: CrmObject, key: str, properties: str) -> None:
        rows = [row[:3] for row in _uniques(item, key, dict(leaves(loads(properties))))]
        self._db.executemany("DELETE FROM uniques WHERE object = ? AND field = ? AND value = ?", rows)

    def _delete(self, item: CrmObject, key: Any) -> _Result:
        if not isinstance(key, str) or not key:
            return _refused(Problem("REQUIRED_FIELD_MISSING", item.key, f"{item.key} is required."))
        query = "SELECT id, properties FROM records WHERE object = ? AND key = ?"
        old = self._db.execute(query, (item.name, key)).fetchone()
        if old is None:
            return _Result(key, "unchanged")
        self._db.execute("DELETE FROM records WHERE object = ? AND key = ?", (item.name, key))
        self._forget_uniques(item, key, old[1])
        return _Result(key, "deleted", old[0])

    # --- reading

    def counts(self) -> dict[str, int]:
        found = dict(self._rows("SELECT object, count(*) FROM records GROUP BY object"))
        return {name: found.get(name, 0) for name in OBJECTS}

    def record(self, object_name: str, key: str) -> dict[str, Any] | None:
        rows = self._rows("SELECT key, id, properties, updated_at FROM records WHERE object = ? AND key = ?", object_name, key)
        return _record(rows[0]) if rows else None

    def records(self, object_name: str, *, text: str = "", after: str = "", limit: int = 50) -> list[dict[str, Any]]:
        """By key, past ``after``; ``text`` is looked for in the key and in every value."""
        query = (
            "SELECT key, id, properties, updated_at FROM records WHERE object = ? AND key > ? "
            "AND (? = '' OR instr(lower(key || properties), lower(?)) > 0) ORDER BY key LIMIT ?"
        )
        return [_record(row) for row in self._rows(query, object_name, after, text, text, limit)]

    def receipts(self, *, object_name: str = "", key: str = "", after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
        """One for every record of every accepting answer, oldest first; ``is_replay``: the answer was a stored one."""
        query = (
            "SELECT id, at, request, object, key, action, idempotency_key, is_replay, digest FROM receipts "
            "WHERE id > ? AND (? = '' OR object = ?) AND (? = '' OR key = ?) ORDER BY id LIMIT ?"
        )
        names = ("id", "at", "request", "object", "key", "action", "idempotency_key", "is_replay", "digest")
        rows = self._rows(query, after, object_name, object_name, key, key, limit)
        return [{**dict(zip(names, row, strict=True)), "is_replay": bool(row[7])} for row in rows]


def _refused(problem: Problem) -> _Result:
    return _Result(problems=[problem])


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _uniques(item: CrmObject, key: str, values: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    return [
        (item.name, field.name, str(values[field.name]).casefold(), key)
        for field in item.fields
        if field.is_unique and values.get(field.name) not in (None, "")
    ]


def _record(row: tuple[Any, ...]) -> dict[str, Any]:
    return {"key": row[0], "id": row[1], "properties": loads(row[2]), "updated_at": row[3]}


def _answer_body(entries: list[Any], results: list[_Result]) -> bytes:
    answers = []
    for index, (entry, result) in enumerate(zip(entries, results, strict=True)):
        ref = entry.get("ref") if isinstance(entry, dict) else None
        answer: dict[str, Any] = {"index": index, "status": result.action or "error"}
        if isinstance(ref, str):
            answer["ref"] = ref
        if result.record_id:
            answer["id"] = str(result.record_id)
        if result.problems:
            answer["errors"] = [problem.as_json() for problem in result.problems]
        answers.append(answer)
    accepted = sum(1 for result in results if result.action)
    return dumps({"accepted": accepted, "rejected": len(results) - accepted, "results": answers})
