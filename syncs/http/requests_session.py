"""``requests`` over the guarded session: a connector written with plain ``requests`` gets every guard without knowing of them.

For calls that are not many: logins, tokens, vendors' reads. A call costs several times the CPU of ``Session.send``; see
docs/decisions/0001-outgoing-http.md.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from http.client import HTTPMessage, responses
from types import SimpleNamespace
from typing import Any

import requests
from requests.adapters import BaseAdapter
from requests.cookies import extract_cookies_to_jar
from requests.structures import CaseInsensitiveDict
from requests.utils import get_encoding_from_headers

from syncs.errors import ConfigError
from syncs.http.session import Failure, FailureKind, Response, Session

_OURS = frozenset({"content-length", "connection", "transfer-encoding"})  # set anew by the session, from the body as it is
_ERRORS: dict[FailureKind, type[requests.RequestException]] = {
    FailureKind.DNS: requests.ConnectionError,
    FailureKind.CONNECT: requests.ConnectionError,
    FailureKind.TLS: requests.exceptions.SSLError,
    FailureKind.LOST: requests.ConnectionError,
    FailureKind.TOO_LARGE: requests.exceptions.ContentDecodingError,
    FailureKind.MALFORMED: requests.ConnectionError,
}


class CallFailedError(Exception):
    """The cause of every ``requests`` exception raised here. ``failure.was_sent``: the call may have been processed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class GuardedSession(requests.Session):
    """Follows no redirect, whatever is asked for: ``requests`` would carry headers with keys along to another host."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


class GuardedAdapter(BaseAdapter):
    """``requests``' transport that sends through a ``Session``. Closes it only where ``owns_session``."""

    def __init__(self, session: Session, *, owns_session: bool = False) -> None:
        super().__init__()
        self._session = session
        self._owns_session = owns_session

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """``timeout`` bounds the whole call (a pair: its sum), within the session's deadline; answers are read whole, up to the
        session's cap, also with ``stream``.

        Raises ``AddressRefusedError`` and ``ConfigError`` like ``Session.send``, ``requests`` exceptions for what the network
        does (their cause is a ``CallFailedError``).
        """
        _refuse_weaker(verify, cert, proxies)
        result = self._session.send(
            request.method or "GET",
            request.url or "",
            headers={name: _text(value) for name, value in request.headers.items() if name.lower() not in _OURS},
            body=_whole(request.body),
            deadline_seconds=self._deadline(timeout),
        )
        if isinstance(result, Failure):
            raise _error(result, request) from CallFailedError(result)
        return self._answer(request, result)

    def close(self) -> None:
        if self._owns_session:
            self._session.close()

    def _deadline(self, timeout: Any) -> float:
        parts = timeout if isinstance(timeout, tuple) else (timeout,)
        named = [float(part) for part in parts if part is not None]
        return min(sum(named), self._session.deadline_seconds) if named else self._session.deadline_seconds

    def _answer(self, request: requests.PreparedRequest, result: Response) -> requests.Response:
        answer = requests.Response()
        answer.status_code = result.status
        answer.reason = responses.get(result.status, "")
        answer.headers = CaseInsensitiveDict(result.headers)
        answer.encoding = get_encoding_from_headers(answer.headers)
        answer.url = request.url or ""
        answer.request = request
        answer.raw = _Raw(result)
        answer._content = result.body  # read already: nothing is left on the wire
        answer._content_consumed = True  # type: ignore[attr-defined]
        answer.connection = self  # type: ignore[assignment]  # any adapter will do; digest authentication sends by it
        extract_cookies_to_jar(answer.cookies, request, answer.raw)  # type: ignore[no-untyped-call]
        return answer


def guarded_requests_session(session: Session | None = None, **settings: Any) -> requests.Session:
    """A ``requests.Session`` whose every call goes through ``session`` or, without one, a new ``Session(**settings)``.

    Address guard, pinned addresses, total deadline, answer cap, TLS always verified, no proxy or netrc of the environment, no
    redirects. Closing it closes a session it made itself, never one that was given.
    """
    adapter = GuardedAdapter(session or Session(**settings), owns_session=session is None)
    made = GuardedSession()
    made.trust_env = False
    made.headers = CaseInsensitiveDict({"Accept": "*/*"})  # user agent and encoding are the session's
    made.adapters.clear()
    made.mount("https://", adapter)
    made.mount("http://", adapter)  # the guard allows it in allowed private networks only
    return made


def set_cookies(answer: requests.Response) -> tuple[str, ...]:
    """Every ``Set-Cookie`` line as it came, those included that the rules for cookies keep out of ``answer.cookies``."""
    return answer.raw.set_cookies if isinstance(answer.raw, _Raw) else ()


class _Raw(io.BytesIO):
    """What ``requests`` looks for behind an answer: the body, and the header lines that set cookies."""

    def __init__(self, result: Response) -> None:
        super().__init__(result.body)
        self.set_cookies = result.set_cookies
        message = HTTPMessage()
        for line in result.set_cookies:
            message["Set-Cookie"] = line
        self._original_response = SimpleNamespace(msg=message)


def _refuse_weaker(verify: bool | str, cert: Any, proxies: Mapping[str, str] | None) -> None:
    if verify is not True:
        raise ConfigError(
            "TLS is always verified. Name a company's own authority with the environment variable SSL_CERT_FILE.",
            field="verify",
        )
    if cert:
        raise ConfigError("Client certificates are not supported.", field="cert")
    if proxies:
        raise ConfigError("Calls go to checked addresses, never through a proxy.", field="proxies")


def _error(failure: Failure, request: requests.PreparedRequest) -> requests.RequestException:
    if failure.kind is FailureKind.DEADLINE:
        kind: type[requests.RequestException] = requests.ReadTimeout if failure.was_sent else requests.ConnectTimeout
    else:
        kind = _ERRORS[failure.kind]
    return kind(failure.message, request=request)


def _whole(body: bytes | str | Iterable[bytes] | None) -> bytes | None:
    """The session sends bodies whole, so that their length is known and a lost connection can be told from a short body."""
    if body is None or isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return body.encode()
    read = getattr(body, "read", None)
    return _whole(read()) if read is not None else b"".join(body)


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
