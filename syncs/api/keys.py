"""API keys: one's own, and for who manages them everybody's."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from syncs.choices import KeyState, Scope, labelled
from syncs.connectors import Issue
from syncs.models import ApiKey
from syncs.rest.filters import FlagFilter, IdFilter, StrictFilterSet, WordsFilter
from syncs.rest.operations import operation
from syncs.rest.problems import InvalidError, RefusedError
from syncs.rest.resources import Resource, user_of
from syncs.rest.shapes import Id, Shape, StrictInteger, StrictText
from syncs.services import api_keys, service_accounts
from syncs.services.api_keys import Shown

API = "api"
_ADDRESS = "/api/v1/keys"
_SCOPES = [(scope.value, scope.value) for scope in Scope]


class KeyOwnerShape(Shape):
    id = serializers.IntegerField(read_only=True)
    username = serializers.CharField(read_only=True, source="get_username")
    is_service_account = serializers.SerializerMethodField()

    def get_is_service_account(self, user: Any) -> bool:
        return getattr(user, "service_account", None) is not None


class KeyShape(Shape):
    """A key without its secret, which nobody can read again."""

    id = serializers.IntegerField(read_only=True)
    name = serializers.CharField(read_only=True)
    prefix = serializers.CharField(read_only=True, help_text="The key begins with `rd_<prefix>_`; the audit log names it.")
    owner = KeyOwnerShape(read_only=True, source="user")
    scopes = serializers.ListField(child=serializers.ChoiceField(choices=_SCOPES), read_only=True)
    state = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField(read_only=True)
    created_by = serializers.CharField(read_only=True, allow_null=True, source="created_by.username", default=None)
    expires_at = serializers.DateTimeField(read_only=True, allow_null=True, help_text="Null: it never ends.")
    last_used_at = serializers.DateTimeField(read_only=True, allow_null=True, help_text="To the minute.")
    last_used_from = serializers.CharField(read_only=True, allow_null=True, help_text="The address it was used from last.")
    revoked_at = serializers.DateTimeField(read_only=True, allow_null=True)
    revoked_by = serializers.CharField(read_only=True, allow_null=True, source="revoked_by.username", default=None)
    rotated_from = serializers.IntegerField(
        read_only=True, allow_null=True, source="rotated_from_id", help_text="The key whose place it takes."
    )
    replaced_by = serializers.IntegerField(read_only=True, allow_null=True, help_text="The key that takes its place.")

    @extend_schema_field(serializers.ChoiceField(choices=labelled(KeyState)))
    def get_state(self, key: ApiKey) -> str:
        return api_keys.state_of(key, timezone.now()).value


class NewKeyShape(Shape):
    name = StrictText(max_length=120, help_text="What it is for.")
    scopes = serializers.ListField(child=serializers.ChoiceField(choices=_SCOPES), min_length=1, max_length=len(_SCOPES))
    expires_in_days = StrictInteger(
        min_value=1,
        max_value=api_keys.DAYS_MOST,
        required=False,
        allow_null=True,
        help_text=f"{api_keys.DAYS} unless you say otherwise. Null: it never ends, which only a key of a service account may.",
    )
    service_account_id = Id(required=False, allow_null=True, help_text="Whose key it is to be; without it, your own.")


class RotationShape(Shape):
    overlap_hours = StrictInteger(
        min_value=0,
        max_value=api_keys.OVERLAP_MOST,
        required=False,
        help_text=f"How long the key before stays good: {api_keys.OVERLAP_HOURS} unless you say otherwise; 0: it leaked.",
    )


class MadeKeyShape(Shape):
    key = serializers.CharField(read_only=True, source="text", help_text="Shown this once. Send it as `Authorization: Bearer`.")
    id = serializers.IntegerField(read_only=True, source="row.pk")
    about = KeyShape(read_only=True, source="row")


class KeyFilters(StrictFilterSet):
    state = WordsFilter(choices=[(state.value, state.value) for state in KeyState], method="in_states")
    owner = IdFilter(field_name="user_id")
    is_service_account = FlagFilter(method="of_accounts")

    def in_states(self, rows: QuerySet[ApiKey], name: str, value: list[str]) -> QuerySet[ApiKey]:
        return rows.filter(api_keys.in_states(value, timezone.now())) if value else rows

    def of_accounts(self, rows: QuerySet[ApiKey], name: str, value: bool) -> QuerySet[ApiKey]:
        return rows.filter(user__service_account__isnull=not value)


_MADE_EXAMPLE = {"name": "Airflow, production", "scopes": ["read", "run"], "expires_in_days": 90}


class Keys(Resource):
    tag = "API keys"

    @operation(
        "API keys, the newest first",
        scope=Scope.READ,
        permission="syncs.view_apikey",
        shape=KeyShape,
        filters=KeyFilters,
        is_page=True,
        orders={"-id": ("-id",), "id": ("id",)},
        description="One's own; everybody's for who manages them (`syncs.delete_apikey`).",
    )
    def list(self, request: Request) -> Response:
        user = user_of(request)
        return self.paged(request, KeyFilters.of(request.query_params, api_keys.seen_by(user), user=user))

    @operation("One API key", scope=Scope.READ, permission="syncs.view_apikey", shape=KeyShape)
    def retrieve(self, request: Request, id: str) -> Response:
        return self.one(request, self.find(api_keys.seen_by(user_of(request)), id))

    @operation(
        "Make an API key",
        scope=Scope.ADMIN,
        permission="syncs.add_apikey",
        takes=NewKeyShape,
        shape=MadeKeyShape,
        status=201,
        can_refuse=True,
        example=_MADE_EXAMPLE,
        description=(
            "The answer has the key itself, once. One made with a key has at most that key's scopes, and ends no later than it."
        ),
    )
    def create(self, request: Request) -> Response:
        user = user_of(request)
        shown = api_keys.make(
            self._owner(request),
            name=self.given["name"],
            scopes=self.given["scopes"],
            days=self.given.get("expires_in_days", api_keys.DAYS),
            by=user,
            door=API,
            using=_using(request),
        )
        return self._made(request, shown)

    @action(detail=True, methods=["post"])
    @operation(
        "Rotate an API key",
        scope=Scope.ADMIN,
        permission="syncs.change_apikey",
        takes=RotationShape,
        shape=MadeKeyShape,
        status=201,
        can_refuse=True,
        example={"overlap_hours": 24},
        description="A new key in its place, shown once; the one before stays good for a while, so that its users change over.",
    )
    def rotate(self, request: Request, id: str) -> Response:
        user = user_of(request)
        key = self.find(api_keys.seen_by(user), id)
        hours = self.given.get("overlap_hours", api_keys.OVERLAP_HOURS)
        return self._made(request, api_keys.rotate(key, hours=hours, by=user, door=API, using=_using(request)))

    @action(detail=True, methods=["post"])
    @operation(
        "Revoke an API key",
        scope=Scope.ADMIN,
        permission="syncs.change_apikey",
        shape=KeyShape,
        can_refuse=True,
        description="It is refused from the next request on.",
    )
    def revoke(self, request: Request, id: str) -> Response:
        user = user_of(request)
        return self.one(request, api_keys.revoke(self.find(api_keys.seen_by(user), id), by=user, door=API))

    def _owner(self, request: Request) -> Any:
        number = self.given.get("service_account_id")
        if number is None:
            return user_of(request)
        if not self.may(request, "syncs.change_serviceaccount", Scope.ADMIN):
            raise RefusedError("Only who manages service accounts makes keys for them.")
        account = service_accounts.rows().filter(pk=number).first()
        if account is None:
            raise InvalidError([Issue("service_account_id", f"There is no service account {number}.")])
        return account.user

    def _made(self, request: Request, shown: Shown) -> Response:
        row = api_keys.seen_by(user_of(request)).filter(pk=shown.key.pk).first() or shown.key
        return self.one(request, {"text": shown.text, "row": row}, location=f"{_ADDRESS}/{row.pk}")


def _using(request: Request) -> ApiKey | None:
    return request.auth if isinstance(request.auth, ApiKey) else None
