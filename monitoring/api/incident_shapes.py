"""Incidents as the API gives and takes them."""

from __future__ import annotations

from rest_framework import serializers

from monitoring.api.base import Word
from monitoring.choices import Condition, IncidentEventKind, IncidentState, Severity
from monitoring.services.incident_acts import NOTE_MAX, REASON_MAX
from syncs.rest.shapes import Id, Shape, StrictText


class IncidentShape(Shape):
    id = serializers.IntegerField(source="incident.pk")
    title = serializers.CharField(source="incident.title")
    text = serializers.CharField(source="incident.text", help_text="What was measured against what, and what to do.")
    condition = Word(Condition, source="incident.condition")
    severity = Word(Severity, source="incident.severity")
    state = Word(IncidentState, source="incident.state")
    sync_id = serializers.IntegerField(source="incident.sync_id", allow_null=True, help_text="Null: it is about several syncs.")
    connection_id = serializers.IntegerField(source="incident.connection_id", allow_null=True, help_text="Whose fault it is.")
    group_id = serializers.IntegerField(source="incident.group_id", allow_null=True, help_text="An error group.")
    sync_names = serializers.ListField(
        source="names", child=serializers.CharField(), help_text="Of the first syncs that it affects and you may see."
    )
    sync_count = serializers.IntegerField(source="count", help_text="Syncs that it affects and you may see.")
    is_following = serializers.BooleanField(help_text="It follows from another incident, so nobody is told of it.")
    follower_count = serializers.IntegerField(source="followers")
    owner_id = serializers.IntegerField(source="incident.owner_id", allow_null=True)
    owner = serializers.CharField(source="incident.owner.username", allow_null=True)
    opened_at = serializers.DateTimeField(source="incident.opened_at")
    last_seen_at = serializers.DateTimeField(source="incident.last_seen_at")
    seen_count = serializers.IntegerField(source="incident.seen_count", help_text="Judgements that found it.")
    acknowledged_at = serializers.DateTimeField(source="incident.acknowledged_at", allow_null=True)
    acknowledged_by = serializers.CharField(source="incident.acknowledged_by.username", allow_null=True)
    muted_until = serializers.DateTimeField(source="incident.muted_until", allow_null=True)
    resolved_at = serializers.DateTimeField(source="incident.resolved_at", allow_null=True)
    resolved_by = serializers.CharField(source="incident.resolved_by.username", allow_null=True, help_text="Null: by itself.")
    resolution = serializers.CharField(source="incident.resolution")
    reopened_count = serializers.IntegerField(source="incident.reopened_count")


class AffectedSyncShape(Shape):
    sync_id = serializers.IntegerField()
    sync = serializers.CharField(source="sync.name")
    since = serializers.DateTimeField()
    recovered_at = serializers.DateTimeField(allow_null=True, help_text="Null: it is affected still.")
    text = serializers.CharField(help_text="What was found about this sync.")
    run_id = serializers.IntegerField(allow_null=True)


class NearIncidentShape(Shape):
    id = serializers.IntegerField()
    title = serializers.CharField()
    severity = Word(Severity)
    state = Word(IncidentState)
    opened_at = serializers.DateTimeField()


class IncidentRuleShape(Shape):
    id = serializers.IntegerField()
    name = serializers.CharField()


class IncidentEventShape(Shape):
    id = serializers.IntegerField()
    kind = Word(IncidentEventKind)
    at = serializers.DateTimeField()
    actor = serializers.CharField(source="actor.username", allow_null=True, help_text="Null: Redrive itself.")
    sync_id = serializers.IntegerField(allow_null=True, help_text="Whom it is about, where that is one of the syncs.")
    text = serializers.CharField()
    detail = serializers.DictField(help_text="By kind: `until` of muted, `owner` of an assignment, `severity` [before, after].")


class IncidentDetailShape(IncidentShape):
    drivers = serializers.ListField(
        source="incident.drivers", child=serializers.ListField(), help_text="[label, value] of what the judgement rests on."
    )
    run_id = serializers.IntegerField(allow_null=True, help_text="The first run that showed it.")
    affected = AffectedSyncShape(source="found.affected", many=True, help_text="At most 100; those not well first.")
    lead = NearIncidentShape(source="found.lead", allow_null=True, help_text="The incident that this one follows from.")
    followers = NearIncidentShape(source="found.followers", many=True)
    earlier = NearIncidentShape(source="found.earlier", many=True, help_text="Of the same cause, before this one.")
    rules = IncidentRuleShape(source="found.rules", many=True, help_text="Alert rules that found it.")
    events = IncidentEventShape(source="found.events", many=True, help_text="The newest 200 lines of its timeline.")


class ResolveIncidentShape(Shape):
    reason = StrictText(max_length=REASON_MAX, help_text="What was done. Others read it.")


class NoteIncidentShape(Shape):
    note = StrictText(max_length=NOTE_MAX)


class AssignIncidentShape(Shape):
    owner_id = Id(allow_null=True, help_text="Somebody who may see incidents; null: nobody.")
