"""Feeds for other tools. Read with a token (everything), or by somebody who is signed in (what they may see)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from monitoring.services import doorkeeping, feed_input, feeds
from syncs.connectors import Issue

if TYPE_CHECKING:
    from django.contrib.auth.models import User

Read = Callable[..., feeds.Page]


@require_safe
def runs(request: HttpRequest) -> JsonResponse:
    return _answer(request, feeds.RUNS, feeds.runs, ("status", feeds.RUN_WORDS), "syncs.view_run")


@require_safe
def incidents(request: HttpRequest) -> JsonResponse:
    return _answer(request, feeds.INCIDENTS, feeds.incidents, ("severity", feeds.INCIDENT_WORDS), "monitoring.view_incident")


def _answer(request: HttpRequest, feed: str, read: Read, words: tuple[str, Sequence[str]], needed: str) -> JsonResponse:
    user: User | None = None
    if not doorkeeping.has_token(request, settings.RETL["FEED_TOKENS"]):
        if not request.user.is_authenticated:
            said = "Send a token of RETL_FEED_TOKENS as Authorization: Bearer, or sign in to the console."
            return _problem(401, "unauthenticated", said)
        if not (request.user.is_staff and request.user.has_perm(needed)):
            return _problem(403, "forbidden", f"Your account lacks the right {needed}.")
        user = request.user
    now = timezone.now()
    asked, issues = feed_input.parse(request.GET.dict(), feed=feed, word=words[0], words=words[1], now=now)
    if issues:
        return _problem(400, "invalid", "The address asks for something that this feed cannot give.", issues)
    return _page(read(asked, user=user, now=now), feed, asked.limit, now)


def _page(page: feeds.Page, feed: str, limit: int, now: datetime) -> JsonResponse:
    about = {"limit": limit, "next": page.after.cursor(feed), "has_more": page.has_more}
    answer = JsonResponse({"data": page.rows, "meta": {"page": about, "at": now.isoformat()}})
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _problem(status: int, code: str, message: str, issues: Sequence[Issue] = ()) -> JsonResponse:
    details = [{"field": issue.field, "issue": issue.message} for issue in issues]
    error: dict[str, Any] = {"code": code, "message": message, "details": details}
    answer = JsonResponse({"error": error}, status=status)
    answer.headers["Cache-Control"] = "no-store"
    if status == 401:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="redrive"'
    return answer
