"""One call with our credentials, and what is kept of it as evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from syncs.destinations.http_api.answers import Reply
from syncs.destinations.http_api.auth import Authenticator, Proof
from syncs.destinations.http_api.config import HttpConfig
from syncs.errors import CredentialsError, ErrorType, TransientError
from syncs.http import Failure, FailureKind, Response, Session
from syncs.records import NOT_ATTEMPTED, BatchResult, Exchange, RecordOutcome, RecordState, RowError, Signal

if TYPE_CHECKING:
    from syncs.destinations.http_api.watching import Tap

_REQUEST_IDS = ("x-request-id", "x-correlation-id", "x-hubspot-correlation-id", "request-id", "x-amzn-requestid", "cf-ray")
_OK_EXCERPT = 300  # characters kept of an answer that has nothing to complain about


@dataclass(frozen=True, slots=True)
class Called:
    """``answer``: a result where our credentials could not even be had. ``proof``: what the call carried."""

    answer: Response | Failure | BatchResult
    method: str
    path: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    proof: Proof | None


class Caller:
    """Thread-safe."""

    def __init__(self, config: HttpConfig, session: Session, auth: Authenticator) -> None:
        self._config = config
        self._session = session
        self._auth = auth
        self.tap: Tap | None = None  # somebody watches
        self._last_line = ("", "", "")  # the calls of a batch operation all go to one address

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Called:
        try:
            proof = self._auth.proof()
        except (CredentialsError, TransientError) as error:
            return Called(self._no_credentials(error), method, path, path, headers, body, None)
        url = self._config.base_url + (path.rstrip("/") + proof.path if proof.path else path)
        if proof.query:
            url += ("&" if "?" in path else "?") + proof.query
        sent = {**headers, **proof.headers}
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        answer = (self.tap or self._session).send(method, url, headers=sent, body=body)
        return Called(answer, method, path, url, headers, body, proof)

    def send_renewed(self, called: Called) -> Called | None:
        """The same call once more with renewed credentials; None where there are no others."""
        assert called.proof is not None
        again = self._again(called, called.proof)
        if again is not None and again.proof is not None and _is_unauthorized(again) and not self._auth.is_lost(again.proof):
            return self._again(again, again.proof)  # another worker renewed in between, which ended the one we had
        return again

    def _again(self, called: Called, proof: Proof) -> Called | None:
        try:
            if not self._auth.renew(proof):
                return None
        except (CredentialsError, TransientError) as error:
            answer = self._no_credentials(error)
            return Called(answer, called.method, called.path, called.url, called.headers, called.body, None)
        return self.send(called.method, called.path, called.headers, called.body)

    def _no_credentials(self, error: CredentialsError | TransientError) -> BatchResult:
        row_error = RowError(error.error_type, self._session.redactor.message(error.message), code=error.code)
        if isinstance(error, CredentialsError):
            return BatchResult([], Signal.AUTH, row_error)
        return BatchResult([], Signal.UNAVAILABLE, row_error, retry_after=error.retry_after)

    def failed(self, called: Called, failure: Failure, count: int) -> BatchResult:
        """No usable answer. Whether the call can have been processed decides between a plain retry and Unknown."""
        request = self._request_line(called)
        size = len(called.body or b"")
        exchange = Exchange(failure.status, "", failure.milliseconds, failure.message, request, size)
        is_late = failure.kind is FailureKind.DEADLINE
        if failure.was_sent:
            text = f"{failure.message} The record may have been written."
            error = RowError(
                ErrorType.TIMEOUT if is_late else ErrorType.UNKNOWN_OUTCOME, text, failure.kind, "", failure.status
            )
            unknown = RecordOutcome(RecordState.UNKNOWN, error)
            return BatchResult([unknown] * count, Signal.UNKNOWN, error, exchange=exchange)
        error_type = ErrorType.TIMEOUT if is_late else ErrorType.DESTINATION_UNAVAILABLE
        error = RowError(error_type, failure.message, code=failure.kind)
        return BatchResult([NOT_ATTEMPTED] * count, Signal.UNAVAILABLE, error, exchange=exchange)

    def _request_line(self, called: Called) -> str:
        method, url, line = self._last_line
        if (method, url) != (called.method, called.url):
            line = self._session.redactor.request_line(called.method, called.url)
            self._last_line = (called.method, called.url, line)
        return line

    def exchange(self, called: Called, reply: Reply, result: BatchResult) -> Exchange:
        response, redactor = reply.response, self._session.redactor
        names = (self._config.request_id_header,) if self._config.request_id_header else _REQUEST_IDS
        request_id = next((response.headers[name] for name in names if name in response.headers), "")
        is_fine = result.signal is Signal.OK and 200 <= response.status < 300
        return Exchange(
            response.status,
            redactor.identifier(request_id),
            response.milliseconds,
            redactor.excerpt(response.body, limit=_OK_EXCERPT) if is_fine else redactor.excerpt(response.body),
            self._request_line(called),
            len(called.body or b""),
        )


def _is_unauthorized(called: Called) -> bool:
    return isinstance(called.answer, Response) and called.answer.status == 401
