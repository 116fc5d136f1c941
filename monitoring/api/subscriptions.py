"""What the caller is told of and how; whom a sync tells; and watching one."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils import timezone
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.api.base import DOOR, sync_of
from monitoring.api.subscription_shapes import AudienceShape, ConcernedShape, PersonalChannelShape, SubscriptionsShape
from monitoring.services import subscriptions, told
from monitoring.services.subscription_rules import Choices, ChoicesRefusedError, changed
from syncs.choices import Scope
from syncs.connectors import Issue
from syncs.rest import etags
from syncs.rest.operations import operation
from syncs.rest.problems import InvalidError
from syncs.rest.resources import Resource, user_of
from syncs.rest.rights import demand

if TYPE_CHECKING:
    from django.contrib.auth.models import User

_MAY = "monitoring.view_subscription"
_EXAMPLE = {"owned": {"by_email": True}, "timezone": "Europe/Berlin", "quiet_from": "22:00", "quiet_until": "07:00"}


class Subscriptions(Resource):
    """Of the caller alone."""

    tag = "My alerts"

    @action(detail=False, methods=["get"])
    @operation("What you are told of, and how", scope=Scope.READ, permission=_MAY, shape=SubscriptionsShape, has_etag=True)
    def mine(self, request: Request) -> Response:
        return self._shown(request)

    @mine.mapping.patch
    @operation(
        "Change what you are told of",
        scope=Scope.WRITE,
        permission=_MAY,
        takes=SubscriptionsShape,
        shape=SubscriptionsShape,
        has_etag=True,
        needs_match=True,
        can_refuse=True,
        example=_EXAMPLE,
    )
    def update_mine(self, request: Request) -> Response:
        return self._save(request)

    @mine.mapping.put
    @operation(
        "Say all of what you are told of",
        scope=Scope.WRITE,
        permission=_MAY,
        takes=SubscriptionsShape,
        shape=SubscriptionsShape,
        has_etag=True,
        needs_match=True,
        can_refuse=True,
    )
    def replace_mine(self, request: Request) -> Response:
        return self._save(request)

    @action(detail=False, methods=["get"])
    @operation("Syncs that concern you", scope=Scope.READ, permission=_MAY, shape=ConcernedShape)
    def syncs(self, request: Request) -> Response:
        found = subscriptions.concerned(user_of(request), now=timezone.now())
        week = {
            follows.value: [{"severity": severity, "count": count} for severity, count in counts]
            for follows, counts in found.last_week.items()
        }
        instead = [{"id": sync.pk, "name": sync.name, "reason": reason} for sync, reason in found.instead]
        lists = {"owned": found.owned, "watched": found.watched}
        return self.one(request, {**lists, "instead": instead, "last_week": week})

    @action(detail=False, methods=["get"])
    @operation(
        "Channels that you may choose for yourself", scope=Scope.READ, permission=_MAY, shape=PersonalChannelShape, is_list=True
    )
    def channels(self, request: Request) -> Response:
        return self.listed(request, subscriptions.channels())

    def _save(self, request: Request) -> Response:
        user = user_of(request)
        try:
            with transaction.atomic():
                subscriptions.lock(user)
                held = _held(user)
                etags.demand(request, etags.of(_plain(held)))
                subscriptions.save(user, changed(held, self.given), now=timezone.now(), door=DOOR)
        except ChoicesRefusedError as refusal:
            raise InvalidError([Issue(_placed(name), text) for name, text in refusal.problems.items()]) from refusal
        return self._shown(request)

    def _shown(self, request: Request) -> Response:
        found = _plain(_held(user_of(request)))
        return self.one(request, found, etag=etags.of(found))


class Watching(Resource):
    """Who hears of one sync."""

    tag = "My alerts"

    @operation("Who hears of a sync", scope=Scope.READ, permission=_MAY, shape=AudienceShape, name="syncs_audience")
    def list(self, request: Request, sync_id: str) -> Response:
        return self._shown(request, sync_id)

    @action(detail=False, methods=["post"])
    @operation(
        "Watch a sync", scope=Scope.WRITE, permission=_MAY, shape=AudienceShape, name="syncs_watch",
        description="You are told of it as `watched` of your subscriptions says. Done already: nothing changes.",
    )  # fmt: skip
    def watch(self, request: Request, sync_id: str) -> Response:
        demand(request, "syncs.view_sync")
        subscriptions.watch(user_of(request), sync_of(request, sync_id), at=timezone.now(), door=DOOR)
        return self._shown(request, sync_id)

    @action(detail=False, methods=["post"])
    @operation("Watch a sync no longer", scope=Scope.WRITE, permission=_MAY, shape=AudienceShape, name="syncs_unwatch")
    def unwatch(self, request: Request, sync_id: str) -> Response:
        demand(request, "syncs.view_sync")
        subscriptions.unwatch(user_of(request), sync_of(request, sync_id), door=DOOR)
        return self._shown(request, sync_id)

    def _shown(self, request: Request, sync_id: str) -> Response:
        demand(request, "syncs.view_sync")
        sync = sync_of(request, sync_id)
        is_watching, count = subscriptions.watchers(sync.pk, user_of(request))
        found = told.of(sync)
        said = {"told": found.lines, "instead": found.instead}
        return self.one(request, {"is_watching": is_watching, "watcher_count": count, **said})


def _held(user: User) -> Choices:
    return subscriptions.choices(subscriptions.rows(user))


def _plain(held: Choices) -> dict[str, Any]:
    quiet = held.quiet
    return {
        **{follows.value: asdict(choice) for follows, choice in held.of.items()},
        "timezone": quiet.timezone,
        "quiet_from": quiet.begin and f"{quiet.begin:%H:%M}",
        "quiet_until": quiet.end and f"{quiet.end:%H:%M}",
        "quiet_lets_through": quiet.lets_through.value,
        "fallback_id": quiet.fallback_id,
    }


def _placed(name: str) -> str:
    """A field of the console's form as the body has it."""
    part, dash, inner = name.partition("-")
    last = {"channel": "channel_id", "fallback": "fallback_id"}.get(inner or part, inner or part)
    return f"{part}.{last}" if dash else last
