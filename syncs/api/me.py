"""Who calls, and what they may."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from syncs.api.people_shapes import TeamNameShape
from syncs.choices import Scope
from syncs.models import ApiKey
from syncs.rest.operations import operation
from syncs.rest.resources import Resource, user_of
from syncs.rest.shapes import Shape
from syncs.services import access, service_accounts


class MyKeyShape(Shape):
    id = serializers.IntegerField(read_only=True)
    name = serializers.CharField(read_only=True)
    prefix = serializers.CharField(read_only=True)
    expires_at = serializers.DateTimeField(read_only=True, allow_null=True)


class MeShape(Shape):
    id = serializers.IntegerField(read_only=True)
    username = serializers.CharField(read_only=True)
    name = serializers.CharField(read_only=True, help_text="Empty where nobody gave one.")
    is_service_account = serializers.BooleanField(read_only=True)
    roles = serializers.ListField(child=serializers.CharField(), read_only=True)
    permissions = serializers.ListField(child=serializers.CharField(), read_only=True, help_text="As `app.codename`.")
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=[(scope.value, scope.value) for scope in Scope]),
        read_only=True,
        help_text="Of the key; somebody who is signed in to the console has all.",
    )
    sees_all_teams = serializers.BooleanField(read_only=True)
    teams = TeamNameShape(many=True, read_only=True)
    key = MyKeyShape(read_only=True, allow_null=True, help_text="Null: signed in to the console.")


class Me(Resource):
    tag = "Callers"

    @operation("Who you are and what you may", scope=Scope.READ, shape=MeShape, name="me_get")
    def list(self, request: Request) -> Response:
        return self.one(request, _about(user_of(request), request.auth))


def _about(user: User, auth: Any) -> dict[str, Any]:
    key = auth if isinstance(auth, ApiKey) else None
    return {
        "id": user.pk,
        "username": user.get_username(),
        "name": user.get_full_name(),
        "is_service_account": service_accounts.is_one(user),
        "roles": list(user.groups.order_by("name").values_list("name", flat=True)),
        "permissions": sorted(user.get_all_permissions()),
        "scopes": list(key.scopes) if key else [scope.value for scope in Scope],
        "sees_all_teams": user.has_perm(access.SEES_ALL),
        "teams": list(user.teams.order_by("name")),
        "key": key,
    }
