"""Batches that the destination works on by itself: begun by one call or several, asked after, and read once they are done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import quote

from syncs.destinations.http_api import paths, tables
from syncs.destinations.http_api.answers import Interpreter, Reply, read_reply
from syncs.destinations.http_api.calling import Called, Caller
from syncs.destinations.http_api.config import (
    BodyKind,
    HttpConfig,
    Locator,
    LocatorKind,
    OperationConfig,
    Success,
)
from syncs.destinations.http_api.encoding import Encoder
from syncs.destinations.http_api.job_config import FailedMeans, JobRead, JobStep, ListKind
from syncs.destinations.http_api.locating import Finder
from syncs.destinations.http_api.placeholders import PLACEHOLDER
from syncs.errors import ErrorType
from syncs.http import Failure, Redactor, Response, parse_retry_after
from syncs.records import NOT_ATTEMPTED, BatchResult, Job, Record, RecordOutcome, RecordState, RowError, Signal

Make = Callable[[OperationConfig], Interpreter]
_MOST_PAGES = 200
_OF_THE_CALL = (Signal.RATE_LIMITED, Signal.UNAVAILABLE, Signal.AUTH, Signal.CONFIG)


class FirstAnswers(Interpreter):
    """Reads the answer to the call that begins a job. Where it is a yes, it names the job; nothing is known of any record."""

    def accepted(self, reply: Reply, records: Sequence[Record]) -> BatchResult:
        config = self._config.job
        assert config is not None
        if config.status and reply.response.status not in config.status:
            return super().accepted(reply, records)
        values = {name: taken(reply.response, reply.data, where) for name, where in config.take.items()}
        identity = taken(reply.response, reply.data, config.id)
        lacking = [name for name, value in {"id": identity, **values}.items() if not value]
        if lacking:
            where = config.id if lacking[0] == "id" else config.take[lacking[0]]
            text = f"The destination took the batch in as a job, but its answer has nothing at “{where}” to ask after it by."
            return self._unknown(reply, records, text, "no_job")
        job = Job(identity, self._now().timestamp(), values, config.poll.at_most_seconds)
        wait = _named_wait(reply.response, self._now())
        return BatchResult([], Signal.CONFIRMING, retry_after=config.poll.every_seconds if wait is None else wait, job=job)


class _Stop(Exception):
    """A call that ends the look or the beginning early, with what it says of the whole batch."""

    def __init__(self, result: BatchResult) -> None:
        super().__init__()
        self.result = result


class JobCalls:
    """For one operation. ``make`` gives an interpreter for changed settings of it. Thread-safe."""

    def __init__(
        self,
        config: HttpConfig,
        settings: OperationConfig,
        *,
        make: Make,
        caller: Caller,
        redactor: Redactor,
        options: Mapping[str, Any],
        now: Callable[[], datetime],
    ) -> None:
        assert settings.job is not None
        self._http, self._settings, self._job = config, settings, settings.job
        self._caller, self._redactor, self._now = caller, redactor, now
        self._ends = make(replace(settings, success=Success(), accepted_only=None, job=None))
        self._failures = make(
            replace(settings, success=Success(), accepted_only=None, job=None, error=self._job.error, is_atomic=True)
        )
        self._plain = Encoder(settings, options)  # fills in options
        self._steps = [(step, Encoder(replace(settings, body=step.body, path=step.path), options)) for step in self._job.steps]

    def watch(self, seen: list[tuple[OperationConfig, Reply, Sequence[Record]]] | None) -> None:
        """As ``Interpreter.seen``."""
        self._ends.seen = seen

    # -- beginning

    def carry_on(self, begun: BatchResult, records: Sequence[Record]) -> BatchResult:
        """The steps after the first call. Until the last one nothing is written, whatever happens to the others."""
        try:
            return self._through_steps(begun, records)
        except _Stop as stop:
            return stop.result

    def _through_steps(self, begun: BatchResult, records: Sequence[Record]) -> BatchResult:
        job = begun.job
        assert job is not None
        for number, (step, encoder) in enumerate(self._steps, 1):
            called = self._send(step.method, self._path(step.path, job), encoder.body(records), self._step_headers(step))
            answer = called.answer
            if isinstance(answer, Response) and 200 <= answer.status < 300:
                begun.exchange = self._caller.exchange(called, read_reply(answer), begun)
                continue
            return self._not_begun(called, records, is_last=number == len(self._steps))
        return begun

    def _not_begun(self, called: Called, records: Sequence[Record], *, is_last: bool) -> BatchResult:
        answer = called.answer
        if isinstance(answer, BatchResult):
            return replace(answer, outcomes=[NOT_ATTEMPTED] * len(records))
        if isinstance(answer, Failure):
            return self._caller.failed(called, answer if is_last else replace(answer, was_sent=False), len(records))
        reply = read_reply(answer)
        result = self._failures.refused(reply, records)
        result.exchange = self._caller.exchange(called, reply, result)
        return result

    def _step_headers(self, step: JobStep) -> dict[str, str]:
        headers = {"Accept": "application/json", **self._http.headers, **step.headers}
        if step.body.kind is BodyKind.CSV:
            headers.setdefault("Content-Type", tables.CONTENT_TYPE)
        return headers

    # -- asking

    def confirm(self, records: Sequence[Record], job: Job) -> BatchResult:
        config = self._job
        try:
            called = self._send(config.poll.method, self._path(config.poll.path, job), None, self._read_headers())
            reply = self._read(called, records, job)
            result = self._judged(reply, records, job)
        except _Stop as stop:
            return stop.result
        if not result.exchange.request:
            result.exchange = self._caller.exchange(called, reply, result)
        return result

    def _judged(self, reply: Reply, records: Sequence[Record], job: Job) -> BatchResult:
        config = self._job
        state = "" if (found := paths.first(reply.data, config.state)) is paths.MISSING else paths.as_text(found)
        if state in config.done:
            document = self._document(reply, records, job)
            return self._ended(Reply(reply.response, document), records)
        if state in config.failed:
            return self._failed(reply, records, state)
        if state and (state in config.working or not config.working):
            wait = _named_wait(reply.response, self._now())
            return BatchResult([], Signal.CONFIRMING, retry_after=config.poll.every_seconds if wait is None else wait, job=job)
        what = f"the state “{state}”, which the connection does not name" if state else f"no state at “{config.state}”"
        text = f"The answer about the job {job.id} has {what}. Correct job.state, job.working, job.done or job.failed."
        return BatchResult([], Signal.CONFIG, self._error(ErrorType.UNKNOWN, text, "job_state", reply.response))

    def _ended(self, reply: Reply, records: Sequence[Record]) -> BatchResult:
        """Each record by the locator, which looks at the last answer and the reads beside it."""
        if self._ends.seen is not None:
            self._ends.seen.append((self._settings, reply, records))
        left = self._job.not_attempted
        if left is None:
            return self._ends.accepted(reply, records)
        locator = Locator(LocatorKind.KEY, errors=left.results, key=(left.key,))
        untried = Finder(locator, self._settings.key_field, records).find(reply.data).failed
        tried = [position for position in range(len(records)) if position not in untried]
        if not tried:
            return BatchResult([NOT_ATTEMPTED] * len(records))
        result = self._ends.accepted(reply, [records[position] for position in tried])
        outcomes = [NOT_ATTEMPTED] * len(records)
        for position, outcome in zip(tried, result.outcomes, strict=True):
            outcomes[position] = outcome
        result.outcomes, result.signal = outcomes, Signal.OK
        return result

    def _failed(self, reply: Reply, records: Sequence[Record], state: str) -> BatchResult:
        if self._job.failed_means is FailedMeans.REFUSED:
            return self._failures.refused(reply, records)
        told = next((found for path in self._job.error.message if (found := paths.text(reply.data, path))), "")
        text = f"The job ended as “{state}”: {told or 'no reason is given'}. Nobody can say which records it wrote."
        return self._unknown(records, self._error(ErrorType.UNKNOWN_OUTCOME, text, "job_failed", reply.response))

    # -- reading

    def _document(self, reply: Reply, records: Sequence[Record], job: Job) -> Any:
        """The last answer with the lists of the further reads beside its own names."""
        if not self._job.reads or not isinstance(reply.data, dict):
            return reply.data
        found = {}
        for read in self._job.reads:
            is_needless = read.unless_zero and paths.first(reply.data, read.unless_zero) == 0
            found[read.name] = [] if is_needless else self._list(read, records, job)
        return {**reply.data, **found}

    def _list(self, read: JobRead, records: Sequence[Record], job: Job) -> list[Any]:
        items: list[Any] = []
        path = self._path(read.path, job)
        for _ in range(_MOST_PAGES):
            called = self._send("GET", path, None, self._read_headers(read))
            reply = self._read(called, records, job, kind=read.answers)
            page = paths.first(reply.data, read.items)
            if not isinstance(page, list):
                text = f"What the job {job.id} wrote cannot be read: {read.path} holds no list at “{read.items}”."
                raise _Stop(self._refused(called, reply, text))
            items += page
            onward = paths.text(reply.data, read.next) if read.next else ""
            if not onward:
                return items
            path = self._below(onward)
        raise _Stop(self._refused(called, reply, f"The list at {read.path} goes on after {_MOST_PAGES} pages."))

    def _refused(self, called: Called, reply: Reply, text: str) -> BatchResult:
        result = BatchResult([], Signal.CONFIG, self._error(ErrorType.UNKNOWN, text, "job_list", reply.response))
        result.exchange = self._caller.exchange(called, reply, result)
        return result

    def _read(self, called: Called, records: Sequence[Record], job: Job, *, kind: ListKind = ListKind.JSON) -> Reply:
        """A readable yes. Raises ``_Stop`` with what anything else says of the job: it is gone, or the question failed."""
        answer = called.answer
        if isinstance(answer, BatchResult):
            raise _Stop(replace(answer, outcomes=[]))
        if isinstance(answer, Failure):
            raise _Stop(replace(self._caller.failed(called, replace(answer, was_sent=False), 0), outcomes=[]))
        if kind is ListKind.CSV and 200 <= answer.status < 300:
            rows = tables.read(answer.body)
            reply = read_reply(answer) if rows is None else Reply(answer, rows)
            is_fine = rows is not None
        else:
            reply = read_reply(answer)
            is_fine = 200 <= answer.status < 300 and reply.is_readable and reply.data is not None
        if is_fine:
            return reply
        result = self._no_answer(reply, records, job)
        result.exchange = self._caller.exchange(called, reply, result)
        raise _Stop(result)

    def _no_answer(self, reply: Reply, records: Sequence[Record], job: Job) -> BatchResult:
        status = reply.response.status
        if status in self._job.gone_status:
            text = f"The destination does not know the job {job.id} any more ({status}), so nobody can say what it wrote."
            return self._unknown(records, self._error(ErrorType.UNKNOWN_OUTCOME, text, "job_gone", reply.response))
        if 200 <= status < 300:
            text = f"The answer about the job {job.id} cannot be read."
            error = self._error(ErrorType.DESTINATION_UNAVAILABLE, text, "unreadable", reply.response)
            return BatchResult([], Signal.UNAVAILABLE, error)
        result = self._failures.refused(reply, records)
        error_of = result.error or next((outcome.error for outcome in result.outcomes if outcome.error), None)
        signal = result.signal if result.signal in _OF_THE_CALL else Signal.CONFIG
        return BatchResult([], signal, error_of, retry_after=result.retry_after)

    # -- small change

    def _send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Called:
        called = self._caller.send(method, path, headers, body)
        if isinstance(called.answer, Response) and called.answer.status == 401:
            return self._caller.send_renewed(called) or called
        return called

    def _read_headers(self, read: JobRead | None = None) -> dict[str, str]:
        is_table = read is not None and read.answers is ListKind.CSV
        return {"Accept": tables.CONTENT_TYPE if is_table else "application/json", **self._http.headers}

    def _path(self, template: str, job: Job) -> str:
        """``{job.id}`` and what else was taken; a template that is one such value alone is an address the destination gave."""
        values = {"id": job.id, **{name: str(value) for name, value in job.data.items()}}
        alone = PLACEHOLDER.fullmatch(template)
        if alone and alone[1].startswith("job."):
            return self._below(values.get(alone[1].removeprefix("job."), ""))

        def place(match: Any) -> str:
            name = match[1]
            return quote(values.get(name[4:], ""), safe="") if name.startswith("job.") else str(match[0])

        return self._plain.filled(PLACEHOLDER.sub(place, template), None, {}, is_path=True)

    def _below(self, address: str) -> str:
        """An address of the destination's, as a path below base_url: our credentials go nowhere else."""
        base = self._http.base_url
        path = address.removeprefix(base) if address.startswith(f"{base}/") else address
        if path.startswith("/") and not path.startswith("//"):
            return path
        text = f"The destination sends us to an address outside base_url for its job: {address[:200]}. That is not followed."
        error = RowError(ErrorType.UNKNOWN, self._redactor.message(text), code="job_address")
        raise _Stop(BatchResult([], Signal.CONFIG, error))

    def _unknown(self, records: Sequence[Record], error: RowError) -> BatchResult:
        return BatchResult([RecordOutcome(RecordState.UNKNOWN, error)] * len(records), Signal.UNKNOWN, error)

    def _error(self, kind: ErrorType, text: str, code: str, response: Response) -> RowError:
        excerpt = self._redactor.excerpt(response.body)
        return RowError(kind, self._redactor.message(text), code=code, http_status=response.status, excerpt=excerpt)


def taken(response: Response, data: Any, where: str) -> str:
    """The text at a path of an answer, or of its header (``header:NAME``); empty where there is none."""
    if where.startswith("header:"):
        return response.headers.get(where.removeprefix("header:"), "")
    value = paths.first(data, where)
    return "" if value is paths.MISSING else paths.as_text(value)


def _named_wait(response: Response, now: datetime) -> float | None:
    return parse_retry_after(response.headers.get("Retry-After"), now=now)
