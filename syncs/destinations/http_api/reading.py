"""A read of the destination's own description of itself: which objects it has, which fields."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from syncs.destinations.http_api.answers import read_reply
from syncs.destinations.http_api.calling import Called, Caller
from syncs.errors import ConfigError, CredentialsError, ErrorType, TransientError
from syncs.http import Failure, Response, parse_retry_after
from syncs.records import BatchResult


def read_json(caller: Caller, headers: dict[str, str], path: str) -> Any:
    """The JSON at a path below the base URL. Raises ``CredentialsError`` (401, 403), ``TransientError`` (no answer, 429, 5xx),
    ``ConfigError`` (anything else that is not JSON with a 2xx)."""
    return _json(_read(caller, headers, path), path)


def read_pages(caller: Caller, headers: dict[str, str], path: str, *, base_url: str, most: int = 100) -> Iterator[Any]:
    """The same, page by page as the header ``Link`` leads on (RFC 8288, ``rel="next"``), below the base URL only."""
    for _ in range(most):
        called = _read(caller, headers, path)
        yield _json(called, path)
        link = called.answer.headers.get("Link", "") if isinstance(called.answer, Response) else ""
        found = _NEXT.search(link)
        if found is None:
            return
        path = found[1].removeprefix(base_url)
        if not path.startswith("/"):
            raise ConfigError("The destination leads to another host for more of its fields; that is not followed.")


_NEXT = re.compile(r'<([^<>]+)>\s*;[^<]*?\brel="?next\b')


def _read(caller: Caller, headers: dict[str, str], path: str) -> Called:
    called = caller.send("GET", path, {"Accept": "application/json", **headers}, None)
    if isinstance(called.answer, Response) and called.answer.status == 401:
        called = caller.send_renewed(called) or called
    return called


def _json(called: Called, path: str) -> Any:
    answer = called.answer
    if isinstance(answer, BatchResult):
        assert answer.error is not None
        if answer.error.type is ErrorType.AUTH:
            raise CredentialsError(answer.error.message, code=answer.error.code)
        raise TransientError(answer.error.message, retry_after=answer.retry_after)
    if isinstance(answer, Failure):
        raise TransientError(f"{answer.message} Nothing was read from {_shown(path)}.")
    reply = read_reply(answer)
    if 200 <= answer.status < 300 and reply.is_readable and reply.data is not None:
        return reply.data
    raise _refusal(answer, path)


def _refusal(answer: Response, path: str) -> Exception:
    status, where = answer.status, _shown(path)
    if status == 401:
        return CredentialsError(f"The destination refused the credentials ({status}) for {where}. Enter new ones.")
    if status == 403:
        return CredentialsError(f"The credentials may not read {where} (403). Grant the right to read it, or name the fields.")
    if status == 429 or status >= 500:
        wait = parse_retry_after(answer.headers.get("Retry-After"), now=datetime.now(UTC))
        text = f"The destination cannot answer {where} at the moment ({status}). Try again later."
        return TransientError(text, retry_after=wait)
    if 200 <= status < 300:
        return ConfigError(f"The answer from {where} is not JSON. Is the base URL the API's own address?", field="base_url")
    return ConfigError(f"The destination has nothing to read at {where} ({status}). Check the object's name.", field="objects")


def _shown(path: str) -> str:
    return path.partition("?")[0][:200]
