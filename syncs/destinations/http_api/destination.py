"""The destination: one call per ``write``, through the guarded session; everything the other side does becomes a value."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from syncs.connectors import CheckReport
from syncs.destinations.base import CredentialStore, Field, WithoutJobs
from syncs.destinations.http_api import checking, paths, tables
from syncs.destinations.http_api.answers import Interpreter, Reply, read_reply
from syncs.destinations.http_api.auth import Authenticator, authenticator
from syncs.destinations.http_api.calling import Called, Caller
from syncs.destinations.http_api.capabilities import capabilities
from syncs.destinations.http_api.config import (
    BodyKind,
    HttpConfig,
    IdempotencyKind,
    IfMissing,
    ObjectConfig,
    OperationConfig,
    PerCall,
)
from syncs.destinations.http_api.discovery import described
from syncs.destinations.http_api.encoding import Encoder, UnbuildableError, key_of
from syncs.destinations.http_api.jobs import FirstAnswers, JobCalls, taken
from syncs.destinations.http_api.oauth import AuthorizationCode
from syncs.destinations.http_api.reading import read_json, read_pages
from syncs.destinations.http_api.rules import Classifier, Ruling
from syncs.destinations.http_api.watching import Seen, Tap, explain
from syncs.destinations.trials import Watch
from syncs.errors import ConfigError, ErrorType
from syncs.http import Failure, Response, Session
from syncs.records import (
    NOT_ATTEMPTED,
    Batch,
    BatchResult,
    Job,
    Operation,
    Record,
    RecordOutcome,
    RecordState,
    RowError,
    Signal,
)

_NOT_ASCII = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True)
class _Prepared:
    """An operation, ready to be called."""

    operation: Operation
    config: OperationConfig
    encoder: Encoder
    interpreter: Interpreter
    job: JobCalls | None

    def watch(self, seen: list[Seen] | None) -> None:
        self.interpreter.seen = seen
        if self.job is not None:
            self.job.watch(seen)


class HttpDestination(WithoutJobs):
    """Built for one object of one connection. Thread-safe."""

    def __init__(
        self,
        config: HttpConfig,
        object_name: str,
        *,
        credentials: CredentialStore,
        session: Session,
        options: Mapping[str, Any],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        beside: HttpDestination | None = None,
    ) -> None:
        """``beside``: of the same connection; its log-in is used, so that there is one."""
        self._config = config
        self._object: ObjectConfig = config.objects[object_name]
        self._session = session
        made = authenticator(config.auth, credentials, session, config.base_url) if beside is None else beside._auth
        self._auth: Authenticator = made
        self._caller: Caller = Caller(config, session, made) if beside is None else beside._caller
        self._redactor = session.redactor
        self._classifier = Classifier(config.error_rules)
        self._options, self._now = options, now
        self._operations = {
            operation: self._prepared(operation, settings) for operation, settings in self._object.operations.items()
        }
        self.capabilities = capabilities(config, self._object)

    def _prepared(self, operation: Operation, settings: OperationConfig) -> _Prepared:
        def make(settings: OperationConfig) -> Interpreter:
            reads = Interpreter if settings.job is None else FirstAnswers
            return reads(
                operation,
                settings,
                classifier=self._classifier,
                wait=self._config.wait,
                redactor=self._redactor,
                now=self._now,
            )

        job = None
        if settings.job is not None:
            job = JobCalls(
                self._config, settings, make=make, caller=self._caller, redactor=self._redactor, options=self._options,
                now=self._now,
            )  # fmt: skip
        return _Prepared(operation, settings, Encoder(settings, self._options), make(settings), job)

    @property
    def login(self) -> AuthorizationCode | None:
        """How a person logs in at the destination, where that is how the connection proves itself."""
        return self._auth if isinstance(self._auth, AuthorizationCode) else None

    @contextmanager
    def watched(self, *, may_write: bool) -> Iterator[Watch]:
        """See ``destinations.trials``."""
        watch = Watch()
        seen: list[Seen] = []
        rulings: list[Ruling] = []
        self._caller.tap = Tap(watch.calls, self._session, may_write=may_write)
        self._classifier.rulings = rulings
        for prepared in self._operations.values():
            prepared.watch(seen)
        watch.read = lambda: explain(self._config.error_rules, rulings, seen, self._redactor)
        try:
            yield watch
        finally:
            self._caller.tap = self._classifier.rulings = None
            for prepared in self._operations.values():
                prepared.watch(None)

    def check(self) -> CheckReport:
        return checking.check(self._config, self._session, self._auth)

    def fields(self) -> list[Field] | None:
        declared = self._object.fields
        if self._object.discover is not None:
            return described(self.read, self._object.discover)
        if declared is None:
            return None
        return [Field(**asdict(item)) for item in declared]

    def read(self, path: str) -> Any:
        """The JSON at a path below the base URL, for discovery. Raises as ``read_json`` does."""
        return read_json(self._caller, self._config.headers, path)

    def read_pages(self, path: str) -> Iterator[Any]:
        """The same for a list that the header ``Link`` continues."""
        return read_pages(self._caller, self._config.headers, path, base_url=self._config.base_url)

    def close(self) -> None:
        self._session.close()

    def write(self, batch: Batch) -> BatchResult:
        records = batch.records
        if not records:
            return BatchResult([])
        prepared = self._operations.get(batch.operation)
        if prepared is None:
            known = ", ".join(self._operations)
            raise ConfigError(f"The connection does not say how to {batch.operation} here. Known: {known}.", field="objects")
        if prepared.config.per_call is PerCall.RECORD and len(records) > 1:
            return self._write_singly(prepared, batch)
        positions = _for_this_call(prepared.config, records)
        if len(positions) == len(records):
            return self._call(prepared, batch, records)
        result = self._call(prepared, batch, [records[position] for position in positions])
        return _spread(result, positions, len(records))

    def confirm(self, batch: Batch, job: Job) -> BatchResult:
        prepared = self._operations.get(batch.operation)
        if prepared is None or prepared.job is None:
            return super().confirm(batch, job)
        positions = _for_this_call(prepared.config, batch.records)
        result = prepared.job.confirm([batch.records[position] for position in positions], job)
        return _spread(result, positions, len(batch.records))

    # -- one call

    def _call(self, prepared: _Prepared, batch: Batch, records: Sequence[Record]) -> BatchResult:
        config, encoder = prepared.config, prepared.encoder
        single = records[0] if config.per_call is PerCall.RECORD else None
        try:
            found: Mapping[str, str] = {}
            if config.lookup is not None and single is not None:
                looked_up = self._lookup(prepared, single)
                if isinstance(looked_up, BatchResult):
                    return looked_up
                if looked_up is None:
                    return self._missing(prepared, batch, records)
                found = looked_up
            path = encoder.path(single, found)
            headers = self._headers(prepared, batch, single, found)
            body = encoder.body(records)
        except UnbuildableError as error:
            return _unbuildable(error)
        caller = self._caller
        called = caller.send(config.method, path, headers, body)
        result, reply = self._judged(prepared, called, records)
        if result.signal is Signal.AUTH and reply is not None:
            again = caller.send_renewed(called)
            if again is not None:
                called = again
                result, reply = self._judged(prepared, called, records)
        if reply is not None:
            result.exchange = caller.exchange(called, reply, result)
        if prepared.job is not None and result.signal is Signal.CONFIRMING:
            return prepared.job.carry_on(result, records)
        return result

    def _judged(self, prepared: _Prepared, called: Called, records: Sequence[Record]) -> tuple[BatchResult, Reply | None]:
        """The result, and the answer it was read from, if there was one."""
        if isinstance(called.answer, BatchResult):
            return _sized(called.answer, len(records)), None
        if isinstance(called.answer, Failure):
            return self._caller.failed(called, called.answer, len(records)), None
        reply = read_reply(called.answer, prepared.config.answers)
        return prepared.interpreter.result(reply, records), reply

    def _headers(self, prepared: _Prepared, batch: Batch, record: Record | None, found: Mapping[str, str]) -> dict[str, str]:
        config = prepared.config
        headers = {"Accept": "application/json", **self._config.headers}
        for name, template in config.headers.items():
            value = prepared.encoder.filled(template, record, found, is_path=False)
            headers[name] = quote(value, safe=" \"'<>{}[]=,:;/?@&+$-_.!~*()") if _NOT_ASCII.search(value) else value
        if config.body.kind is BodyKind.CSV:
            headers.setdefault("Content-Type", tables.CONTENT_TYPE)
        idempotency = config.idempotency_of(prepared.operation)
        if idempotency.kind is IdempotencyKind.HEADER:
            headers[idempotency.header] = batch.idempotency_key
        return headers

    # -- a read before the write

    def _lookup(self, prepared: _Prepared, record: Record) -> dict[str, str] | BatchResult | None:
        """What the read found; None: no such record; a result: the read failed, nothing was written."""
        lookup = prepared.config.lookup
        assert lookup is not None
        path = prepared.encoder.filled(lookup.path, record, {}, is_path=True)
        headers = {"Accept": "application/json", **self._config.headers}
        called = self._caller.send("GET", path, headers, None)
        if isinstance(called.answer, Response) and called.answer.status == 401:
            called = self._caller.send_renewed(called) or called
        answer = called.answer
        if isinstance(answer, BatchResult):
            return _sized(answer, 1)
        if isinstance(answer, Failure):
            return self._caller.failed(called, replace(answer, was_sent=False), 1)
        if answer.status in lookup.missing_status:
            return None
        reply = read_reply(answer)
        if not (200 <= answer.status < 300 and reply.is_readable):
            return self._lookup_refused(prepared, called, reply, record)
        found = {name: taken(answer, reply.data, where) for name, where in lookup.take.items()}
        return found if all(found.values()) else None

    def _lookup_refused(self, prepared: _Prepared, called: Called, reply: Reply, record: Record) -> BatchResult:
        if 200 <= reply.response.status < 300:
            error = RowError(ErrorType.DESTINATION_UNAVAILABLE, "The answer to the look-up cannot be read.", code="unreadable")
            result = BatchResult([NOT_ATTEMPTED], Signal.UNAVAILABLE, error)
        else:
            result = prepared.interpreter.result(reply, [record])
        result.exchange = self._caller.exchange(called, reply, result)
        return result

    def _missing(self, prepared: _Prepared, batch: Batch, records: Sequence[Record]) -> BatchResult:
        lookup = prepared.config.lookup
        assert lookup is not None
        if lookup.if_missing is IfMissing.INSERT:
            return self._call(self._operations[Operation.INSERT], batch, records)
        if lookup.if_missing is IfMissing.WRITTEN:
            return BatchResult([RecordOutcome(RecordState.WRITTEN, detail="unchanged")])
        text = f"The destination has no record with the key “{records[0].key}”."
        error = RowError(ErrorType.REFERENCE_NOT_FOUND, self._redactor.message(text), code="not_found")
        return BatchResult([RecordOutcome(RecordState.REJECTED, error)], error=error)

    # -- several records for an operation that takes one per call

    def _write_singly(self, prepared: _Prepared, batch: Batch) -> BatchResult:
        """One after the other, each under its own derived key, until the destination wants us to stop."""
        outcomes: list[RecordOutcome] = []
        result = BatchResult([])
        for record in batch.records:
            key = sha256(f"{batch.idempotency_key}:{record.key}".encode()).hexdigest()[: max(len(batch.idempotency_key), 32)]
            result = self._call(prepared, replace(batch, records=[record], idempotency_key=key), [record])
            if result.signal not in (Signal.OK, Signal.REFUSED, Signal.UNKNOWN):
                break
            outcomes.extend(result.outcomes)
        if not outcomes:
            return _sized(result, len(batch.records))
        rest = len(batch.records) - len(outcomes)
        result.outcomes = [*outcomes, *[NOT_ATTEMPTED] * rest]
        result.signal = Signal.OK
        return result


def _for_this_call(config: OperationConfig, records: Sequence[Record]) -> Sequence[int]:
    """Positions to send. The others wait for another call: those beyond ``max_records`` and, with
    ``unique_keys_in_batch``, later records of a key."""
    positions = _first_of_each_key(records, config.key_field) if config.unique_keys_in_batch else range(len(records))
    return positions[: config.max_records] if config.max_records else positions


def _first_of_each_key(records: Sequence[Record], key_field: str) -> Sequence[int]:
    seen: dict[str, int] = {}
    for position, record in enumerate(records):
        seen.setdefault(paths.as_text(key_of(record, key_field)).casefold(), position)
    return list(seen.values())


def _spread(result: BatchResult, positions: Sequence[int], count: int) -> BatchResult:
    if not result.outcomes:  # nothing is said of single records
        return result
    outcomes = [NOT_ATTEMPTED] * count
    for position, outcome in zip(positions, result.outcomes, strict=True):
        outcomes[position] = outcome
    result.outcomes = outcomes
    result.suspects = tuple(positions[suspect] for suspect in result.suspects)
    return result


def _sized(result: BatchResult, count: int) -> BatchResult:
    """Nothing was sent: no record was attempted."""
    result.outcomes = list(result.outcomes) if len(result.outcomes) == count else [NOT_ATTEMPTED] * count
    return result


def _unbuildable(error: UnbuildableError) -> BatchResult:
    row_error = RowError(ErrorType.INVALID_KEY, str(error), code="no_path", field=error.field)
    return BatchResult([RecordOutcome(RecordState.REJECTED, row_error)], error=row_error)
