"""The session: a pool of guarded connections, and one ``send`` whose result says whether the call can have been processed."""

from __future__ import annotations

import re
import socket
import ssl
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from http.client import HTTPException, HTTPResponse
from time import monotonic

import certifi

from syncs.errors import ConfigError
from syncs.http.guard import AddressGuard, Resolver, Target, parse_url, system_resolver
from syncs.http.redaction import Redactor
from syncs.http.wire import Phases, SendError, Wire, open_wire, timed

MAX_BODY_BYTES = 1_000_000
_IDLE_SECONDS = 30.0
_JOIN_BELOW = 65_536  # bytes; a small body rides in the same packet as the headers
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class Headers(Mapping[str, str]):
    """Answer headers; names in any case, repeated ones joined by a comma."""

    __slots__ = ("_values",)

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        values: dict[str, str] = {}
        for name, value in pairs:
            key = name.lower()
            values[key] = f"{values[key]}, {value}" if key in values else value
        self._values = values

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: Headers
    body: bytes
    milliseconds: float
    set_cookies: tuple[str, ...] = ()


class FailureKind(StrEnum):
    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    DEADLINE = "deadline"
    LOST = "lost"  # the connection broke before the whole answer was there
    TOO_LARGE = "too_large"
    MALFORMED = "malformed"  # what came back is not HTTP


@dataclass(frozen=True, slots=True)
class Failure:
    """No usable answer. ``was_sent`` False: certainly not processed. True: it may have been, nobody can say.

    ``message`` is redacted. ``status``: of an answer whose headers arrived.
    """

    kind: FailureKind
    was_sent: bool
    message: str
    milliseconds: float
    status: int | None = None


class _TooLargeError(Exception):
    pass


class _CutShortError(Exception):
    pass


class Session:
    """Thread-safe; one per connection. Never follows a redirect, reads no proxy or netrc settings, always verifies TLS.

    ``deadline_seconds`` bounds a whole call: resolve, connect, send, headers and body, however slowly the peer drips.
    ``allowed_private_networks``: see ``AddressGuard``. ``resolver`` and ``tls_context`` are for tests.
    """

    def __init__(
        self,
        *,
        allowed_private_networks: tuple[str, ...] = (),
        deadline_seconds: float = 30.0,
        connect_seconds: float = 10.0,
        max_body_bytes: int = MAX_BODY_BYTES,
        redactor: Redactor | None = None,
        user_agent: str = "Redrive/0.1",
        resolver: Resolver | None = None,
        tls_context: ssl.SSLContext | None = None,
    ) -> None:
        self.redactor = redactor or Redactor()
        self.deadline_seconds = deadline_seconds
        self._connect_seconds = connect_seconds
        self._max_body_bytes = max_body_bytes
        self._user_agent = user_agent
        self._guard = AddressGuard(allowed_private_networks)
        self._resolver: Resolver = resolver or system_resolver
        self._context = tls_context
        self._idle: dict[tuple[str, str, int], deque[Wire]] = {}
        self._is_closed = False

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        deadline_seconds: float | None = None,
        is_repeatable: bool = False,
        phases: Phases | None = None,
    ) -> Response | Failure:
        """One call. ``is_repeatable``: reading twice does no harm (GET and HEAD always), so a lost keep-alive is tried again.
        ``phases``: filled with the milliseconds of resolve, connect, tls (of a new connection) and answer, as far as it came.

        Raises ``AddressRefusedError`` and ``ConfigError`` (bad URL or header); all else the network does is a ``Failure``.
        """
        target = parse_url(url)
        data = self._request(method, target, headers or {}, body)
        started = monotonic()
        call = _Call(method, target, data, started, started + (deadline_seconds or self.deadline_seconds), phases)
        can_repeat = is_repeatable or method in ("GET", "HEAD")
        while True:
            wire = self._take(target)
            is_reused = wire is not None
            if wire is None:
                opened = self._open(call)
                if isinstance(opened, Failure):
                    return opened
                wire = opened
            with timed(phases, "answer"):
                result = self._exchange(wire, call)
            if not (is_reused and isinstance(result, Failure) and result.kind is FailureKind.LOST):
                return result
            # A kept connection died under us. Again only where nothing can have been processed, or repeating is harmless.
            if result.was_sent and not (can_repeat and result.status is None):
                return result

    def close(self) -> None:
        self._is_closed = True
        for wires in self._idle.values():
            while wires:
                wires.pop().close()

    def _take(self, target: Target) -> Wire | None:
        wires = self._idle.get(target.origin)
        while wires:
            try:
                wire = wires.pop()
            except IndexError:
                return None
            if monotonic() - wire.idle_since < _IDLE_SECONDS and not wire.is_stale():
                return wire
            wire.close()
        return None

    def _keep(self, target: Target, wire: Wire) -> None:
        if self._is_closed:
            wire.close()
            return
        wire.idle_since = monotonic()
        self._idle.setdefault(target.origin, deque()).append(wire)

    def _open(self, call: _Call) -> Wire | Failure:
        deadline = min(call.deadline, monotonic() + self._connect_seconds)
        context = self._context or default_tls_context()
        try:
            return open_wire(
                call.target,
                guard=self._guard,
                resolver=self._resolver,
                context=context,
                deadline=deadline,
                phases=call.phases,
            )
        except TimeoutError:
            return self._failure(call, FailureKind.DEADLINE, False, f"No connection to {call.target.host} in time.")
        except (socket.gaierror, socket.herror, UnicodeError):
            return self._failure(call, FailureKind.DNS, False, f"The host name {call.target.host} cannot be resolved.")
        except ssl.SSLError as error:
            reason = getattr(error, "verify_message", "") or error.reason or "handshake failed"
            return self._failure(call, FailureKind.TLS, False, f"No trusted TLS connection to {call.target.host}: {reason}.")
        except OSError as error:
            reason = error.strerror or type(error).__name__
            return self._failure(call, FailureKind.CONNECT, False, f"No connection to {call.target.host}: {reason}.")

    def _exchange(self, wire: Wire, call: _Call) -> Response | Failure:
        """Send and read on an open connection; keeps it for the next call only when all is in order."""
        is_clean = False
        status: int | None = None
        was_cut_off = False
        try:
            for piece in call.data:
                try:
                    wire.send(piece, call.deadline)
                except SendError as error:
                    if piece is call.data[0] and error.sent == 0:
                        return self._failure(
                            call, FailureKind.LOST, False, "The connection was closed before anything was sent."
                        )
                    was_cut_off = True  # a server may refuse a body half-way and say why
                    break
            raw = wire.answer(call.method)
            status = raw.status
            body = self._read(raw)
            is_clean = not (raw.will_close or was_cut_off or wire.has_surplus)
            cookies = tuple(raw.headers.get_all("Set-Cookie") or ())
            milliseconds = (monotonic() - call.started) * 1000
            return Response(status, Headers(raw.headers.items()), body, milliseconds, cookies)
        except TimeoutError:
            return self._failure(call, FailureKind.DEADLINE, True, "The answer was not complete before the deadline.", status)
        except _TooLargeError:
            limit = f"{self._max_body_bytes:,} bytes"
            return self._failure(call, FailureKind.TOO_LARGE, True, f"The answer is larger than {limit}.", status)
        except (_CutShortError, OSError):
            return self._failure(
                call, FailureKind.LOST, True, "The connection was closed before the answer was complete.", status
            )
        except HTTPException as error:
            lost = type(error).__name__ in ("IncompleteRead", "RemoteDisconnected")
            text = "The connection was closed before the answer was complete." if lost else "The answer is not valid HTTP."
            return self._failure(call, FailureKind.LOST if lost else FailureKind.MALFORMED, True, text, status)
        except (ValueError, zlib.error):
            return self._failure(call, FailureKind.MALFORMED, True, "The answer is not valid HTTP.", status)
        finally:
            if is_clean:
                self._keep(call.target, wire)
            else:
                wire.close()

    def _read(self, raw: HTTPResponse) -> bytes:
        cap = self._max_body_bytes
        expected = raw.length
        if expected is not None and expected > cap:
            raise _TooLargeError
        chunks, size = [], 0
        while chunk := raw.read(65_536 if expected is None else expected - size):
            chunks.append(chunk)
            size += len(chunk)
            if size > cap:
                raise _TooLargeError
            if size == expected:
                break
        if expected is not None and size < expected:
            raise _CutShortError
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        encoding = raw.headers.get("Content-Encoding", "identity").strip().lower()
        return body if encoding in ("", "identity") or not body else _decompressed(body, encoding, cap)

    def _request(self, method: str, target: Target, headers: Mapping[str, str], body: bytes | None) -> tuple[bytes, ...]:
        if method not in _METHODS:
            raise ConfigError(f"“{method[:20]}” is not an HTTP method.", field="method")
        lines = [f"{method} {target.path} HTTP/1.1", f"Host: {target.host_header}"]
        names = set()
        for name, value in headers.items():
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
                raise ConfigError(
                    f"The header “{name[:60]}” holds characters that no header may hold.", field=f"headers.{name[:60]}"
                )
            names.add(name.lower())
            lines.append(f"{name}: {value}")
        if names & {"host", "content-length", "transfer-encoding", "connection"}:
            raise ConfigError("Host, Content-Length, Transfer-Encoding and Connection are set by Redrive.", field="headers")
        if "user-agent" not in names:
            lines.append(f"User-Agent: {self._user_agent}")
        if "accept-encoding" not in names:
            lines.append("Accept-Encoding: identity")
        if body is not None or method not in ("GET", "HEAD"):
            lines.append(f"Content-Length: {len(body or b'')}")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        if not body:
            return (head,)
        return (head + body,) if len(body) < _JOIN_BELOW else (head, body)

    def _failure(self, call: _Call, kind: FailureKind, was_sent: bool, text: str, status: int | None = None) -> Failure:
        return Failure(kind, was_sent, self.redactor.message(text), (monotonic() - call.started) * 1000, status)


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    target: Target
    data: tuple[bytes, ...]
    started: float
    deadline: float
    phases: Phases | None = None


@lru_cache(maxsize=1)
def default_tls_context() -> ssl.SSLContext:
    """The system's authorities (``SSL_CERT_FILE`` adds a company's own) and the bundled ones."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def _decompressed(body: bytes, encoding: str, cap: int) -> bytes:
    """Sent unasked by some servers. Bounded, so that a small answer cannot unfold into gigabytes."""
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise ValueError(encoding)
    inflater = zlib.decompressobj(47 if encoding != "deflate" or body[:1] == b"\x78" else -15)
    data = inflater.decompress(body, cap + 1)
    if len(data) > cap:
        raise _TooLargeError
    if not inflater.eof:
        raise ValueError("cut off")
    return data
