"""``Idempotency-Key``: the header of a POST, and what is answered when it comes again."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response

from syncs.connectors import Issue
from syncs.models import ApiKey, IdempotentRequest
from syncs.rest.problems import InvalidError, Problem
from syncs.services import idempotency

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
_LONGEST = 255
_KEPT_HEADERS = ("Location", "ETag")


def once(request: Request, work: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    """Do it; or, where this caller has done it under this key before, give that answer. Only a success is remembered."""
    key = request.headers.get(HEADER, "")
    if request.method != "POST" or HEADER not in request.headers:
        return work()
    if not key.strip() or len(key) > _LONGEST or not key.isascii() or not key.isprintable() or " " in key:
        raise InvalidError([Issue(HEADER, f"Send 1 to {_LONGEST} printable ASCII characters, without spaces.")])
    record = idempotency.begin(caller_of(request), key, _fingerprint(request))
    if record is idempotency.Found.OTHER:
        raise Problem(
            422,
            "idempotency_key_reused",
            "This Idempotency-Key was used for another request within the last 24 hours. Take a new one.",
            [Issue(HEADER, "Used before, with another address or body.")],
        )
    if record is idempotency.Found.UNDER_WAY:
        raise Problem(
            409,
            "in_progress",
            "A request with this Idempotency-Key is being worked on. Ask again in a moment.",
            headers={"Retry-After": "1"},
        )
    assert isinstance(record, IdempotentRequest)
    return _replayed(record) if record.finished_at is not None else _worked(record, work)


def _worked(record: IdempotentRequest, work: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    try:
        answer = work()
    except BaseException:
        idempotency.release(record)
        raise
    if not isinstance(answer, Response) or answer.status_code >= 300:
        idempotency.release(record)
        return answer
    headers = {name: answer[name] for name in _KEPT_HEADERS if name in answer}
    data = json.loads(json.dumps(answer.data, cls=DjangoJSONEncoder))
    idempotency.finish(record, {"status": answer.status_code, "body": data, "headers": headers})
    return answer


def _replayed(record: IdempotentRequest) -> Response:
    kept = record.answer or {}
    answer = Response(kept.get("body"), status=kept.get("status", 200))
    for name, value in {**kept.get("headers", {}), REPLAYED: "true"}.items():
        answer[name] = value
    return answer


def _fingerprint(request: Request) -> str:
    body = json.dumps(request.data, sort_keys=True, cls=DjangoJSONEncoder)
    return sha256(f"{request.method} {request.get_full_path()}\n{body}".encode()).hexdigest()


def caller_of(request: Request) -> str:
    """Key, trigger, person or address: whose repeats and whose requests a minute these are."""
    if request.auth is not None:
        return f"{'key' if isinstance(request.auth, ApiKey) else 'trigger'}:{request.auth.pk}"
    user: Any = request.user
    return f"user:{user.pk}" if user.is_authenticated else f"ip:{request.META.get('REMOTE_ADDR', '')}"
