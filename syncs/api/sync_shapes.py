"""Syncs and their mapping as JSON."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.fields import empty

from syncs import choices as c
from syncs.engine.mapping import MappingField
from syncs.models import Sync
from syncs.rest.shapes import Id, Shape, StrictBoolean, StrictInteger, StrictText
from syncs.services.mappings import MOST_LINES
from syncs.services.sync_edits import Wanted
from syncs.services.versions import MAPPING_FIELDS

_INTEGER, _SMALL = 2_147_483_647, 32_767  # what the columns hold
_COLUMN = r"^[^,]*\S[^,]*$"


class MappingLineShape(Shape):
    """One destination field and where its value comes from."""

    destination_field = StrictText(max_length=255, help_text="Dots nest (`address.city`); `[]` collects a list (`tags[]`).")
    kind = serializers.ChoiceField(list(c.MappingKind), default=c.MappingKind.COLUMN.value)
    column = StrictText(max_length=255, allow_blank=True, default="", help_text="Of the query, for the kind `column`.")
    constant = serializers.JSONField(allow_null=True, default=None, help_text="Any JSON, for the kind `constant`.")
    template = StrictText(
        max_length=20_000,
        allow_blank=True,
        trim_whitespace=False,
        default="",
        help_text="Liquid, for the kind `template`: `{{ first }} {{ last | upcase }}`.",
    )
    type = serializers.ChoiceField(list(c.FieldType), default=c.FieldType.STRING.value)
    options = serializers.DictField(default=dict, help_text="Per type: `max_length`, `scale`, `values` and others.")
    on_null = serializers.ChoiceField(list(c.OnNull), default=c.OnNull.NULL.value)
    default = serializers.JSONField(allow_null=True, default=None, help_text="Sent for NULL where `on_null` is `default`.")
    is_required = StrictBoolean(default=False)
    is_key = StrictBoolean(default=False, help_text="The destination finds its record by this field.")


class _Settings(Shape):
    """What is set up of a sync, apart from what must be named when it is made."""

    description = StrictText(allow_blank=True, max_length=20_000, default="")
    owner_id = Id(allow_null=True, default=None, help_text="The person who looks after it.")
    team_id = Id(allow_null=True, default=None, help_text="Who sees it and works on it; null: everybody who may see syncs.")
    tags = serializers.ListField(
        child=serializers.RegexField(r"^[-a-zA-Z0-9_]{1,40}$"),
        max_length=50,
        default=list,
        help_text="Names; a new one is made where you may name tags.",
    )
    destination_options = serializers.DictField(
        default=dict, help_text="Settings of the object beyond the connection's; usually empty."
    )
    mode = serializers.ChoiceField(list(c.SyncMode), default=c.SyncMode.UPSERT.value)
    detection = serializers.ChoiceField(list(c.Detection), default=c.Detection.CHANGED_ROWS.value)
    cursor_column = StrictText(max_length=120, allow_blank=True, default="", help_text="For the detection `watermark`.")
    cursor_overlap_seconds = StrictInteger(min_value=0, max_value=_INTEGER, default=300)
    on_mapping_error = serializers.ChoiceField(list(c.OnMappingError), default=c.OnMappingError.DEAD_LETTER.value)
    delete_guard_percent = StrictInteger(
        min_value=0, max_value=_SMALL, default=10, help_text="A mirror run that would delete more than both guards stops."
    )
    delete_guard_rows = StrictInteger(min_value=0, max_value=_INTEGER, default=1000)
    batch_records = StrictInteger(
        min_value=1, max_value=_INTEGER, allow_null=True, default=None, help_text="null: as many as the destination takes."
    )
    max_attempts = StrictInteger(min_value=1, max_value=_SMALL, default=5, help_text="Calls per batch.")
    retry_budget_seconds = StrictInteger(min_value=0, max_value=_INTEGER, default=900)
    breaker_threshold = StrictInteger(
        min_value=0, max_value=_SMALL, default=5, help_text="Whole-batch failures in a row that stop a run."
    )
    schedule_kind = serializers.ChoiceField(list(c.ScheduleKind), default=c.ScheduleKind.MANUAL.value)
    interval_minutes = StrictInteger(min_value=1, max_value=_INTEGER, allow_null=True, default=None)
    cron = StrictText(max_length=120, allow_blank=True, default="", help_text="Five fields, for example `15 6 * * 1-5`.")
    timezone = StrictText(max_length=64, default="UTC", help_text="An IANA name, for example `Europe/Berlin`.")
    overlap_policy = serializers.ChoiceField(
        list(c.OverlapPolicy), default=c.OverlapPolicy.SKIP.value, help_text="What a slot does while a run is live."
    )
    mappings = MappingLineShape(many=True, max_length=MOST_LINES, help_text="The whole mapping, in its order.")  # type: ignore[call-arg]


class SyncSettingsShape(_Settings):
    """A sync as somebody sets it up. Checked against the warehouse and the destination, as in the console."""

    name = StrictText(max_length=120)
    source_id = Id(help_text="A source connection.")
    query = StrictText(max_length=500_000, help_text="One SELECT; ordering and limits are added around it.")
    key_columns = serializers.ListField(
        child=serializers.RegexField(_COLUMN, max_length=255),
        min_length=1,
        max_length=20,
        help_text="Columns that together identify a row.",
    )
    destination_id = Id(help_text="A destination connection.")
    destination_object = StrictText(max_length=255, help_text="For example `contacts`, or `schema.table`.")

    def validate_key_columns(self, names: list[str]) -> list[str]:
        if len(",".join(names)) > 255:
            raise serializers.ValidationError("The names have more than 255 characters together.")
        return names


class NewSyncShape(SyncSettingsShape):
    is_paused = StrictBoolean(default=False, help_text="Wait to be resumed.")


class SyncChangeShape(SyncSettingsShape):
    """Only what is named is changed; `mappings` and `tags` are the whole list."""

    note = StrictText(max_length=255, allow_blank=True, default="", help_text="Kept with the new version.")


class SyncCheckShape(SyncSettingsShape):
    """What is not named stays as it is."""

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        for one in fields.values():
            one.required, one.default = False, empty
        return fields


class SyncRowShape(Shape):
    """A line of the list."""

    id = serializers.IntegerField(read_only=True)
    name = serializers.CharField()
    description = serializers.CharField()
    status = serializers.ChoiceField(list(c.SyncStatus))
    status_reason = serializers.CharField(help_text="Empty where it is healthy.")
    status_since = serializers.DateTimeField()
    is_paused = serializers.BooleanField()
    is_archived = serializers.BooleanField()
    owner_id = serializers.IntegerField(allow_null=True)
    owner_name = serializers.SerializerMethodField()
    team_id = serializers.IntegerField(allow_null=True)
    team_name = serializers.SerializerMethodField()
    tags = serializers.SerializerMethodField()
    source_id = serializers.IntegerField()
    source_name = serializers.CharField(source="source.name")
    destination_id = serializers.IntegerField()
    destination_name = serializers.CharField(source="destination.name")
    destination_object = serializers.CharField()
    mode = serializers.ChoiceField(list(c.SyncMode))
    schedule_kind = serializers.ChoiceField(list(c.ScheduleKind))
    next_run_at = serializers.DateTimeField(allow_null=True)
    last_run_id = serializers.IntegerField(allow_null=True, help_text="Skipped runs do not count.")
    last_run_status = serializers.ChoiceField(list(c.RunStatus), allow_null=True)
    last_run_at = serializers.DateTimeField(allow_null=True)
    open_count = serializers.IntegerField(help_text="Dead letters that wait or are being worked on.")
    updated_at = serializers.DateTimeField()

    def get_owner_name(self, sync: Sync) -> str | None:
        return sync.owner.get_username() if sync.owner else None

    def get_team_name(self, sync: Sync) -> str | None:
        return sync.team.name if sync.team else None

    def get_tags(self, sync: Any) -> list[str]:
        return sorted(filter(None, (sync.tag_names or "").split(",")))


class SyncShape(SyncRowShape):
    """Everything about a sync: what is set up, and how it stands."""

    query = serializers.CharField()
    key_columns = serializers.ListField(child=serializers.CharField(), source="key_column_list")
    destination_options = serializers.DictField()
    detection = serializers.ChoiceField(list(c.Detection))
    cursor_column = serializers.CharField()
    cursor_overlap_seconds = serializers.IntegerField()
    on_mapping_error = serializers.ChoiceField(list(c.OnMappingError))
    delete_guard_percent = serializers.IntegerField()
    delete_guard_rows = serializers.IntegerField()
    batch_records = serializers.IntegerField(allow_null=True)
    max_attempts = serializers.IntegerField()
    retry_budget_seconds = serializers.IntegerField()
    breaker_threshold = serializers.IntegerField()
    interval_minutes = serializers.IntegerField(allow_null=True)
    cron = serializers.CharField()
    timezone = serializers.CharField()
    overlap_policy = serializers.ChoiceField(list(c.OverlapPolicy))
    mappings = MappingLineShape(many=True)
    version = serializers.IntegerField(
        source="current_version.number", allow_null=True, default=None, help_text="Of the settings that runs use from now on."
    )
    paused_at = serializers.DateTimeField(allow_null=True)
    pause_reason = serializers.CharField()
    archived_at = serializers.DateTimeField(allow_null=True)
    drift_since = serializers.DateTimeField(
        allow_null=True, help_text="Since when a change of the destination waits for a clean preview."
    )
    drift_reason = serializers.CharField()
    approved_delete_count = serializers.IntegerField(allow_null=True, help_text="What the next run of a mirror may delete.")
    created_at = serializers.DateTimeField()


def wanted(given: dict[str, Any]) -> Wanted:
    """What somebody sent, as the service takes it."""
    values = {name: value for name, value in given.items() if name not in ("mappings", "tags", "is_paused", "note")}
    if "key_columns" in values:
        values["key_columns"] = ",".join(name.strip() for name in values["key_columns"])
    lines = [line_of(line) for line in given["mappings"]] if "mappings" in given else None
    return Wanted(values, lines, sorted(set(given["tags"])) if "tags" in given else None)


def line_of(given: dict[str, Any]) -> MappingField:
    return MappingField.from_snapshot({name: given[name] for name in MAPPING_FIELDS if name in given})
