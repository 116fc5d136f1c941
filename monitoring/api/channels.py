"""Channels: set up, tested, rotated, switched on and off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.utils import timezone
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.api.base import DOOR, naming
from monitoring.api.channel_shapes import (
    ChannelDetailShape,
    ChannelShape,
    ChannelTestShape,
    CreatedChannelShape,
    EditedChannelShape,
    KindOfChannelShape,
    NewChannelShape,
    RedeliveredShape,
    RotateChannelShape,
    SigningSecretShape,
)
from monitoring.channels import registry
from monitoring.channels.registry import CHANNEL_KINDS
from monitoring.models import Channel
from monitoring.services import channel_edit, channel_list, delivery_list, people
from monitoring.services.channel_edit import Taken
from syncs.choices import Scope
from syncs.connectors import Issue
from syncs.rest import etags, paging
from syncs.rest.filters import FlagFilter, IdFilter, StrictFilterSet, WordsFilter
from syncs.rest.operations import operation
from syncs.rest.problems import InvalidError
from syncs.rest.resources import Resource, user_of

_SEE, _ADD = "monitoring.view_channel", "monitoring.add_channel"
_CHANGE, _DELETE, _SEND = "monitoring.change_channel", "monitoring.delete_channel", "monitoring.change_delivery"
_PLAIN = ("name", "min_severity", "events")


class ChannelFilters(StrictFilterSet):
    kind = WordsFilter(choices=[(kind, kind) for kind in CHANNEL_KINDS], label="Any of these.")
    is_enabled = FlagFilter(field_name="is_enabled", label="On, or off.")
    owner = IdFilter(field_name="owner_id", label="Of this person.")


def etag_of(channel: Channel) -> str:
    """Secrets are no part of it: whatever changes them changes ``updated_at``."""
    return etags.of({"at": channel.updated_at, **{name: getattr(channel, name) for name in channel_edit.COLUMNS}})


class Channels(Resource):
    tag = "Channels"

    @operation(
        "Channels, by name",
        scope=Scope.READ,
        permission=_SEE,
        shape=ChannelShape,
        is_page=True,
        filters=ChannelFilters,
        orders={"name": ("name", "id"), "-id": ("-id",)},
    )
    def list(self, request: Request) -> Response:
        asked = paging.wanted(request)
        found = paging.page(ChannelFilters.of(request.query_params, channel_list.counted()), self.order, asked)
        return self.page_of(request, paging.Page(list(map(channel_list.line, found.rows)), found.next), asked.limit)

    @operation(
        "Set up a channel",
        scope=Scope.ADMIN,
        permission=_ADD,
        takes=NewChannelShape,
        shape=CreatedChannelShape,
        status=201,
        has_etag=True,
        can_refuse=True,
        description="`/channel-kinds` says which settings each kind has. A webhook without a secret is given one.",
        example={
            "kind": "webhook",
            "name": "Ops",
            "config": {"url": "https://ops.example.com/redrive"},
            "events": ["run.finished"],
        },
    )
    def create(self, request: Request) -> Response:
        channel = Channel(kind=self.given["kind"], owner=user_of(request))
        taken = self._take(channel)
        made = channel_edit.save(channel, given=taken.given, by=user_of(request), door=DOOR)
        return self._one(request, channel.pk, signing_secret=made, location=f"/api/v1/channels/{channel.pk}")

    @operation("One channel", scope=Scope.READ, permission=_SEE, shape=ChannelDetailShape, has_etag=True)
    def retrieve(self, request: Request, id: str) -> Response:
        return self._one(request, int(id))

    @operation(
        "Change a channel",
        scope=Scope.ADMIN,
        permission=_CHANGE,
        takes=EditedChannelShape,
        shape=ChannelDetailShape,
        has_etag=True,
        needs_match=True,
        can_refuse=True,
        description="Settings and secrets that are left out stay; null takes one away.",
        example={"min_severity": "page", "secrets": {"authorization": "Bearer new"}},
    )
    def partial_update(self, request: Request, id: str) -> Response:
        channel = self._found(id)
        etags.demand(request, etag_of(channel))
        seen_at = channel.updated_at
        taken = self._take(channel)
        by = user_of(request)
        channel_edit.save(channel, given=taken.given, cleared=taken.cleared, by=by, door=DOOR, seen_at=seen_at)
        return self._one(request, channel.pk)

    @operation(
        "Delete a channel", scope=Scope.ADMIN, permission=_DELETE, status=204, needs_match=True, can_refuse=True,
        description="With its deliveries. Alert rules and subscriptions that name it go on without it.",
    )  # fmt: skip
    def destroy(self, request: Request, id: str) -> Response:
        with self.edited(request, Channel.objects.all(), id, etag_of) as channel:
            channel_edit.delete(channel, by=user_of(request), door=DOOR)
        return self.nothing()

    @action(detail=True, methods=["post"])
    @operation(
        "Send a test message now", scope=Scope.ADMIN, permission=_CHANGE, shape=ChannelTestShape, can_refuse=True,
        description="Waits for the answer, at most a quarter of a minute; also where the channel is off.",
    )  # fmt: skip
    def test(self, request: Request, id: str) -> Response:
        return self.one(request, channel_edit.test(self._found(id), by=user_of(request), now=timezone.now()))

    @action(detail=True, methods=["post"], url_path="rotate-secret")
    @operation(
        "Make a new signing secret",
        scope=Scope.ADMIN,
        permission=_CHANGE,
        takes=RotateChannelShape,
        shape=SigningSecretShape,
        can_refuse=True,
        description="Of a webhook. The one before signs as well for some hours, so that receivers can change over.",
        example={"hours": 24},
    )
    def rotate_secret(self, request: Request, id: str) -> Response:
        channel, hours = self._found(id), self.given["hours"]
        made = channel_edit.rotate(channel, hours=hours, by=user_of(request), door=DOOR, now=timezone.now())
        return self.one(request, {"signing_secret": made, "overlap_until": self._found(id).overlap_until})

    @action(detail=True, methods=["post"])
    @operation("Switch a channel on", scope=Scope.ADMIN, permission=_CHANGE, shape=ChannelDetailShape, can_refuse=True)
    def enable(self, request: Request, id: str) -> Response:
        return self._switch(request, id, is_enabled=True)

    @action(detail=True, methods=["post"])
    @operation(
        "Switch a channel off", scope=Scope.ADMIN, permission=_CHANGE, shape=ChannelDetailShape, can_refuse=True,
        description="Messages that wait are given up; they can be delivered again.",
    )  # fmt: skip
    def disable(self, request: Request, id: str) -> Response:
        return self._switch(request, id, is_enabled=False)

    @action(detail=True, methods=["post"])
    @operation(
        "Deliver again what a channel missed", scope=Scope.ADMIN, permission=_SEND, shape=RedeliveredShape, can_refuse=True,
        description="What was given up within 7 days, oldest first.",
    )  # fmt: skip
    def redeliver(self, request: Request, id: str) -> Response:
        done = delivery_list.redeliver_missed(self._found(id), by=user_of(request), door=DOOR, now=timezone.now())
        return self.one(request, {"count": done})

    # ---

    def _take(self, channel: Channel) -> Taken:
        """Put what is given on the channel, without saving it."""
        for name in _PLAIN:
            if name in self.given:
                setattr(channel, name, self.given[name])
        if self.given.get("owner_id", channel.owner_id) != channel.owner_id:
            with naming(owner="owner_id"):
                channel.owner = people.named(str(self.given["owner_id"] or ""))
        issues = []
        if channel.events and channel.kind != "webhook":
            issues.append(Issue("events", "Only webhooks choose events. Leave it out."))
        taken = channel_edit.take(channel, self.given.get("config", {}), self.given.get("secrets", {}))
        issues += _placed(channel.kind, taken.issues, self.given)
        if issues:
            raise InvalidError(issues)
        channel.config = taken.config
        return taken

    def _switch(self, request: Request, id: str, *, is_enabled: bool) -> Response:
        channel_edit.switch(self._found(id), is_enabled=is_enabled, by=user_of(request), door=DOOR, now=timezone.now())
        return self._one(request, int(id))

    def _found(self, id: str) -> Channel:
        channel: Channel = self.find(Channel.objects.select_related("owner"), id, "No channel of that number")
        return channel

    def _one(self, request: Request, id: int, *, signing_secret: str = "", location: str = "") -> Response:
        channel = self._found(str(id))
        shown = channel_list.detail(channel, timezone.now(), signing_secret=signing_secret)
        return self.one(request, shown, etag=etag_of(channel), location=location)


def _placed(kind: str, issues: Iterable[Issue], given: Mapping[str, Any]) -> Iterable[Issue]:
    """With the part of the body that each belongs to."""
    secret = {field.name for field in registry.module(kind).FIELDS if field.is_secret}
    for issue in issues:
        is_secret = issue.field in secret or (
            issue.field in given.get("secrets", {}) and issue.field not in given.get("config", {})
        )
        yield Issue(f"{'secrets' if is_secret else 'config'}.{issue.field}", issue.message)


class ChannelKinds(Resource):
    tag = "Channels"

    @operation(
        "Kinds of channels, with their settings", scope=Scope.READ, permission=_SEE, shape=KindOfChannelShape, is_list=True
    )
    def list(self, request: Request) -> Response:
        return self.listed(request, channel_list.kinds())
