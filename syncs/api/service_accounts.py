"""Service accounts: users for machines."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from syncs.api.people_shapes import TeamNameShape
from syncs.choices import Scope
from syncs.models import ServiceAccount
from syncs.rest.operations import operation
from syncs.rest.resources import Resource, user_of
from syncs.rest.shapes import Id, Shape, StrictBoolean, StrictText
from syncs.services import service_accounts
from syncs.services.service_accounts import ABOUT_MOST, NAME_MOST, Wanted

API = "api"
_MANY = 100


class ServiceAccountShape(Shape):
    id = serializers.IntegerField(read_only=True)
    user_id = serializers.IntegerField(read_only=True, help_text="The user that it is; acts and the audit log name that one.")
    name = serializers.CharField(read_only=True, source="user.username")
    description = serializers.CharField(read_only=True)
    is_active = serializers.BooleanField(read_only=True, source="user.is_active", help_text="False: its keys are refused.")
    roles = serializers.SerializerMethodField()
    teams = TeamNameShape(many=True, read_only=True, source="user.teams")
    key_count = serializers.IntegerField(read_only=True, help_text="Keys that are good.")
    last_used_at = serializers.DateTimeField(read_only=True, allow_null=True, help_text="When any of its keys was used last.")
    created_at = serializers.DateTimeField(read_only=True)
    created_by = serializers.CharField(read_only=True, allow_null=True, source="created_by.username", default=None)

    def get_roles(self, account: ServiceAccount) -> list[str]:
        return [group.name for group in account.user.groups.all()]


class ServiceAccountChangeShape(Shape):
    description = StrictText(max_length=ABOUT_MOST, required=False, allow_blank=True)
    roles = serializers.ListField(
        child=StrictText(max_length=150), required=False, max_length=_MANY, help_text="Names, for example `Operator`."
    )
    team_ids = serializers.ListField(child=Id(), required=False, max_length=_MANY)
    is_active = StrictBoolean(required=False)


class NewServiceAccountShape(ServiceAccountChangeShape):
    name = StrictText(max_length=NAME_MOST, help_text="Letters, digits and `@ . + - _`; no person may have it.")


def etag_of(account: ServiceAccount) -> str:
    return f'"{service_accounts.stamp(service_accounts.held(account))}"'


class ServiceAccounts(Resource):
    tag = "Service accounts"

    @operation(
        "Service accounts, by number",
        scope=Scope.READ,
        permission="syncs.view_serviceaccount",
        shape=ServiceAccountShape,
        is_page=True,
    )
    def list(self, request: Request) -> Response:
        return self.paged(request, service_accounts.rows(), order=("id",))

    @operation(
        "One service account",
        scope=Scope.READ,
        permission="syncs.view_serviceaccount",
        shape=ServiceAccountShape,
        has_etag=True,
    )
    def retrieve(self, request: Request, id: str) -> Response:
        account = self.find(service_accounts.rows(), id)
        return self.one(request, account, etag=etag_of(account))

    @operation(
        "Set up a service account",
        scope=Scope.ADMIN,
        permission="syncs.add_serviceaccount",
        takes=NewServiceAccountShape,
        shape=ServiceAccountShape,
        status=201,
        can_refuse=True,
        example={"name": "airflow", "description": "Runs the nightly syncs", "roles": ["Operator"], "team_ids": []},
        description="It may at most what you may. It has no password and never signs in; make a key for it.",
    )
    def create(self, request: Request) -> Response:
        wanted = self._wanted(Wanted("", (), ()))
        account = service_accounts.create(self.given["name"], wanted, by=user_of(request), door=API)
        return self.one(request, account, etag=etag_of(account), location=f"/api/v1/service-accounts/{account.pk}")

    @operation(
        "Change a service account",
        scope=Scope.ADMIN,
        permission="syncs.change_serviceaccount",
        takes=ServiceAccountChangeShape,
        shape=ServiceAccountShape,
        has_etag=True,
        needs_match=True,
        can_refuse=True,
        example={"is_active": False},
    )
    def partial_update(self, request: Request, id: str) -> Response:
        with self.edited(request, ServiceAccount.objects.all(), id, lambda row: etag_of(_whole(row))) as row:
            account = _whole(row)
            wanted = self._wanted(service_accounts.held(account))
            account = service_accounts.change(account, wanted, by=user_of(request), door=API)
        return self.one(request, account, etag=etag_of(account))

    def _wanted(self, before: Wanted) -> Wanted:
        given = self.given
        return Wanted(
            description=given.get("description", before.description),
            roles=tuple(given.get("roles", before.roles)),
            teams=tuple(given.get("team_ids", before.teams)),
            is_active=given.get("is_active", before.is_active),
        )


def _whole(row: Any) -> ServiceAccount:
    return service_accounts.rows().get(pk=row.pk)
