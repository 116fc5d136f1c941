"""What one person is told of, as the API gives and takes it."""

from __future__ import annotations

from rest_framework import serializers

from monitoring.api.base import Word
from monitoring.choices import Digest, Event, Severity
from syncs.choices import SyncStatus
from syncs.rest.shapes import Id, Shape, StrictBoolean, StrictInteger, StrictText


class Clock(serializers.RegexField):
    """A time of the day: ``22:00``."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__(r"^([01][0-9]|2[0-3]):[0-5][0-9]$", allow_null=True, **kwargs)  # type: ignore[arg-type]

    def to_internal_value(self, data: object) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class SubscriptionChoiceShape(Shape):
    """A notice in the console comes at once in any case."""

    is_active = StrictBoolean(help_text="Whether one is told of these at all.")
    min_severity = Word(Severity, help_text="From this on.")
    by_email = StrictBoolean(help_text="To one's own address.")
    channel_id = Id(allow_null=True, help_text="A channel beside it; see `/subscriptions/channels`.")
    digest = Word(Digest)
    digest_hour = StrictInteger(min_value=0, max_value=23, help_text="Of a digest, in the time zone.")
    digest_weekday = StrictInteger(min_value=0, max_value=6, help_text="Of a weekly digest; 0 is Monday.")


class SubscriptionsShape(Shape):
    owned = SubscriptionChoiceShape(help_text="Of syncs that one owns, and where one stands in for the owner.")
    watched = SubscriptionChoiceShape(help_text="Of syncs that one watches.")
    all = SubscriptionChoiceShape(help_text="Of all syncs that one may see, and of Redrive itself.")
    timezone = StrictText(max_length=64, help_text="For example Europe/Berlin.")
    quiet_from = Clock(help_text="Quiet hours: both times, or neither.")
    quiet_until = Clock()
    quiet_lets_through = Word(Severity, help_text="As grave as this comes all the same.")
    fallback_id = Id(allow_null=True, help_text="A channel for what is kept back; null: it waits for the end.")


class ConcernedSyncShape(Shape):
    id = serializers.IntegerField()
    name = serializers.CharField()
    status = Word(SyncStatus)


class StandInSyncShape(Shape):
    id = serializers.IntegerField()
    name = serializers.CharField()
    reason = serializers.CharField(help_text="Why one is told in the owner's place.")


class SeverityCountShape(Shape):
    severity = Word(Severity)
    count = serializers.IntegerField()


class LastWeekShape(Shape):
    owned = SeverityCountShape(many=True)
    watched = SeverityCountShape(many=True)
    all = SeverityCountShape(many=True)


class ConcernedShape(Shape):
    owned = ConcernedSyncShape(many=True)
    watched = ConcernedSyncShape(many=True)
    instead = StandInSyncShape(many=True)
    last_week = LastWeekShape(help_text="Incidents of 7 days that each choice would have told of.")


class PersonalChannelShape(Shape):
    id = serializers.IntegerField()
    name = serializers.CharField()
    kind = serializers.CharField()
    is_enabled = serializers.BooleanField()


class ToldLineShape(Shape):
    name = serializers.CharField()
    how = serializers.CharField(help_text="What makes them hear of it.")
    severity = serializers.CharField(help_text="From this on, in words.")
    places = serializers.CharField(help_text="Beside the console; may be empty.")


class AudienceShape(Shape):
    is_watching = serializers.BooleanField(help_text="Whether you watch it.")
    watcher_count = serializers.IntegerField()
    told = ToldLineShape(many=True)
    instead = serializers.CharField(help_text="Why the owner is not among them, and who is told instead; may be empty.")


class NoticeShape(Shape):
    id = serializers.IntegerField()
    event = Word(Event)
    severity = Word(Severity)
    title = serializers.CharField()
    text = serializers.CharField()
    url = serializers.CharField(help_text="Within the console; may be empty.")
    incident_id = serializers.IntegerField(allow_null=True)
    sync_id = serializers.IntegerField(allow_null=True)
    created_at = serializers.DateTimeField()
    read_at = serializers.DateTimeField(allow_null=True)


class ReadNoticesShape(Shape):
    up_to = Id(help_text="The newest notice that was shown; it and all before it are read.")


class UnreadShape(Shape):
    unread_count = serializers.IntegerField()
