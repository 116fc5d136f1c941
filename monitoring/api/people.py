"""People that something can be given to."""

from __future__ import annotations

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from dlq.services import people as of_dead_letters
from monitoring.services import people as of_incidents
from syncs.api.people_shapes import PersonShape
from syncs.choices import Scope
from syncs.rest.operations import operation
from syncs.rest.resources import Resource
from syncs.rest.shapes import Shape

_ABLE = {"dead_letters": of_dead_letters.assignable, "incidents": of_incidents.able}


class PeopleAskedShape(Shape):
    able_to_take = serializers.ChoiceField(
        choices=[(name, name) for name in _ABLE], required=False, default="dead_letters", help_text="What is to be given."
    )


class People(Resource):
    tag = "People and teams"

    @operation(
        "People that something can be given to, by user name",
        scope=Scope.READ,
        permission=("dlq.annotate_dlqentry", "monitoring.change_incident", "monitoring.change_alertrule", "syncs.change_sync"),
        shape=PersonShape,
        query=PeopleAskedShape,
        is_list=True,
        description="Active people who may see dead letters, or incidents; at most 500. As the console offers them.",
    )
    def list(self, request: Request) -> Response:
        return self.listed(request, _ABLE[self.asked["able_to_take"]]())
