"""How people and teams look wherever they are named."""

from __future__ import annotations

from rest_framework import serializers

from syncs.rest.shapes import Shape


class PersonShape(Shape):
    id = serializers.IntegerField(read_only=True)
    username = serializers.CharField(read_only=True)
    name = serializers.CharField(read_only=True, source="get_full_name", help_text="Empty where nobody gave one.")


class TeamNameShape(Shape):
    id = serializers.IntegerField(read_only=True)
    name = serializers.CharField(read_only=True)
