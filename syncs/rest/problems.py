"""Errors as the API says them: ``{"error": {"code", "message", "details": [{"field", "issue"}]}}``, whoever raised them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response

from syncs.connectors import Issue
from syncs.errors import RedriveError

logger = logging.getLogger(__name__)


class Problem(exceptions.APIException):
    """A refusal with its own status and code. ``issues``: which inputs, and what to do about each."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        issues: Sequence[Issue] = (),
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status_code = status
        self.code = code
        self.message = message
        self.issues = tuple(issues)
        self.headers = dict(headers or {})


class InvalidError(Problem):
    """400: the request cannot be understood, or an input cannot be taken."""

    def __init__(self, issues: Sequence[Issue], message: str = "The request cannot be taken as it is.") -> None:
        super().__init__(400, "invalid", message, issues)


class NotFoundError(Problem):
    """404: it is not there, or it belongs to a team whose syncs the caller does not see."""

    def __init__(self, what: str = "Nothing") -> None:
        super().__init__(404, "not_found", f"{what} is here that you may see.")


class RefusedError(Problem):
    """409: understood, but not possible as things stand."""

    def __init__(self, message: str, issues: Sequence[Issue] = ()) -> None:
        super().__init__(409, "refused", message, issues)


def body(code: str, message: str, issues: Iterable[Issue] = ()) -> dict[str, Any]:
    return {
        "error": {
            "code": code,
            "message": message,
            "details": [{"field": issue.field, "issue": issue.message} for issue in issues],
        }
    }


def handled(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """DRF's exception handler. None: a fault of ours, which the caller turns into a 500 without its text."""
    problem = _problem(error, context.get("view"))
    if problem is None:
        return None
    answer = Response(body(problem.code, problem.message, problem.issues), status=problem.status_code)
    for name, value in problem.headers.items():
        answer[name] = value
    return answer


_WORDS: dict[type[Exception], tuple[int, str]] = {
    exceptions.NotAuthenticated: (401, "unauthenticated"),
    exceptions.AuthenticationFailed: (401, "unauthenticated"),
    exceptions.PermissionDenied: (403, "forbidden"),
    exceptions.MethodNotAllowed: (405, "method_not_allowed"),
    exceptions.UnsupportedMediaType: (415, "unsupported_media_type"),
    exceptions.ParseError: (400, "malformed"),
}


def _problem(error: Exception, view: Any) -> Problem | None:
    if isinstance(error, Problem):
        return error
    if isinstance(error, RedriveError):
        return _of_service(error, view)
    if isinstance(error, Http404 | exceptions.NotFound):
        return NotFoundError()
    if isinstance(error, PermissionDenied):
        return Problem(403, "forbidden", str(error) or "You may not do that.")
    if isinstance(error, exceptions.ValidationError):
        return InvalidError(list(issues_of(error.detail)))
    if isinstance(error, exceptions.APIException):
        status, code = next((word for kind, word in _WORDS.items() if isinstance(error, kind)), (error.status_code, "refused"))
        header = getattr(error, "auth_header", "")
        return Problem(status, code, str(error.detail), headers={"WWW-Authenticate": header} if header else {})
    return None


def _of_service(error: RedriveError, view: Any) -> Problem:
    """What a service refuses about an input is 400; what the state of things forbids is 409."""
    field = getattr(error, "field", "") or ""
    found = [Issue(field, error.message)] if field else []
    found = [Issue(issue.field, issue.message) for issue in getattr(error, "issues", ())] or found
    operation = getattr(view, "operation", None)
    is_input = operation is not None and any(operation.knows(issue.field) for issue in found)
    return InvalidError(found, error.message) if is_input else RefusedError(error.message, found)


def issues_of(detail: Any, place: str = "") -> Iterator[Issue]:
    """The errors of a serializer, flat: ``mappings[2].kind``."""
    if isinstance(detail, Mapping):
        for name, value in detail.items():
            inner = place if name == "non_field_errors" else f"{place}.{name}" if place else str(name)
            yield from issues_of(value, f"{place}[{name}]" if isinstance(name, int) else inner)
    elif isinstance(detail, list | tuple):
        for number, value in enumerate(detail):
            is_item = isinstance(value, Mapping)
            if not (is_item and not value):
                yield from issues_of(value, f"{place}[{number}]" if is_item else place)
    else:
        yield Issue(place, str(detail))
