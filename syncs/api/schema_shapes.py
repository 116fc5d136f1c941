"""What a destination's objects, their fields and their changes look like to programs."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.core.validators import RegexValidator
from rest_framework import serializers

from syncs.choices import SchemaChangeKind, SchemaOrigin
from syncs.destinations.base import Field
from syncs.engine import schema_fields
from syncs.engine.schema_fit import MisfitKind
from syncs.models import SchemaChange, SchemaSnapshot
from syncs.rest.shapes import Id, Shape, StrictBoolean, StrictInteger, StrictText

_KINDS, _ORIGINS = list(SchemaChangeKind), list(SchemaOrigin)
PRINTED = r"^[^\x00-\x1f\x7f]+$"
_printed = RegexValidator(PRINTED, "It holds a control character. Take it out.")


class ObjectName(StrictText):
    """The name of an object of a destination, for example ``contacts``."""

    def __init__(self, **about: Any) -> None:
        super().__init__(**{"max_length": schema_fields.MAX_NAME, "validators": [_printed], **about})


class WatchShape(Shape):
    next_at = serializers.DateTimeField(help_text="When the fields are read next; they are read daily.")
    tried_at = serializers.DateTimeField(allow_null=True)
    problem = serializers.CharField(help_text="Why the last reading gave nothing; empty: it went well.")
    failed_count = serializers.IntegerField(help_text="In a row.")


class SchemaVersionShape(Shape):
    id = Id()
    object = serializers.CharField(source="object_name")
    number = serializers.IntegerField()
    origin = serializers.ChoiceField(_ORIGINS, help_text="Who said so: the destination, or a person.")
    taken_at = serializers.DateTimeField()
    seen_at = serializers.DateTimeField(help_text="When the fields were seen last as they are in it.")
    taken_by = serializers.SerializerMethodField(help_text="A user name; null: Redrive itself.")

    def get_taken_by(self, snapshot: SchemaSnapshot) -> str | None:
        return snapshot.taken_by.get_username() if snapshot.taken_by else None


class ConnectionObjectShape(Shape):
    name = serializers.CharField()
    version = SchemaVersionShape(source="snapshot", allow_null=True, help_text="The newest; null: its fields are not known.")
    watch = WatchShape(allow_null=True)
    sync_count = serializers.IntegerField(help_text="Of the syncs that you may see.")
    drifted_count = serializers.IntegerField(help_text="Of these, those whose mapping the destination's changes break.")


class ConnectionObjectsShape(Shape):
    objects = ConnectionObjectShape(many=True, source="lines")
    more_count = serializers.IntegerField(help_text="Objects that are not listed.")
    problem = serializers.CharField(help_text="Why the settings name no objects; empty: they do, or name none.")


class FieldShape(Shape):
    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    type = serializers.CharField(help_text="The destination's own word; empty: not known.")
    is_required = serializers.BooleanField()
    is_key = serializers.BooleanField(help_text="Records can be found by it.")
    is_writable = serializers.BooleanField()
    max_length = serializers.IntegerField(allow_null=True)
    options = serializers.ListField(child=serializers.CharField(), help_text="The values it takes; empty: any.")


class MisfitShape(Shape):
    kind = serializers.ChoiceField(list(MisfitKind))
    field = serializers.CharField()
    line = serializers.IntegerField(allow_null=True, help_text="Of the mapping, from 0; null: a line is lacking.")
    is_certain = serializers.BooleanField(help_text="Every row is refused; else it depends on the values.")
    message = serializers.CharField()
    remedy = serializers.CharField()


class SchemaChangeShape(Shape):
    id = Id()
    object = serializers.SerializerMethodField()
    version = serializers.SerializerMethodField(help_text="In which it was found.")
    at = serializers.SerializerMethodField(help_text="When it was found.")
    kind = serializers.ChoiceField(_KINDS)
    field = serializers.CharField()
    is_breaking = serializers.BooleanField(help_text="Rows that were taken before may be refused now.")
    before = serializers.JSONField(allow_null=True, help_text="A type, a length, a list of options; null: does not apply.")
    after = serializers.JSONField(allow_null=True)

    def get_object(self, change: SchemaChange) -> str:
        return change.snapshot.object_name

    def get_version(self, change: SchemaChange) -> int:
        return change.snapshot.number

    def get_at(self, change: SchemaChange) -> str:
        return str(serializers.DateTimeField().to_representation(change.snapshot.taken_at))


class UsedByShape(Shape):
    id = serializers.IntegerField(source="sync.pk")
    name = serializers.CharField(source="sync.name")
    broken = MisfitShape(many=True, help_text="What of its mapping the newest version breaks for certain.")


class ConnectionFieldsShape(Shape):
    object = serializers.CharField(source="name")
    version = SchemaVersionShape(source="snapshot", allow_null=True, help_text="Null: nobody has read or typed its fields yet.")
    newest_number = serializers.IntegerField(help_text="0: there is no version.")
    fields = FieldShape(many=True)  # type: ignore[assignment]
    field_count = serializers.IntegerField()
    match_count = serializers.IntegerField(help_text="Fields that hold `q`.")
    changes = SchemaChangeShape(many=True, help_text="Against the version before, at most 100; see `schema-changes`.")
    used_by = UsedByShape(many=True, help_text="Syncs that write to it and that you may see.")
    watch = WatchShape(allow_null=True)


class FieldsQueryShape(Shape):
    object = ObjectName(help_text="For example `contacts`.")
    version = serializers.IntegerField(
        required=False, min_value=1, max_value=99_999_999, help_text="An older one; without it the newest."
    )
    q = StrictText(required=False, max_length=100, help_text="Only fields that hold it in their name or label.")


class TypedFieldShape(Shape):
    name = ObjectName()
    label = StrictText(required=False, allow_blank=True, max_length=255)  # type: ignore[assignment]
    type = StrictText(
        required=False, allow_blank=True, max_length=schema_fields.MAX_TYPE, help_text="For example `string`; empty: not known."
    )
    is_required = StrictBoolean(required=False)
    is_key = StrictBoolean(required=False)
    is_writable = StrictBoolean(required=False)
    max_length = StrictInteger(required=False, allow_null=True, min_value=1, max_value=schema_fields.MAX_LENGTH)
    options = serializers.ListField(child=StrictText(max_length=255), required=False, max_length=schema_fields.MAX_OPTIONS)

    def to_internal_value(self, data: Any) -> Field:
        given = super().to_internal_value(data)
        return Field(**{**given, "options": tuple(dict.fromkeys(given.get("options", ())))})


class TypedFieldsShape(Shape):
    object = ObjectName()
    fields = TypedFieldShape(many=True, min_length=1, max_length=schema_fields.MAX_FIELDS)  # type: ignore[assignment, call-arg]

    def validate_fields(self, given: list[Field]) -> list[Field]:
        doubled = [name for name, count in Counter(field.name for field in given).items() if count > 1]
        if doubled:
            raise serializers.ValidationError(f"It names the field “{doubled[0][:80]}” twice.")
        return given


class ObjectShape(Shape):
    object = ObjectName(help_text="For example `contacts`.")


class NamedSyncShape(Shape):
    id = Id()
    name = serializers.CharField()


class SchemaRefreshShape(Shape):
    version = SchemaVersionShape()
    is_new = serializers.BooleanField(help_text="False: nothing has changed since that version.")
    field_count = serializers.IntegerField()
    changes = SchemaChangeShape(many=True)
    syncs = NamedSyncShape(many=True, help_text="Those that you may see and whose mapping is broken by the changes.")


class DriftedSyncShape(Shape):
    id = Id(help_text="Of the sync; its report is at `/syncs/{id}/drift`.")
    name = serializers.CharField()
    object = serializers.CharField(source="destination_object")
    drift_since = serializers.DateTimeField()
    drift_reason = serializers.CharField()
    is_held = serializers.BooleanField(help_text="Reprocess waits for a preview without problems.")
