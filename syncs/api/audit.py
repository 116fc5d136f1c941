"""The audit log."""

from __future__ import annotations

import django_filters as df
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from syncs.choices import AuditDoor, Scope
from syncs.rest.filters import IdFilter, StrictFilterSet, TimeFilter, WordsFilter
from syncs.rest.operations import operation
from syncs.rest.resources import Resource, user_of
from syncs.rest.shapes import Shape
from syncs.services import audit

_DOORS = [(door.value, door.value) for door in AuditDoor]


class AuditActorShape(Shape):
    id = serializers.IntegerField(read_only=True)
    username = serializers.CharField(read_only=True)


class AuditEventShape(Shape):
    id = serializers.IntegerField(read_only=True)
    at = serializers.DateTimeField(read_only=True)
    actor = AuditActorShape(read_only=True, allow_null=True, help_text="Null: nobody, or somebody who is gone.")
    door = serializers.ChoiceField(choices=_DOORS, read_only=True)
    act = serializers.CharField(read_only=True, help_text="A word such as `created`, `changed`, `archived`.")
    target_type = serializers.CharField(read_only=True, help_text="`sync`, `connection`, `apikey` ...")
    target_id = serializers.IntegerField(read_only=True)
    target_name = serializers.CharField(read_only=True, help_text="The name it had.")
    detail = serializers.DictField(
        read_only=True, help_text="Field -> [before, after], or what else explains it; `api_key`: the prefix of the key."
    )


class AuditFilters(StrictFilterSet):
    actor = IdFilter(field_name="actor_id")
    door = WordsFilter(choices=_DOORS)
    act = df.CharFilter(max_length=24)
    target_type = df.CharFilter(max_length=40)
    target_id = IdFilter()
    key = df.CharFilter(field_name="detail__api_key", max_length=12, label="The prefix of the API key that did it.")
    since = TimeFilter(field_name="at", lookup_expr="gte")
    until = TimeFilter(field_name="at", lookup_expr="lt")


class Audit(Resource):
    tag = "Audit log"

    @operation(
        "The audit log, the newest first",
        scope=Scope.READ,
        permission="syncs.view_auditevent",
        shape=AuditEventShape,
        filters=AuditFilters,
        is_page=True,
        orders={"-id": ("-id",), "id": ("id",)},
        description="Who changed what of the set-up: connections, syncs, rules, keys. Never a secret.",
    )
    def list(self, request: Request) -> Response:
        user = user_of(request)
        return self.paged(request, AuditFilters.of(request.query_params, audit.seen_by(user), user=user))

    @operation("One event of the audit log", scope=Scope.READ, permission="syncs.view_auditevent", shape=AuditEventShape)
    def retrieve(self, request: Request, id: str) -> Response:
        return self.one(request, self.find(audit.seen_by(user_of(request)), id))
