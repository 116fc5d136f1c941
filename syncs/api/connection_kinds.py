"""Kinds of connection with the settings that each takes, and presets to begin with."""

from __future__ import annotations

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from syncs.choices import ConnectionRole, Scope
from syncs.connectors import ConfigField
from syncs.rest.operations import operation
from syncs.rest.resources import Resource
from syncs.rest.shapes import Shape
from syncs.services import connection_kinds, presets

_TYPES = [(name, name) for name in ("text", "integer", "boolean", "choice", "json", "secret")]


class SettingShape(Shape):
    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    type = serializers.ChoiceField(_TYPES, help_text="`secret`: belongs into `secrets`, all others into `config`.")
    is_required = serializers.BooleanField()
    help = serializers.CharField()
    default = serializers.JSONField(allow_null=True)
    choices = serializers.SerializerMethodField(help_text="The values that a `choice` may have.")

    def get_choices(self, field: ConfigField) -> list[str]:
        return [value for value, _label in field.choices]


class ConnectionKindShape(Shape):
    role = serializers.ChoiceField(list(ConnectionRole))
    kind = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    is_usable = serializers.BooleanField()
    problem = serializers.CharField(help_text="Why it is not usable here, for example a package that is not installed.")
    settings = SettingShape(many=True, source="fields")


class ConnectionPresetShape(Shape):
    name = serializers.CharField()
    title = serializers.CharField()
    like = serializers.CharField(help_text="APIs that answer in this way.")
    summary = serializers.CharField()
    config = serializers.DictField()


class ConnectionKinds(Resource):
    tag = "Connections"

    @operation(
        "Kinds of connection, and their settings",
        scope=Scope.READ,
        permission="syncs.view_connection",
        shape=ConnectionKindShape,
        is_list=True,
    )
    def list(self, request: Request) -> Response:
        return self.listed(request, connection_kinds.described())


class ConnectionPresets(Resource):
    tag = "Connections"

    @operation(
        "Settings to begin with, for destinations of the kind http",
        scope=Scope.READ,
        permission="syncs.add_connection",
        shape=ConnectionPresetShape,
        is_list=True,
    )
    def list(self, request: Request) -> Response:
        return self.listed(request, presets.offered()[0])
