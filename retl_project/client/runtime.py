"""What every call of the client goes through: the key, repeats that are safe, errors that say what is wrong."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import requests


@dataclass
class ApiError(Exception):
    """The API refused. ``code``: a word for programs; ``details``: [{"field", "issue"}]."""

    status: int
    code: str
    message: str
    details: list[dict[str, str]] = field(default_factory=list)

    def __str__(self) -> str:
        named = "".join(f" {one['field']}: {one['issue']}" for one in self.details)
        return f"{self.status} {self.code}: {self.message}{named}"


class Transport:
    """``last``: the answer of the latest call; its headers hold ``ETag`` and ``Location``. For one thread at a time."""

    def __init__(self, url: str, key: str, *, timeout: float = 60.0, attempts: int = 5) -> None:
        self.url = url.rstrip("/")
        self.last: requests.Response | None = None
        self._timeout, self._attempts = timeout, attempts
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {key}"

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: object = None,
        headers: Mapping[str, str | None] | None = None,
        content_type: str = "application/json",
    ) -> requests.Response:
        """Raises ``ApiError``. Waits and tries again above the limit of requests, and when the connection breaks: a POST
        carries an Idempotency-Key, so it is done once all the same."""
        given = {name: value for name, value in (headers or {}).items() if value is not None}
        if method == "POST":
            given.setdefault("Idempotency-Key", str(uuid.uuid4()))
        if body is not None:
            given["Content-Type"] = content_type
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        asked = {name: _plain(value) for name, value in (query or {}).items() if value is not None}
        for attempt in range(1, self._attempts + 1):
            is_last = attempt == self._attempts
            try:
                answer = self._session.request(
                    method, self.url + path, params=asked, data=data, headers=given, timeout=self._timeout
                )
            except (requests.ConnectionError, requests.Timeout):
                if is_last or method not in ("GET", "POST"):
                    raise
                time.sleep(0.5 * 2**attempt)
                continue
            if is_last or not _is_to_be_repeated(answer):
                break
            time.sleep(float(answer.headers.get("Retry-After", "1")))
        self.last = answer
        if answer.status_code >= 400:
            raise _error(answer)
        return answer

    def every(self, page: Callable[..., Any], *path: int | str, **filters: Any) -> Iterator[Any]:
        """Each row of all pages: ``client.every(client.runs_list, status=["failed"])``."""
        cursor: str | None = None
        while True:
            found = page(*path, **filters, **({"cursor": cursor} if cursor else {}))
            yield from found["data"]
            cursor = found["meta"]["page"]["next"]
            if cursor is None:
                return


def call_trigger(address: str, secret: str, body: Mapping[str, Any] | None = None, *, call_id: str = "") -> dict[str, Any]:
    """Start a run by the address of a trigger, signed by Standard Webhooks; no API key is needed. Give the same ``call_id`` to
    call again after a lost answer. Raises ``ApiError``."""
    data = json.dumps(dict(body or {})).encode()
    name, stamp = call_id or f"msg_{uuid.uuid4().hex}", str(int(time.time()))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{name}.{stamp}.".encode() + data, hashlib.sha256).digest()
    headers = {
        "Content-Type": "application/json",
        "webhook-id": name,
        "webhook-timestamp": stamp,
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }
    answer = requests.post(address, data=data, headers=headers, timeout=60)
    if answer.status_code >= 400:
        raise _error(answer)
    found: dict[str, Any] = answer.json()
    return found


def _is_to_be_repeated(answer: requests.Response) -> bool:
    if answer.status_code == 409 and "Retry-After" in answer.headers:
        return True  # the same request is being worked on
    return answer.status_code in (429, 502, 503, 504)


def _error(answer: requests.Response) -> ApiError:
    try:
        found = answer.json()["error"]
        return ApiError(answer.status_code, found["code"], found["message"], found["details"])
    except (ValueError, KeyError, TypeError):  # not Redrive: a proxy, perhaps
        return ApiError(answer.status_code, "unreadable", answer.text[:500])


def _part(value: str) -> str:
    """Of an address."""
    return quote(value, safe="")


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
