"""Chains of a sync: what it runs after, and what runs after it."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from syncs.choices import ChainWhen, Scope
from syncs.connectors import Issue
from syncs.models import ChainFiring, Sync, SyncChain
from syncs.rest import etags
from syncs.rest.operations import operation
from syncs.rest.problems import InvalidError
from syncs.rest.resources import Resource, user_of
from syncs.rest.shapes import Id, Shape, StrictBoolean
from syncs.services import access, chaining

API = "api"
_WHEN = [(one.value, one.value) for one in ChainWhen]
_WHEN_HELP = "Which end fires: `succeeded` (no row was refused), `delivered` (succeeded or partial), `ended` (however)."


class NewChainShape(Shape):
    after_id = Id(help_text="The sync to run after.")
    when = serializers.ChoiceField(choices=_WHEN, required=False, default=ChainWhen.SUCCEEDED.value, help_text=_WHEN_HELP)
    is_enabled = StrictBoolean(required=False, default=True)


class ChainEditShape(Shape):
    when = serializers.ChoiceField(choices=_WHEN, required=False, help_text=_WHEN_HELP)
    is_enabled = StrictBoolean(required=False)


class ChainEndShape(Shape):
    id = serializers.IntegerField(read_only=True)
    name = serializers.CharField(read_only=True)


class ChainShape(Shape):
    id = serializers.IntegerField(read_only=True)
    after = ChainEndShape(read_only=True, help_text="The sync whose runs fire it.")
    sync = ChainEndShape(read_only=True, help_text="The sync that then runs.")
    when = serializers.ChoiceField(choices=_WHEN, read_only=True, help_text=_WHEN_HELP)
    is_enabled = serializers.BooleanField(read_only=True)
    created_by = serializers.CharField(read_only=True, allow_null=True, source="created_by.username", default=None)
    created_at = serializers.DateTimeField(read_only=True)


class ChainFiringShape(Shape):
    id = serializers.IntegerField(read_only=True)
    after_run_id = serializers.IntegerField(read_only=True)
    run_id = serializers.IntegerField(read_only=True, allow_null=True, help_text="null: none came of it, or it is not kept.")
    outcome = serializers.CharField(read_only=True, help_text="What came of it, or why nothing did; empty: it is about to be.")
    at = serializers.DateTimeField(read_only=True)


def etag_of(chain: SyncChain) -> str:
    return etags.of({name: getattr(chain, name) for name in chaining.EDITABLE})


class Chains(Resource):
    tag = "Chains"

    @operation(
        "Chains before and behind a sync",
        scope=Scope.READ,
        permission="syncs.view_syncchain",
        shape=ChainShape,
        is_page=True,
        description="Those between syncs that you see.",
    )
    def list(self, request: Request, sync_id: str) -> Response:
        return self.paged(request, self._rows(request, sync_id), order=("id",))

    @operation(
        "Have a sync run after another one",
        scope=Scope.WRITE,
        permission="syncs.add_syncchain",
        takes=NewChainShape,
        shape=ChainShape,
        status=201,
        can_refuse=True,
        example={"after_id": 3, "when": "delivered"},
        description="A circle is refused, with the way round. Runs of chosen rows and reprocesses fire nothing.",
    )
    def create(self, request: Request, sync_id: str) -> Response:
        user, given = user_of(request), self.given
        sync = self._sync(request, sync_id)
        after = access.scoped(Sync.objects.filter(pk=given["after_id"]), user, by="pk").first()
        if after is None:
            raise InvalidError([Issue("after_id", "No sync of that number is here that you may see.")])
        chain = chaining.add(sync, after=after, when=given["when"], is_enabled=given["is_enabled"], by=user, door=API)
        return self.one(request, chain, etag=etag_of(chain), location=f"/api/v1/syncs/{sync.pk}/chains/{chain.pk}")

    @operation("One chain", scope=Scope.READ, permission="syncs.view_syncchain", shape=ChainShape, has_etag=True)
    def retrieve(self, request: Request, sync_id: str, id: str) -> Response:
        chain = self.find(self._rows(request, sync_id), id)
        return self.one(request, chain, etag=etag_of(chain))

    @operation(
        "Change a chain, switch it on or off",
        scope=Scope.WRITE,
        permission="syncs.change_syncchain",
        takes=ChainEditShape,
        shape=ChainShape,
        has_etag=True,
        needs_match=True,
        can_refuse=True,
        example={"is_enabled": False},
    )
    def partial_update(self, request: Request, sync_id: str, id: str) -> Response:
        with self.edited(request, self._rows(request, sync_id), id, etag_of) as chain:
            chain = chaining.change(chain, by=user_of(request), door=API, **self.given)
        return self.one(request, chain, etag=etag_of(chain))

    @operation(
        "Delete a chain", scope=Scope.WRITE, permission="syncs.delete_syncchain", status=204, needs_match=True, can_refuse=True
    )
    def destroy(self, request: Request, sync_id: str, id: str) -> Response:
        with self.edited(request, self._rows(request, sync_id), id, etag_of) as chain:
            chaining.delete(chain, by=user_of(request), door=API)
        return self.nothing()

    @action(detail=True, methods=["get"])
    @operation(
        "What a chain has answered, newest first",
        scope=Scope.READ,
        permission="syncs.view_syncchain",
        shape=ChainFiringShape,
        is_page=True,
    )
    def firings(self, request: Request, sync_id: str, id: str) -> Response:
        chain = self.find(self._rows(request, sync_id), id)
        return self.paged(request, ChainFiring.objects.filter(chain=chain), order=("-id",))

    def _sync(self, request: Request, sync_id: str) -> Any:
        return self.find(access.scoped(Sync.objects.all(), user_of(request), by="pk"), sync_id, "No sync of that number")

    def _rows(self, request: Request, sync_id: str) -> QuerySet[SyncChain]:
        sync = self._sync(request, sync_id)
        return chaining.seen_by(user_of(request)).filter(Q(sync=sync) | Q(after=sync))
