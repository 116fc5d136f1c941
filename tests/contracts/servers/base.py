"""What the contract servers share.

A contract server is an emulator of one vendor's API, written from the vendor's documented answers; it is not the vendor's code.
It keeps what it accepted, so that a test compares outcomes with the truth, and every server judges the same faults: a record is
bad when its ``email`` says so: ``bad`` (format), ``dup`` (taken), absent or empty (required).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.servers import Answer, Request

TOKEN = "token-of-the-contract-4711"


@dataclass(frozen=True)
class Fault:
    """``kind``: invalid, duplicate or required."""

    kind: str
    message: str
    field: str = "email"


def fault_of(record: Mapping[str, Any]) -> Fault | None:
    email = record.get("email")
    if not email:
        return Fault("required", "email is required")
    if "bad" in email:
        return Fault("invalid", f"email: '{email}' is not a mail address")
    if "dup" in email:
        return Fault("duplicate", f"email '{email}' is already taken")
    return None


@dataclass
class ContractServer:
    """Handler of a ``tests.servers.Server``. ``stored``: key -> record as accepted. ``tamper``: changes the data of an answer
    to a write before it is sent. ``token``: what a call must carry, refused with ``unauthorized()`` otherwise."""

    token: str = TOKEN
    stored: dict[str, dict[str, Any]] = field(default_factory=dict)
    tamper: Callable[[Any], Any] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, request: Request) -> Answer:
        if not self.is_known(request):
            return self.unauthorized()
        with self.lock:
            answer = self.answer(request)
            if self.tamper is not None and self.tells_of_a_write(request) and answer.body:
                answer.body = json.dumps(self.tamper(json.loads(answer.body))).encode()
        return answer

    def is_known(self, request: Request) -> bool:
        return request.headers.get("authorization") == f"Bearer {self.token}"

    def tells_of_a_write(self, request: Request) -> bool:
        """The answer to this request says what became of records."""
        return request.method != "GET"

    def revoke(self) -> None:
        """From now on the credentials that the destination holds are refused."""
        self.token = "another"

    def unauthorized(self) -> Answer:
        return Answer.json({"message": "invalid token"}, 401)

    def answer(self, request: Request) -> Answer:
        raise NotImplementedError

    def keep(self, key: str, record: dict[str, Any]) -> bool:
        """True where the key is new."""
        is_new = key not in self.stored
        self.stored[key] = {**self.stored.get(key, {}), **record}
        return is_new
