"""The OpenAPI document: made once by each process, for it follows from the code alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from django.http import HttpResponse
from django.utils.cache import get_conditional_response
from drf_spectacular.generators import SchemaGenerator
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.views import APIView


@dataclass(frozen=True, slots=True)
class Made:
    body: bytes
    etag: str


@lru_cache(maxsize=1)
def made() -> Made:
    """Takes seconds the first time."""
    document = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    return Made(body, f'"{sha256(body).hexdigest()[:32]}"')


class Document(APIView):
    """For whoever is known: a key of any scope, or somebody who is signed in."""

    permission_classes = (IsAuthenticated,)
    schema = None

    def get(self, request: Request) -> HttpResponse:
        found = made()
        answer = HttpResponse(found.body, content_type="application/json")
        answer["ETag"] = found.etag
        answer["Cache-Control"] = "private, no-cache"  # kept, and asked for again: 304 until the product changes
        whole = get_conditional_response(request._request, etag=found.etag, response=answer)
        assert isinstance(whole, HttpResponse)
        return whole
