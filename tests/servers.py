"""A real HTTP server on loopback for tests: scripted answers, fault modes, and a record of every request.

    with Server(lambda request: Answer.json({"ok": True})) as server:
        requests.get(server.url + "/x")
        assert server.requests[0].path == "/x"

Answers come from a script (``server.script(a, b)``, used up in order) and then from the handler given to the constructor.
Threads wait only on ``server.closing``, so that leaving the ``with`` block never hangs on a drip or a delay.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import json
import socket
import socketserver
import ssl
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    connection: int  # which connection it came over, counted from 1

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    """``fault``: close (after accepting, no byte back), cut (half the body), drip (a byte each ``interval`` seconds, body),
    drip_headers, garbage, close_after (right answer, then the kept connection is closed without saying so)."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    fault: str = ""
    delay: float = 0.0
    interval: float = 1.0
    release: threading.Event | None = None  # answer only once it is set

    @classmethod
    def json(cls, data: Any, status: int = 200, **kwargs: Any) -> Answer:
        headers = {"Content-Type": "application/json", **kwargs.pop("headers", {})}
        return cls(status=status, headers=headers, body=json.dumps(data).encode(), **kwargs)


Handler = Callable[[Request], Answer]


class _TCPServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, outer: Server) -> None:
        self.outer = outer
        super().__init__(("127.0.0.1", 0), _Connection)

    def get_request(self) -> tuple[Any, Any]:
        sock, address = super().get_request()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Broken pipes are what fault tests make."""


class _Connection(socketserver.StreamRequestHandler):
    server: _TCPServer

    def setup(self) -> None:
        outer = self.server.outer
        if outer.tls is not None:
            self.request.settimeout(10)
            self.request = outer.tls.wrap_socket(self.request, server_side=True)
            self.request.settimeout(None)
        self.number = outer.connected(self.request)
        super().setup()

    def handle(self) -> None:
        while (request := self._read()) is not None:
            answer = self.server.outer.answer(request)
            if not self._write(request, answer):
                return

    def _read(self) -> Request | None:
        line = self.rfile.readline(65_536).decode("latin-1").split()
        if len(line) < 3:
            return None
        headers = {}
        while text := self.rfile.readline(65_536).decode("latin-1").rstrip("\r\n"):
            name, _, value = text.partition(":")
            headers[name.strip().lower()] = value.strip()
        body = self.rfile.read(int(headers.get("content-length", 0)))
        parts = urlsplit(line[1])
        return Request(line[0], parts.path, parse_qs(parts.query), headers, body, self.number)

    def _write(self, request: Request, answer: Answer) -> bool:
        closing = self.server.outer.closing
        if answer.release is not None:
            while not (answer.release.wait(0.05) or closing.is_set()):
                pass
        if answer.delay:
            closing.wait(answer.delay)
        if answer.fault == "close":
            return False
        if answer.fault == "garbage":
            self.wfile.write(b"\x00\xffSMTP 220 hello\r\n\r\n")
            return False
        body = b"" if request.method == "HEAD" else answer.body
        headers = {"Content-Length": str(len(body)), **answer.headers}
        head = f"HTTP/1.1 {answer.status} X\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n"
        if answer.fault == "drip_headers":
            self._drip(head.encode("latin-1"), answer.interval)
        elif answer.fault == "drip":
            self.wfile.write(head.encode("latin-1"))
            self._drip(body, answer.interval)
        elif answer.fault == "cut":
            self.wfile.write(head.encode("latin-1") + body[: len(body) // 2])
            return False
        else:
            self.wfile.write(head.encode("latin-1") + body)
        return answer.fault != "close_after" and answer.headers.get("Connection") != "close"

    def _drip(self, data: bytes, interval: float) -> None:
        for index in range(len(data)):
            self.wfile.write(data[index : index + 1])
            if self.server.outer.closing.wait(interval):
                return


class Server:
    """``url`` is the address. ``requests`` holds what came in, in order; ``connections`` how many connections were made."""

    def __init__(
        self, handler: Handler | None = None, *, tls: ssl.SSLContext | None = None, hostname: str = "127.0.0.1"
    ) -> None:
        self.handler = handler or (lambda request: Answer.json({}))
        self.tls = tls
        self.requests: list[Request] = []
        self.connections = 0
        self.closing = threading.Event()
        self._script: deque[Answer] = deque()
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._server = _TCPServer(self)
        self.port: int = self._server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://{hostname}:{self.port}"

    def script(self, *answers: Answer) -> None:
        self._script.extend(answers)

    def clear(self) -> None:
        """Forget what was scripted and not used."""
        self._script.clear()

    def connected(self, sock: socket.socket) -> int:
        with self._lock:
            self.connections += 1
            self._sockets.append(sock)
            return self.connections

    def answer(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
            if self._script:
                return self._script.popleft()
        return self.handler(request)

    def __enter__(self) -> Server:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *args: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


def tls_pair(*names: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """(server context, client context that trusts it) for DNS names or addresses, made afresh."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Redrive test")])
    now = dt.datetime.now(dt.UTC)
    alternatives = [_alternative(text) for text in names]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pair.pem"
        path.write_bytes(pem + secret)
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(path)
    return server, ssl.create_default_context(cadata=pem.decode())


def _alternative(text: str) -> Any:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)
