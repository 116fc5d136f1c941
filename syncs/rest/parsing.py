"""Bodies and addresses read strictly: bounded in size and depth, no text that a database cannot hold, no name twice."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import IO, Any

from django.http import QueryDict
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from syncs.connectors import Issue
from syncs.rest.problems import InvalidError, Problem

BODY_MAX = 2 * 1024 * 1024  # bytes
DEPTH_MAX = 60


class StrictJSONParser(BaseParser):
    media_type = "application/json"

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        data = stream.read(BODY_MAX + 1)
        if len(data) > BODY_MAX:
            raise Problem(413, "too_large", f"The body has more than {BODY_MAX:,} bytes. Send less at once.")
        if not data.strip():
            return {}
        try:
            value = json.loads(data.decode("utf-8"), object_pairs_hook=_object, parse_constant=_refused)
        except UnicodeDecodeError:
            raise malformed("The body is not UTF-8.") from None
        except RecursionError:
            raise malformed("The body is nested too deeply.") from None
        except ValueError as error:
            raise malformed(f"The body is not JSON: {str(error)[:200]}.") from None
        issue = _unstorable(value)
        if issue:
            raise InvalidError([issue])
        return value


class Upload(dict[str, Any]):
    """A file that is the body of a request; as a mapping it is its digest, by which a repeat is known."""

    def __init__(self, raw: bytes) -> None:
        super().__init__(sha256=sha256(raw).hexdigest())
        self.raw = raw


class UploadParser(BaseParser):
    """For each media type of an operation's ``upload`` a subclass, in ``parser_classes`` of its resource."""

    most: int

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        data = stream.read(self.most + 1)
        if len(data) > self.most:
            raise Problem(413, "too_large", f"The file has more than {self.most:,} bytes. Split it.")
        return Upload(data)


class AnyNegotiation:
    """One format is spoken whatever ``Accept`` says; a browser that asks for HTML is answered, too."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        kind = (request.content_type or "").partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == kind), None)

    def select_renderer(
        self, request: Request, renderers: list[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], renderers[0].media_type or ""


def malformed(message: str) -> Problem:
    return Problem(400, "malformed", message)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has “{twice[:60]}” twice")
    return found


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _unstorable(value: Any) -> Issue | None:
    """The first text or number in it that no database holds; a stack of our own, for the depth is not ours."""
    waiting: list[tuple[str, Any, int]] = [("", value, 0)]
    while waiting:
        place, found, depth = waiting.pop()
        if depth > DEPTH_MAX:
            return Issue(place[:120], f"Nested more than {DEPTH_MAX} deep.")
        if isinstance(found, str):
            if sentence := text_problem(found):
                return Issue(place[:120], sentence)
        elif isinstance(found, float) and not math.isfinite(found):
            return Issue(place[:120], "This number is too large.")
        elif isinstance(found, dict):
            for name, inner in found.items():
                if sentence := text_problem(name):
                    return Issue(place[:120], f"A name in it: {sentence}")
                waiting.append((f"{place}.{name}" if place else name, inner, depth + 1))
        elif isinstance(found, list):
            waiting += [(f"{place}[{number}]", inner, depth + 1) for number, inner in enumerate(found)]
    return None


def text_problem(text: str) -> str:
    if "\x00" in text:
        return "It holds a NUL character. Take it out."
    try:
        text.encode()
    except UnicodeEncodeError:
        return "It holds half a character (a lone surrogate). Send valid Unicode."
    return ""


def check_address(query: QueryDict) -> None:
    """Raises ``InvalidError`` for texts in the address that no database holds."""
    found = [
        Issue(name.replace("\x00", "")[:80].encode("utf-8", "replace").decode(), sentence)
        for name, values in query.lists()
        if (sentence := next((said for text in (name, *map(str, values)) if (said := text_problem(text))), ""))
    ]
    if found:
        raise InvalidError(found)
