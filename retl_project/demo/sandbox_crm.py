"""A practice destination: a CRM's HTTP API with the manners of a real one, in a process of its own, on loopback only.

    python -m retl_project.demo.sandbox_crm --port 8055 --state var/demo/crm.sqlite3

Every call but ``/health`` and the pages under ``/admin`` needs the bearer token. A batch answer accounts for each record.
"""

from __future__ import annotations

import argparse
import hmac
import math
import os
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

from retl_project.demo import crm_pages
from retl_project.demo.crm_fields import FieldError
from retl_project.demo.crm_schema import describe
from retl_project.demo.crm_store import Store, dumps, loads

DEFAULT_TOKEN = "sandbox-token"  # noqa: S105 - opens a practice server on loopback, nothing else
MAX_RECORDS = 100
MAX_BODY_BYTES = 2_000_000
_BATCH_PATH = re.compile(r"/api/objects/([a-z_]+)/batch/(upsert|insert|update|delete)")
_RECORD_PATH = re.compile(r"/api/objects/([a-z_]+)/records/([^/]+)")
_OBJECT_PATH = re.compile(r"/api/objects/([a-z_]+)")
_LOCAL_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?")


class ApiError(Exception):
    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = dumps({"error": {"code": code, "message": message}})
        self.headers = headers or {}


@dataclass(slots=True)
class Budget:
    """So many calls per window of fixed length. ``take`` returns 0, or the seconds until the next window opens."""

    calls: int
    seconds: float
    clock: Callable[[], float] = time.monotonic
    _opened: float = -math.inf
    _used: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> float:
        if not self.calls:
            return 0.0
        with self._lock:
            now = self.clock()
            if now - self._opened >= self.seconds:
                self._opened, self._used = now, 0
            if self._used >= self.calls:
                return self._opened + self.seconds - now
            self._used += 1
            return 0.0


class SandboxCrm(ThreadingHTTPServer):
    """``unavailable_every``: each n-th write is answered 503 and does nothing; 0 switches it off."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, store: Store, *, state: str, token: str, budget: Budget, unavailable_every: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.store = store
        self.state = state
        self.token = token
        self.budget = budget
        self.unavailable_every = unavailable_every
        self.calls: Counter[str] = Counter()
        self.requests = 0
        self.writes = 0
        self.counting = threading.Lock()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news; anything else is said in one line."""
        error = sys.exc_info()[1]
        if not isinstance(error, (ConnectionError, TimeoutError)):
            sys.stderr.write(f"sandbox CRM: {type(error).__name__}: {error}\n")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "SandboxCRM/1"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 120
    server: SandboxCrm
    security: ClassVar = {
        "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: the receipts are the log."""

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _answer(self, work: Callable[[], None]) -> None:
        with self.server.counting:
            self.server.requests += 1
            self.number = self.server.requests
        self.body_read = False
        try:
            if not _LOCAL_HOST.fullmatch(self.headers.get("Host", "")):
                raise ApiError(421, "WRONG_HOST", "This server answers on loopback addresses only.")
            work()
        except ApiError as error:
            self._send(error.status, error.body, headers=error.headers)

    def _send(self, status: int, body: bytes, *, kind: str = "application/json", headers: dict[str, str] | None = None) -> None:
        with self.server.counting:
            self.server.calls[str(status)] += 1
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Request-Id", f"crm-{self.number:06d}")
        for name, value in {**self.security, **(headers or {})}.items():
            self.send_header(name, value)
        if self.command == "POST" and not self.body_read:  # what was not read would be taken for the next request
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    # --- the API

    def _authorise(self) -> None:
        given = self.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode("utf-8", "replace"), f"Bearer {self.server.token}".encode()):
            raise ApiError(401, "INVALID_TOKEN", "The bearer token is missing or wrong.", {"WWW-Authenticate": "Bearer"})

    def _spend(self) -> None:
        wait = self.server.budget.take()
        if wait > 0:
            seconds = str(max(1, math.ceil(wait)))
            text = f"More than {self.server.budget.calls} calls in {self.server.budget.seconds:g} s. Wait {seconds} s."
            raise ApiError(429, "RATE_LIMIT", text, {"Retry-After": seconds})

    def _read(self) -> bytes:
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            raise ApiError(411, "LENGTH_REQUIRED", "Send a Content-Length.") from None
        if not 0 <= length <= MAX_BODY_BYTES:
            raise ApiError(413, "BODY_TOO_LARGE", f"A request may have at most {MAX_BODY_BYTES} bytes.")
        body = self.rfile.read(length)
        self.body_read = True
        return body

    def _post(self) -> None:
        if urlsplit(self.path).path == "/admin/fields":
            self._change_fields()
            return
        self._authorise()
        body = self._read()
        match = _BATCH_PATH.fullmatch(urlsplit(self.path).path)
        objects = self.server.store.objects
        if match is None or match[1] not in objects:
            raise ApiError(404, "NOT_FOUND", "There is no such object or operation.")
        self._spend()
        self._falter()
        answer = self.server.store.write(
            objects[match[1]],
            match[2],
            _entries(body),
            request=self.number,
            idempotency_key=self.headers.get("Idempotency-Key", "")[:200],
            body=body,
        )
        self._send(answer.status, answer.body, headers={"Idempotent-Replayed": "true"} if answer.is_replay else None)

    def _change_fields(self) -> None:
        """From our own page, or with the token: another site's page must not be able to."""
        if self.headers.get("Origin", "") != f"http://{self.headers.get('Host', '')}":
            self._authorise()
        form = {name: values[-1] for name, values in parse_qs(self._read().decode("utf-8", "replace")).items()}
        name = form.get("object", "")
        if name not in self.server.store.objects:
            raise ApiError(404, "NOT_FOUND", "There is no such object.")
        try:
            self.server.store.change_fields(name, form)
        except FieldError as error:
            if "text/html" not in self.headers.get("Accept", ""):
                raise ApiError(400, "FIELD_NOT_CHANGED", str(error)) from None
            page = crm_pages.fields(self.server.store.objects[name], str(error))
            self._send(400, page.encode(), kind="text/html; charset=utf-8")
            return
        self._send(303, b"", kind="text/plain", headers={"Location": f"/admin/fields?object={name}"})

    def _falter(self) -> None:
        with self.server.counting:
            self.server.writes += 1
            is_down = self.server.unavailable_every and self.server.writes % self.server.unavailable_every == 0
        if is_down:
            raise ApiError(503, "UNAVAILABLE", "The service is being restarted. Try again.")

    def _get(self) -> None:
        path = urlsplit(self.path).path
        if path == "/health":
            self._send(200, dumps({"status": "ok", "state": self.server.state, "pid": os.getpid()}))
        elif path == "/admin" or path.startswith("/admin/"):
            self._admin(path)
        else:
            self._authorise()
            self._spend()
            self._describe(path)

    def _describe(self, path: str) -> None:
        if path == "/api/objects":
            self._send(200, dumps({"objects": [describe(item) for item in self.server.store.objects.values()]}))
        elif (match := _OBJECT_PATH.fullmatch(path)) and match[1] in self.server.store.objects:
            self._send(200, dumps(describe(self.server.store.objects[match[1]])))
        elif (match := _RECORD_PATH.fullmatch(path)) and (record := self.server.store.record(match[1], unquote(match[2]))):
            self._send(200, dumps(record))
        else:
            raise ApiError(404, "NOT_FOUND", "There is no such object or record.")

    # --- the pages

    def _admin(self, path: str) -> None:
        query = {name: values[-1] for name, values in parse_qs(urlsplit(self.path).query).items()}
        wants_page = "text/html" in self.headers.get("Accept", "") and query.get("format") != "json"
        if path == "/admin/style.css":
            self._send(200, crm_pages.STYLE.encode(), kind="text/css; charset=utf-8")
        elif path == "/admin":
            counts, calls = self.server.store.counts(), dict(sorted(self.server.calls.items()))
            self._show(crm_pages.overview(counts, calls) if wants_page else {"objects": counts, "answers": calls})
        elif path == "/admin/records" and query.get("object", "airports") in self.server.store.objects:
            limit = _number(query, "limit", 50)
            name, text = query.get("object", "airports"), query.get("q", "")
            found = self.server.store.records(name, text=text, after=query.get("after", ""), limit=limit)
            self._show(
                crm_pages.records(self.server.store.objects[name], text, found, limit) if wants_page else {"records": found}
            )
        elif path == "/admin/fields" and query.get("object", "airports") in self.server.store.objects:
            item = self.server.store.objects[query.get("object", "airports")]
            self._show(crm_pages.fields(item) if wants_page else describe(item))
        elif path == "/admin/receipts":
            limit = _number(query, "limit", 100)
            found = self.server.store.receipts(
                object_name=query.get("object", ""), key=query.get("key", ""), after=_number(query, "after", 0), limit=limit
            )
            self._show(crm_pages.receipts(found, limit) if wants_page else {"receipts": found})
        else:
            raise ApiError(404, "NOT_FOUND", "There is no such page.")

    def _show(self, content: str | dict[str, Any]) -> None:
        if isinstance(content, str):
            self._send(200, content.encode(), kind="text/html; charset=utf-8")
        else:
            self._send(200, dumps(content))


def _entries(body: bytes) -> list[Any]:
    try:
        entries = loads(body)["records"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ApiError(400, "MALFORMED_BODY", "The body must be a JSON object with a list “records”.") from None
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_RECORDS:
        raise ApiError(400, "TOO_MANY_RECORDS", f"“records” must be a list of 1 to {MAX_RECORDS}.")
    return entries


def _number(query: dict[str, str], name: str, default: int) -> int:
    text = query.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else default


def _stop_with_stdin(server: SandboxCrm) -> None:
    """Whoever started us holds the other end of our standard input; when they are gone, so are we."""
    while os.read(0, 1024):  # not sys.stdin: its lock, held here, would make the end of the process a crash
        pass
    server.shutdown()


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="sandbox_crm", description="A practice CRM on loopback.")
    parser.add_argument("--port", type=int, default=8055, help="0 picks a free one")
    parser.add_argument("--state", default=":memory:", help="file that keeps its records (default: memory)")
    parser.add_argument("--budget", default="60/2", help="calls per seconds, for example 60/2; 0/1 = no limit")
    parser.add_argument("--unavailable-every", type=int, default=97, help="each n-th write is answered 503; 0 = never")
    parser.add_argument("--stop-with-stdin", action="store_true", help="end when standard input closes")
    return parser.parse_args(arguments)


def main() -> None:
    options = parse()
    calls, _, seconds = options.budget.partition("/")
    if options.state != ":memory:":
        options.state = str(Path(options.state).resolve())
        Path(options.state).parent.mkdir(parents=True, exist_ok=True)
    store = Store(options.state)
    try:
        server = SandboxCrm(
            options.port,
            store,
            state=options.state,
            token=os.environ.get("SANDBOX_CRM_TOKEN", DEFAULT_TOKEN),
            budget=Budget(int(calls), float(seconds or 1)),
            unavailable_every=options.unavailable_every,
        )
    except OSError as error:
        raise SystemExit(f"The sandbox CRM cannot listen on port {options.port}: {error.strerror}.") from None
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    if options.stop_with_stdin:
        threading.Thread(target=_stop_with_stdin, args=(server,), daemon=True).start()
    sys.stdout.write(f"{server.address}\n")
    sys.stdout.flush()
    try:
        server.serve_forever(poll_interval=0.05)
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
        store.close()


if __name__ == "__main__":
    main()
