"""What trying one record looks like to programs."""

from __future__ import annotations

import json
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from syncs.errors import ErrorType
from syncs.records import Operation, RecordState, Signal
from syncs.rest.shapes import Id, Shape, StrictText
from syncs.services.trial_rows import TrialRow

_OPERATIONS = list(Operation)


class NewTrialShape(Shape):
    object = StrictText(max_length=255, help_text="For example `contacts`; one of the connection's objects.")
    operation = serializers.ChoiceField(_OPERATIONS)
    payload = serializers.DictField(allow_empty=False, help_text="The record, as the mapping of a sync would make it.")
    key = StrictText(
        required=False, allow_blank=True, max_length=255, help_text="The row key; without it the first value of the payload."
    )
    key_fields = serializers.ListField(
        child=StrictText(max_length=255), required=False, max_length=50, help_text="By which the destination finds its record."
    )


class TakenTrialShape(Shape):
    sync = Id(help_text="One that writes through this connection.")
    key = StrictText(max_length=255, help_text="The row key of the row to take.")


class TokenShape(Shape):
    token = StrictText(max_length=400_000, help_text="Of a rehearsal.")


class TrialDraftShape(Shape):
    object = serializers.CharField(source="object_name")
    operation = serializers.ChoiceField(_OPERATIONS)
    key = serializers.CharField()
    payload = serializers.DictField()
    key_fields = serializers.SerializerMethodField()

    def get_key_fields(self, draft: Any) -> list[str]:
        return list(draft.options.get("key_fields", []))


class HeaderShape(Shape):
    name = serializers.CharField()
    value = serializers.CharField(help_text="Secrets are masked.")


class TrialCallShape(Shape):
    line = serializers.CharField(help_text="For example `POST https://api.example.com/contacts`.")
    headers = serializers.SerializerMethodField()
    body = serializers.CharField(help_text="At most its first 20,000 bytes.")
    body_bytes = serializers.IntegerField()
    is_withheld = serializers.BooleanField(help_text="It would write, and was not made.")
    status = serializers.IntegerField(allow_null=True)
    answer_headers = serializers.SerializerMethodField()
    answer_body = serializers.CharField()
    answer_bytes = serializers.IntegerField()
    milliseconds = serializers.FloatField(allow_null=True)
    failure = serializers.CharField(help_text="Why there was no answer; empty: there was, or none was asked for.")

    @extend_schema_field(HeaderShape(many=True))
    def get_headers(self, call: Any) -> list[dict[str, str]]:
        return [{"name": name, "value": value} for name, value in call.headers]

    @extend_schema_field(HeaderShape(many=True))
    def get_answer_headers(self, call: Any) -> list[dict[str, str]]:
        return [{"name": name, "value": value} for name, value in call.answer_headers]


class RehearsalShape(Shape):
    draft = TrialDraftShape()
    calls = TrialCallShape(many=True, help_text="Up to the first that would write; what only reads was made.")
    has_calls = serializers.BooleanField(help_text="False: this kind does not show its calls.")
    token = serializers.CharField(help_text="Sends exactly this, once: `POST .../try`.")
    expires_in = serializers.IntegerField(help_text="Seconds that the token is good for.")


class TrialErrorShape(Shape):
    type = serializers.ChoiceField(list(ErrorType))
    code = serializers.CharField()
    field = serializers.CharField()
    message = serializers.CharField()
    is_permanent = serializers.BooleanField(source="permanent", help_text="A run would dead-letter the row; else try it again.")
    http_status = serializers.IntegerField(allow_null=True)
    remedy = serializers.CharField(source="type.info.remedy")


class FindingShape(Shape):
    what = serializers.CharField()
    text = serializers.CharField()
    is_good = serializers.BooleanField(allow_null=True, help_text="null: it says neither yes nor no.")


class RuleNameShape(Shape):
    id = Id()
    name = serializers.CharField()


class TrialShape(Shape):
    draft = TrialDraftShape()
    calls = TrialCallShape(many=True)
    has_calls = serializers.BooleanField()
    findings = FindingShape(many=True, help_text="How the answer was read.")
    signal = serializers.ChoiceField(list(Signal), help_text="What the answer says as a whole.")
    state = serializers.ChoiceField(
        list(RecordState),
        allow_null=True,
        help_text="What became of the record; null: see `signal`.",
    )
    detail = serializers.CharField(help_text="For example `created`, where the destination says so.")
    destination_id = serializers.CharField()
    error = TrialErrorShape(allow_null=True)
    retry_after = serializers.FloatField(allow_null=True, help_text="Seconds that the destination asked to wait.")
    job_id = serializers.CharField(help_text="The destination's name for a job that is not over; empty: there is none.")
    rule = RuleNameShape(allow_null=True, help_text="The error rule that decided.")


class TrialRowsQueryShape(Shape):
    sync = Id(help_text="One that writes through this connection.")


class TrialRowShape(Shape):
    key = serializers.CharField()
    payload = serializers.SerializerMethodField(help_text="Values of people are masked; null: the row cannot be sent.")
    problem = serializers.CharField()

    def get_payload(self, row: TrialRow) -> dict[str, Any] | None:
        return json.loads(row.shown) if row.shown else None
