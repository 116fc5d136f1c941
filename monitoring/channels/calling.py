"""One HTTP call to a channel: guarded, redacted, and its answer judged."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from monitoring.channels.base import Place, Sent
from syncs.connectors import Issue
from syncs.errors import ConfigError, RedriveError
from syncs.http import AddressGuard, Failure, Redactor, Response, Session, Target, parse_retry_after, parse_url, system_resolver

DEADLINE_SECONDS = 15.0  # Standard Webhooks: 15 to 30 seconds
_EXCERPT = 500
_GONE = (410,)
# 408, 425 and 429 pass by themselves; every other 4xx is refused the same way again.
_PASSING = (408, 425, 429)
Judge = Callable[[Response], str]


def post(
    url: str,
    body: bytes,
    place: Place,
    *,
    headers: Mapping[str, str] | None = None,
    gone: Callable[[Response], bool] | None = None,
    refusal: Judge | None = None,
) -> Sent:
    """POST JSON. Delivered: any 2xx that ``refusal`` finds nothing wrong with. Redirects are not followed: they are failures.

    ``gone``: whether an answer says that the address will never work again (410 always does).
    """
    # An incoming webhook's address is its secret; of others the whole address is no one's business either.
    path = url.split("://", 1)[-1].partition("/")[2]
    redactor = Redactor([url, *_texts(place.secrets), *([path] if len(path) > 8 else [])])
    session = Session(
        allowed_private_networks=place.allowed_private_networks, deadline_seconds=DEADLINE_SECONDS, redactor=redactor
    )
    sent = {"Content-Type": "application/json", "Accept": "application/json, text/plain", **(headers or {})}
    try:
        answer = session.send("POST", url, headers=sent, body=body)
    except RedriveError as error:
        return Sent(False, error=redactor.message(error.message), is_permanent=True)
    finally:
        session.close()
    if isinstance(answer, Failure):
        return Sent(False, http_status=answer.status, milliseconds=answer.milliseconds, error=answer.message)
    return _judged(answer, redactor, gone, refusal)


def _judged(answer: Response, redactor: Redactor, gone: Callable[[Response], bool] | None, refusal: Judge | None) -> Sent:
    excerpt = redactor.excerpt(answer.body, limit=_EXCERPT)
    shared: dict[str, Any] = {"http_status": answer.status, "milliseconds": answer.milliseconds, "excerpt": excerpt}
    if 200 <= answer.status < 300:
        wrong = redactor.message(refusal(answer)) if refusal else ""
        return Sent(not wrong, error=wrong, **shared)
    is_gone = answer.status in _GONE or bool(gone and gone(answer))
    error = f"It answered {answer.status}."
    if 300 <= answer.status < 400:
        error = f"It answered {answer.status}, a redirect, which is never followed. Enter the address it leads to."
    is_permanent = is_gone or (300 <= answer.status < 500 and answer.status not in _PASSING)
    wait = parse_retry_after(answer.headers.get("Retry-After"), now=datetime.now(UTC), max_seconds=24 * 3600.0)
    return Sent(False, error=error, is_gone=is_gone, is_permanent=is_permanent, retry_after=wait, **shared)


def check_url(url: Any, *, field: str, allowed: tuple[str, ...] = ()) -> list[Issue]:
    """What the address guard has against it, as far as the text tells: a host written as an address is judged, names are
    resolved (and judged again) at every call."""
    if not isinstance(url, str) or not url.strip():
        return [Issue(field, "Enter the address, for example https://hooks.example.com/….")]
    try:
        target = parse_url(url, field=field)
    except ConfigError as error:
        return [Issue(field, error.message)]
    addresses = _literal(target.host)
    if not addresses and target.scheme != "https" and not allowed:
        return [Issue(field, "The address must begin with https://.")]
    return _refused(field, target, addresses, allowed)


def check_reachable(url: str, *, field: str, allowed: tuple[str, ...] = ()) -> list[Issue]:
    """The same for what the name stands for now. A name that cannot be resolved is no issue: it may be soon."""
    target = parse_url(url, field=field)
    try:
        addresses = list(system_resolver(target.host, target.port))
    except (OSError, UnicodeError):
        return []
    return _refused(field, target, addresses, allowed)


def _refused(field: str, target: Target, addresses: list[str], allowed: tuple[str, ...]) -> list[Issue]:
    try:
        AddressGuard(allowed).check(target, addresses)
    except RedriveError as error:
        return [Issue(field, error.message)]
    return []


def _literal(host: str) -> list[str]:
    try:  # numbers only: 127.1 and 2130706433 are loopback, too; nothing is looked up
        return [socket.inet_ntoa(socket.inet_aton(host))]
    except (OSError, UnicodeError):
        return [host] if ":" in host else []


def as_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _texts(secrets: Mapping[str, Any]) -> list[str]:
    return [value for value in secrets.values() if isinstance(value, str) and value]
