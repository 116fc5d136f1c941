"""Channels and deliveries as the API gives and takes them. Secrets go in and never come out, but for the one that was made."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from monitoring.api.base import Word
from monitoring.channels.registry import CHANNEL_KINDS
from monitoring.choices import DeliveryState, Event, Severity
from monitoring.models import Delivery
from monitoring.services import delivery_list
from monitoring.services.channel_edit import OVERLAP_HOURS, OVERLAP_MOST
from monitoring.services.events import CHOOSABLE
from syncs.rest.shapes import Id, Shape, StrictInteger, StrictText

_KINDS = list(CHANNEL_KINDS)
_LONGEST = 4000


def _events(**about: object) -> serializers.ListField:
    one = serializers.ChoiceField(choices=[event.value for event in CHOOSABLE])
    return serializers.ListField(child=one, help_text="What webhooks are told beside incidents.", **about)  # type: ignore[arg-type]


def _setting(text: str) -> StrictText:
    return StrictText(required=False, allow_null=True, allow_blank=True, max_length=_LONGEST, help_text=text)


class ChannelConfigShape(Shape):
    """Of the kind; `/channel-kinds` says which. Null or empty takes one away, what is left out stays."""

    url = _setting("webhook, pagerduty")
    to = _setting("email: addresses with commas between")
    prefix = _setting("email: what the subject begins with")
    mention = _setting("slack: whom a page mentions")
    users = _setting("in_app: user names with commas between")


class ChannelSecretsShape(Shape):
    """Of the kind. Null takes one away, what is left out stays."""

    secret = _setting("webhook: whsec_ and base64; left out, one is made and shown once")
    authorization = _setting("webhook: sent as Authorization")
    webhook_url = _setting("slack, teams")
    routing_key = _setting("pagerduty")


class EditedChannelShape(Shape):
    name = StrictText(max_length=120)
    min_severity = Word(Severity, required=False, help_text="Milder messages do not go there. Left out: info.")
    owner_id = Id(required=False, allow_null=True, help_text="Left out: who makes it.")
    events = _events(required=False)
    config = ChannelConfigShape(required=False)
    secrets = ChannelSecretsShape(required=False, write_only=True)


class NewChannelShape(EditedChannelShape):
    kind = serializers.ChoiceField(choices=_KINDS)


class ChannelShape(Shape):
    id = serializers.IntegerField(source="channel.pk")
    name = serializers.CharField(source="channel.name")
    kind = serializers.ChoiceField(choices=_KINDS, source="channel.kind")
    min_severity = Word(Severity, source="channel.min_severity")
    events = _events(source="channel.events")
    is_enabled = serializers.BooleanField(source="channel.is_enabled")
    disabled_at = serializers.DateTimeField(source="channel.disabled_at", allow_null=True)
    disabled_reason = serializers.CharField(source="channel.disabled_reason")
    failed_count = serializers.IntegerField(source="channel.failed_count", help_text="Calls in a row that failed.")
    failing_since = serializers.DateTimeField(source="channel.failing_since", allow_null=True)
    last_delivered_at = serializers.DateTimeField(source="channel.last_delivered_at", allow_null=True)
    rotated_at = serializers.DateTimeField(source="channel.rotated_at", allow_null=True)
    overlap_until = serializers.DateTimeField(
        source="channel.overlap_until", allow_null=True, help_text="Until then the signing secret before signs as well."
    )
    owner_id = serializers.IntegerField(source="channel.owner_id", allow_null=True)
    owner = serializers.CharField(source="channel.owner.username", allow_null=True)
    rule_count = serializers.IntegerField(help_text="Alert rules that tell it.")
    people_count = serializers.IntegerField(help_text="Subscriptions that name it.")
    created_at = serializers.DateTimeField(source="channel.created_at")
    updated_at = serializers.DateTimeField(source="channel.updated_at")


class ChannelDetailShape(ChannelShape):
    config = serializers.DictField(child=serializers.CharField(), help_text="Its settings, without secrets.")
    secret_names = serializers.ListField(child=serializers.CharField(), help_text="Secrets that are set.")
    secrets_problem = serializers.CharField(
        source="problem", help_text="Why they cannot be opened, for example a lost key; empty where they can."
    )
    missed_count = serializers.IntegerField(help_text="Deliveries given up within 7 days, and not sent again.")


class CreatedChannelShape(ChannelDetailShape):
    signing_secret = serializers.CharField(allow_null=True, help_text="That was made for it: shown now and never again.")


class RotateChannelShape(Shape):
    hours = StrictInteger(
        min_value=0,
        max_value=OVERLAP_MOST,
        default=OVERLAP_HOURS,
        help_text="How long the secret before signs as well; 0: it stops at once.",
    )


class SigningSecretShape(Shape):
    signing_secret = serializers.CharField(help_text="Shown now and never again.")
    overlap_until = serializers.DateTimeField(allow_null=True)


class ChannelTestShape(Shape):
    is_delivered = serializers.BooleanField()
    http_status = serializers.IntegerField(allow_null=True)
    milliseconds = serializers.FloatField()
    error = serializers.CharField(help_text="Empty where it was delivered.")
    excerpt = serializers.CharField(help_text="The beginning of the answer, redacted.")


class RedeliveredShape(Shape):
    count = serializers.IntegerField(help_text="Messages that are sent again; at most 500 at once.")


class ChannelSettingShape(Shape):
    name = serializers.CharField()
    label_text = serializers.CharField(source="label")
    is_secret = serializers.BooleanField()
    is_required = serializers.BooleanField()
    text = serializers.CharField(source="help")
    default_value = serializers.CharField(source="default", allow_null=True)


class KindOfChannelShape(Shape):
    kind = serializers.ChoiceField(choices=_KINDS)
    name = serializers.CharField()
    text = serializers.CharField(source="help")
    settings = ChannelSettingShape(many=True)
    takes = serializers.ListField(child=Word(Event), help_text="Events that it can say.")
    events = _events()


# --- deliveries


class DeliveryShape(Shape):
    id = serializers.IntegerField()
    message_id = serializers.CharField(
        source="message.id", default="", help_text="The header webhook-id: the same at every attempt, and when sent again."
    )
    channel_id = serializers.IntegerField(allow_null=True, help_text="Null: an email to the person.")
    channel = serializers.CharField(source="channel.name", allow_null=True)
    user_id = serializers.IntegerField(allow_null=True, help_text="Whom it is for, where it goes to one person.")
    user = serializers.CharField(source="user.username", allow_null=True)
    event = Word(Event)
    severity = Word(Severity)
    title = serializers.CharField(source="message.title", default="")
    state = Word(DeliveryState)
    incident_id = serializers.IntegerField(allow_null=True)
    sync_id = serializers.IntegerField(allow_null=True)
    run_id = serializers.IntegerField(allow_null=True)
    attempt_count = serializers.IntegerField()
    last_error = serializers.CharField()
    not_before = serializers.DateTimeField()
    created_at = serializers.DateTimeField()
    delivered_at = serializers.DateTimeField(allow_null=True)
    resent_of_id = serializers.IntegerField(allow_null=True, help_text="The delivery that this one repeats.")


class DeliveryAttemptShape(Shape):
    at = serializers.CharField(help_text="ISO 8601.")
    milliseconds = serializers.FloatField(allow_null=True, default=None)
    http_status = serializers.IntegerField(allow_null=True, default=None)
    error = serializers.CharField(default="")
    excerpt = serializers.CharField(default="", help_text="Redacted.")


class DeliveryDetailShape(DeliveryShape):
    text = serializers.CharField(source="message.text", default="")
    facts = serializers.ListField(
        source="message.facts", child=serializers.ListField(), default=list, help_text="[label, value]"
    )
    links = serializers.ListField(
        source="message.links", child=serializers.ListField(), default=list, help_text="[label, address]"
    )
    body = serializers.SerializerMethodField(help_text="What a webhook's receiver gets, but for the signature.")
    attempts = DeliveryAttemptShape(many=True, help_text="Oldest first; the newest are kept.")

    def get_body(self, delivery: Delivery) -> dict[str, Any] | None:
        return delivery_list.body_of(delivery)
