"""What connections look like to programs."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from syncs.choices import ConnectionRole, ConnectionState, Scope
from syncs.models import Connection
from syncs.rest.rights import has_scope
from syncs.rest.shapes import Id, Shape, StrictText
from syncs.services import connection_kinds, connection_reading
from syncs.services.connection_tests import LastTest

_ROLES, _STATES = list(ConnectionRole), list(ConnectionState)


class ConnectionShape(Shape):
    id = serializers.IntegerField()
    role = serializers.ChoiceField(_ROLES)
    kind = serializers.CharField(help_text="One of `/connection-kinds`.")
    kind_label = serializers.SerializerMethodField()
    name = serializers.CharField()
    description = serializers.CharField()
    state = serializers.ChoiceField(_STATES, help_text="What the last check said; `reauthorize`: a person must log in again.")
    state_message = serializers.CharField()
    checked_at = serializers.DateTimeField(allow_null=True)
    credential_expires_at = serializers.DateTimeField(allow_null=True, help_text="As far as it is known.")
    authorized_at = serializers.DateTimeField(allow_null=True, help_text="When a person logged in at the destination last.")
    authorized_by = serializers.SerializerMethodField(help_text="Who; a user name.")
    sync_count = serializers.IntegerField(help_text="Syncs that use it, are not archived, and that you may see.")
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()

    def get_kind_label(self, connection: Connection) -> str:
        return connection_kinds.kind_label(connection.role, connection.kind)

    def get_authorized_by(self, connection: Connection) -> str | None:
        return connection.authorized_by.get_username() if connection.authorized_by else None


class SecretShape(Shape):
    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    is_required = serializers.BooleanField()
    is_set = serializers.BooleanField(help_text="The value itself never comes out.")


class PhaseShape(Shape):
    name = serializers.CharField()
    milliseconds = serializers.FloatField()


class FactShape(Shape):
    name = serializers.CharField()
    text = serializers.CharField()


class ConnectionCheckShape(Shape):
    at = serializers.DateTimeField()
    by = serializers.CharField(help_text="A user name; empty: Redrive itself.")
    is_ok = serializers.BooleanField()
    message = serializers.CharField()
    remedy = serializers.CharField()
    milliseconds = serializers.FloatField()
    phases = serializers.SerializerMethodField()
    details = serializers.SerializerMethodField()

    @extend_schema_field(PhaseShape(many=True))
    def get_phases(self, test: LastTest) -> list[dict[str, Any]]:
        return [{"name": name, "milliseconds": took} for name, took, _share in test.phases]

    @extend_schema_field(FactShape(many=True))
    def get_details(self, test: LastTest) -> list[dict[str, Any]]:
        return [{"name": name, "text": text} for name, text in test.details]


class ConnectionDetailShape(ConnectionShape):
    config = serializers.SerializerMethodField(
        help_text="Its settings, as its kind declares them; null without `syncs.change_connection` and the scope `admin`."
    )
    secrets = serializers.SerializerMethodField(help_text="Which are set; null where `config` is.")
    can_log_in = serializers.SerializerMethodField(help_text="A person logs in at the destination: `POST .../login`.")
    problem = serializers.SerializerMethodField(help_text="Why it cannot be used here; empty: nothing is known against it.")
    warning = serializers.SerializerMethodField(help_text="That its credential ends soon; empty: it does not.")
    last_check = serializers.SerializerMethodField()

    def get_config(self, connection: Connection) -> dict[str, Any] | None:
        return dict(connection.config or {}) if self._may_read else None

    @extend_schema_field(SecretShape(many=True, allow_null=True))
    def get_secrets(self, connection: Connection) -> Any:
        return SecretShape(connection_reading.secrets(connection), many=True).data if self._may_read else None

    def get_can_log_in(self, connection: Connection) -> bool:
        return connection_reading.can_log_in(connection)

    def get_problem(self, connection: Connection) -> str:
        return connection_reading.problem(connection)

    def get_warning(self, connection: Connection) -> str:
        return connection_reading.warning(connection)

    @extend_schema_field(ConnectionCheckShape(allow_null=True))
    def get_last_check(self, connection: Connection) -> Any:
        test = connection_reading.last_test(connection)
        return None if test is None else ConnectionCheckShape(test).data

    @property
    def _may_read(self) -> bool:
        request = self.context["request"]
        return has_scope(request, Scope.ADMIN) and connection_reading.may_read_settings(request.user)


class _Written(Shape):
    description = StrictText(required=False, allow_blank=True)
    config = serializers.DictField(
        required=False, help_text="Settings by name, as `/connection-kinds` lists them; null takes one away."
    )
    secrets = serializers.DictField(
        child=StrictText(allow_null=True, allow_blank=False, trim_whitespace=False, max_length=100_000),
        required=False,
        help_text="New values by name; null takes one away, and one that is not named stays. None ever comes out.",
    )
    expires_on = serializers.DateField(
        required=False, allow_null=True, help_text="When a key or token ends, where you know it: Redrive warns before."
    )


class NewConnectionShape(_Written):
    role = serializers.ChoiceField(_ROLES)
    kind = StrictText(max_length=40)
    preset = StrictText(required=False, max_length=80, help_text="Of `/connection-presets`: settings to begin with.")
    name = StrictText(max_length=120)


class ConnectionEditShape(_Written):
    name = StrictText(max_length=120, required=False)


class LoginShape(Shape):
    url = serializers.CharField(help_text="To be opened in a browser. It holds no token.")
    opens = serializers.ChoiceField(
        [("destination", "The destination's login"), ("console", "The connection's page in the console")],
        help_text="With a key the way leads over the console, since the login is bound to the browser session that began it.",
    )
    host = serializers.CharField(help_text="Of the destination, where the login is.")
    scope = serializers.CharField(help_text="What is asked for there.")
    redirect_uri = serializers.CharField(help_text="The way back, as the destination must know it.")
    expires_in = serializers.IntegerField(help_text="Seconds to complete the login, once it began.")


class LimitShape(Shape):
    objects = serializers.ListField(child=serializers.CharField(), help_text="Objects that share these limits.")
    lines = FactShape(many=True)


class BudgetShape(Shape):
    used = serializers.IntegerField(help_text="Calls taken in the window that is open now.")
    limit = serializers.IntegerField()
    window_seconds = serializers.FloatField()


class ConnectionLimitsShape(Shape):
    limits = LimitShape(many=True)
    budget = BudgetShape(allow_null=True, help_text="Of requests, shared by every run through the connection.")
    hidden_count = serializers.IntegerField(help_text="Objects that were not looked at.")
    problem = serializers.CharField(help_text="Why the settings tell nothing; empty: they do.")


class ConnectionHealthShape(Shape):
    run_count = serializers.IntegerField()
    failed_count = serializers.IntegerField()
    call_count = serializers.IntegerField()
    retry_count = serializers.IntegerField()
    accepted_count = serializers.IntegerField()
    dead_lettered_count = serializers.IntegerField()
    wait_count = serializers.IntegerField(help_text="How often runs waited, for rate limits and open breakers.")
    wait_seconds = serializers.FloatField()
    is_capped = serializers.BooleanField(help_text="There were more runs than are looked at.")


class ConnectionEventShape(Shape):
    id = Id()
    at = serializers.DateTimeField()
    actor = serializers.SerializerMethodField(help_text="A user name; null: nobody, see `door`.")
    door = serializers.CharField(help_text="admin, api, cli or system.")
    act = serializers.CharField()
    detail = serializers.SerializerMethodField(help_text="What changed: name -> [before, after]; secrets by their names alone.")

    def get_actor(self, event: Any) -> str | None:
        return event.actor.get_username() if event.actor else None

    def get_detail(self, event: Any) -> dict[str, Any]:
        return {name: value for name, value in event.detail.items() if name != "sync_count"}  # of every team
