"""One connection: opened to a checked address, bounded by a deadline on every system call.

``requests`` and urllib3 bound only the pause between two bytes, so a peer that drips can hold a call for hours; and they cost
several times the CPU per call. Here each ``recv`` and ``send`` may wait no longer than what is left of the whole call.
"""

from __future__ import annotations

import contextlib
import io
import select
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from http.client import HTTPResponse
from time import monotonic
from typing import Any

from syncs.http.guard import AddressGuard, Resolver, Target


class DeadlineError(TimeoutError):
    """The call's time is up."""


class SendError(Exception):
    """``sent``: bytes the operating system had taken before the connection broke; 0 means nothing can have been processed."""

    def __init__(self, sent: int) -> None:
        super().__init__(sent)
        self.sent = sent


def left(deadline: float) -> float:
    """Seconds until the deadline (monotonic). Raises ``DeadlineError`` when there are none."""
    remaining = deadline - monotonic()
    if remaining <= 0:
        raise DeadlineError
    return remaining


class _Raw(io.RawIOBase):
    """Reads the socket, never past the deadline."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline
        self.is_paused = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self.is_paused:
            return None
        self._sock.settimeout(left(self._deadline))
        return self._sock.recv_into(buffer)


class _Stream(io.BufferedReader):
    """Remembers whether the peer sent more than its answer: such a connection must not be used again."""

    has_surplus = False

    def close(self) -> None:
        if not self.closed:
            raw = self.raw
            assert isinstance(raw, _Raw)
            raw.is_paused = True
            self.has_surplus = bool(self.peek(1))
        super().close()


class Wire:
    """An open connection. Used by one thread at a time; ``idle_since`` is monotonic, set while it lies in the pool."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.idle_since = 0.0
        self._deadline = 0.0
        self._stream: _Stream | None = None

    def is_stale(self) -> bool:
        """The peer closed it, or sent something nobody asked for."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return bool(poll.poll(0))

    def send(self, data: bytes, deadline: float) -> None:
        """Raises ``SendError`` when the connection breaks, ``DeadlineError`` when time is up."""
        self._deadline = deadline
        sent, view = 0, memoryview(data)
        try:
            while sent < len(data):
                self.sock.settimeout(left(deadline))
                sent += self.sock.send(view[sent : sent + 262_144])
        except TimeoutError:
            raise DeadlineError from None
        except OSError as error:
            raise SendError(sent) from error

    def makefile(self, _mode: str) -> io.BufferedReader:
        self._stream = _Stream(_Raw(self.sock, self._deadline), 65_536)
        return self._stream

    def answer(self, method: str) -> HTTPResponse:
        """Reads status line and headers. Raises ``OSError`` or ``http.client.HTTPException``."""
        response = HTTPResponse(self, method=method)  # type: ignore[arg-type]  # it needs makefile() only
        response.begin()
        return response

    @property
    def has_surplus(self) -> bool:
        return self._stream is not None and self._stream.has_surplus

    def close(self) -> None:
        self.sock.close()

    __del__ = close  # a session that is dropped without close() leaves no socket open


Phases = dict[str, float]  # name -> milliseconds, in the order they were gone through


@contextlib.contextmanager
def timed(phases: Phases | None, name: str) -> Iterator[None]:
    """Adds what the block took, also where it fails."""
    started = monotonic()
    try:
        yield
    finally:
        if phases is not None:
            phases[name] = phases.get(name, 0.0) + (monotonic() - started) * 1000


def open_wire(
    target: Target,
    *,
    guard: AddressGuard,
    resolver: Resolver,
    context: ssl.SSLContext,
    deadline: float,
    phases: Phases | None = None,
) -> Wire:
    """Resolve once, check every address, connect to a checked one (name kept for TLS and ``Host``).

    Raises ``AddressRefusedError``, ``OSError`` (``socket.gaierror``, ``ssl.SSLError``, refused, ...) or ``DeadlineError``.
    """
    with timed(phases, "resolve"):
        addresses = _resolve(resolver, target, deadline)
    if not addresses:
        raise socket.gaierror(socket.EAI_NONAME, "no address")
    guard.check(target, addresses)
    with timed(phases, "connect"):
        sock = _connect(addresses, target.port, deadline)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if target.scheme == "https":
            with timed(phases, "tls"):
                sock.settimeout(left(deadline))
                sock = context.wrap_socket(sock, server_hostname=target.host)
    except BaseException:
        sock.close()
        raise
    return Wire(sock)


def _connect(addresses: Sequence[str], port: int, deadline: float) -> socket.socket:
    problem: OSError | None = None
    for number, address in enumerate(addresses):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(left(deadline) / (len(addresses) - number))
            sock.connect((address, port))
        except OSError as error:
            sock.close()
            problem = error
        else:
            return sock
    assert problem is not None
    raise problem


def _resolve(resolver: Resolver, target: Target, deadline: float) -> list[str]:
    """The system's resolver knows no deadline, so it runs in a thread that may be left behind."""
    result: list[list[str] | Exception] = []

    def work() -> None:
        try:
            result.append(list(resolver(target.host, target.port)))
        except Exception as error:  # noqa: BLE001 - handed to the caller's thread
            result.append(error)

    thread = threading.Thread(target=work, name="resolve", daemon=True)
    thread.start()
    thread.join(left(deadline))
    if not result:
        raise DeadlineError
    if isinstance(result[0], Exception):
        raise result[0]
    return result[0]
