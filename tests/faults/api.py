"""A people API on loopback that misbehaves as told, and a sync into it. Everything it takes is on record: what was accepted,
under which idempotency key, with which bytes."""

from __future__ import annotations

import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlq.models import DLQEntry
from dlq.services import groups
from syncs.choices import RunStatus, Trigger
from syncs.models import DeliveredRow, FieldMapping, Run, Sync
from syncs.services import runs, worker
from tests.servers import Answer, Request, Server
from tests.syncs.objects import make_connection

Behaviour = Callable[[Request, list[dict[str, Any]]], Answer | None]
BATCH = 10


@dataclass(frozen=True)
class Receipt:
    """One row of one call that was carried out. ``is_replay``: the key was known, so nothing was done again."""

    id: int
    key: str
    body: str
    is_replay: bool


class Api:
    """``before(request, records)`` may answer instead, with nothing done. ``after`` may change the answer of a call that was
    carried out. ``bad``: ids refused one by one."""

    def __init__(self) -> None:
        self.held: dict[int, dict[str, Any]] = {}
        self.receipts: list[Receipt] = []
        self.bad: dict[int, dict[str, str]] = {}
        self.before: Behaviour | None = None
        self.after: Callable[[Request, list[dict[str, Any]], Answer], Answer] | None = None
        self.calls = 0
        self._seen: set[str] = set()
        self._lock = threading.Lock()
        self.server = Server(self.answer)

    def answer(self, request: Request) -> Answer:
        records = request.json()["records"]
        with self._lock:
            self.calls += 1
            answer = self.before(request, records) if self.before else None
            if answer is None:
                answer = self.take(request, records)
                answer = self.after(request, records, answer) if self.after else answer
        return answer

    def take(self, request: Request, records: list[dict[str, Any]]) -> Answer:
        key = request.headers["idempotency-key"]
        results = []
        for record in records:
            if record["id"] in self.bad:
                results.append({"id": record["id"], "ok": False, "error": self.bad[record["id"]]})
                continue
            self.receipts.append(Receipt(record["id"], key, str(sorted(record.items())), key in self._seen))
            self.held[record["id"]] = record
            results.append({"id": record["id"], "ok": True})
        self._seen.add(key)
        return Answer.json({"results": results})

    def keys_of(self, number: int) -> list[str]:
        return [receipt.key for receipt in self.receipts if receipt.id == number]


POSITION = {
    "kind": "position",
    "results": "results",
    "ok": {"path": "ok"},
    "code": "error.code",
    "message": "error.message",
    "field": "error.field",
}
KEYED = {**POSITION, "kind": "key", "result_id": "id"}


def config(url: str, *, locator: Any = None, operation: str = "upsert", **limits: Any) -> dict[str, Any]:
    call = {
        "path": "/people",
        "per_call": "batch",
        "body": {"list_at": "records"},
        "key_field": "id",
        "locator": locator or POSITION,
        "error": {"code": "error.code", "message": "error.message"},
        "idempotency": {"kind": "none" if operation == "insert" else "header"},
    }
    if operation == "insert":
        call["headers"] = {"Idempotency-Key": "none"}
    return {
        "base_url": url,
        "auth": {"kind": "bearer"},
        "limits": {"max_records": BATCH, "concurrency": 2, "deadline_seconds": 5, **limits},
        "objects": {"contacts": {"operations": {operation: call}}},
    }


class People:
    """``rows`` people in a SQLite warehouse and a sync into ``api``. ``limits`` and ``locator`` as ``config`` takes them."""

    def __init__(self, folder: Path, api: Api, rows: int, *, locator: Any = None, limits: Any = None, **sync: Any) -> None:
        self.api = api
        self.sent_apart: set[int] = set()  # rows left out of an answer are sent again without their batch: under a new key
        self.path = folder / "warehouse.sqlite3"
        self.count = rows
        self.sql("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT)")
        self.sql(f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) "
                 "INSERT INTO people SELECT i, 'name ' || i FROM n")  # fmt: skip
        operation = sync.get("mode", "upsert")
        self.target = make_connection(
            "destination",
            config=config(api.server.url, locator=locator, operation=operation, **(limits or {})),
            secrets={"token": "a-token-of-the-test"},
        )
        values = {"query": "SELECT id, name FROM people", "max_attempts": 3, "breaker_threshold": 3, **sync}
        self.sync = Sync.objects.create(
            name="people",
            source=make_connection(config={"path": str(self.path)}),
            key_columns="id",
            destination=self.target,
            destination_object="contacts",
            **values,
        )
        FieldMapping.objects.create(sync=self.sync, destination_field="id", column="id", type="integer", is_key=True)
        FieldMapping.objects.create(sync=self.sync, destination_field="name", column="name", position=1)

    def sql(self, statement: str, *parameters: Any) -> None:
        with sqlite3.connect(self.path) as database:
            database.execute(statement, parameters)
        database.close()

    def request(self) -> Run:
        return runs.request(sync=self.sync, trigger=Trigger.MANUAL)

    def run(self) -> Run:
        return self.work(self.request())

    def work(self, run: Run) -> Run:
        """Execute it as a worker would, to its end, and look whether everything is accounted for."""
        claim = runs.claim(run_id=run.pk, worker="test")
        assert claim is not None
        worker.execute(claim)
        run.refresh_from_db()
        assert run.status not in (RunStatus.QUEUED, RunStatus.RUNNING), run.reason
        self.assert_accounted(run)
        return run

    def assert_accounted(self, run: Run) -> None:
        """Counts add up; what the ledger calls accepted is there; one key per content; groups agree with entries."""
        assert run.read_count == run.settled_count + run.pending_count
        accepted = DeliveredRow.objects.filter(sync=self.sync, payload_hash__isnull=False).values_list("row_key", flat=True)
        assert {int(key) for key in accepted} <= self.api.held.keys()
        assert groups.recount(self.sync) == 0
        self.assert_one_key_per_content()

    def assert_one_key_per_content(self) -> None:
        keys: dict[tuple[int, str], set[str]] = defaultdict(set)
        for receipt in self.api.receipts:
            keys[receipt.id, receipt.body].add(receipt.key)
        assert {row for row, found in keys.items() if len(found) > 1 and row[0] not in self.sent_apart} == set()

    def assert_all_delivered(self, run: Run) -> None:
        assert run.status == RunStatus.SUCCEEDED, run.failure_message
        assert self.api.held == {n: {"id": n, "name": f"name {n}"} for n in range(1, self.count + 1)}
        assert not DLQEntry.objects.exists()

    def entries(self) -> dict[int, DLQEntry]:
        return {int(entry.row_key): entry for entry in DLQEntry.objects.filter(sync=self.sync)}

    def accepted(self) -> set[int]:
        """What the ledger says was accepted."""
        rows = DeliveredRow.objects.filter(sync=self.sync, payload_hash__isnull=False)
        return {int(key) for key in rows.values_list("row_key", flat=True)}
