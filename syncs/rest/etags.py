"""Edits that nobody loses: what is edited has an ETag, and an edit says in ``If-Match`` which state it was written against."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest

from syncs.rest.problems import Problem


def of(values: Any) -> str:
    """A strong ETag of what is edited: the part of its state that an edit can change."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=False, cls=DjangoJSONEncoder)
    return f'"{sha256(text.encode()).hexdigest()[:32]}"'


def demand(request: HttpRequest, current: str) -> None:
    """Call it with the row locked. Raises 428 without ``If-Match``, and 412 when the state is another one by now."""
    header = request.headers.get("If-Match", "")
    if not header.strip():
        raise Problem(
            428,
            "precondition_required",
            "Send If-Match with the ETag of what you read, so that no other edit is lost; or If-Match: * to overwrite it.",
        )
    given = [part.strip() for part in header.split(",")]
    if "*" not in given and current not in given:
        raise Problem(
            412,
            "precondition_failed",
            "It was changed since you read it. Read it again, and send your edit with the new ETag.",
            headers={"ETag": current},
        )
