"""Teams: who looks after which syncs."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from syncs.api.people_shapes import PersonShape
from syncs.choices import Scope
from syncs.models import Team
from syncs.rest import etags
from syncs.rest.operations import operation
from syncs.rest.resources import Resource, user_of
from syncs.rest.shapes import Id, Shape, StrictText
from syncs.services import teams
from syncs.services.teams import ABOUT_MOST, MEMBERS_MOST, NAME_MOST

API = "api"


class TeamShape(Shape):
    id = serializers.IntegerField(read_only=True)
    name = serializers.CharField(read_only=True)
    description = serializers.CharField(read_only=True)
    member_count = serializers.IntegerField(read_only=True, source="people_count")
    sync_count = serializers.IntegerField(read_only=True, help_text="Archived ones as well.")


class WholeTeamShape(TeamShape):
    members = PersonShape(many=True, read_only=True)


class TeamChangeShape(Shape):
    name = StrictText(max_length=NAME_MOST)
    description = StrictText(max_length=ABOUT_MOST, required=False, allow_blank=True)
    member_ids = serializers.ListField(
        child=Id(), required=False, max_length=MEMBERS_MOST, help_text="Users; takes the place of those before."
    )


def etag_of(team: Team) -> str:
    return etags.of(teams.held(team))


class Teams(Resource):
    tag = "People and teams"

    @operation(
        "Teams, by name",
        scope=Scope.READ,
        permission="syncs.view_team",
        shape=TeamShape,
        is_page=True,
        description="Those you belong to; all where you see every team's syncs.",
    )
    def list(self, request: Request) -> Response:
        return self.paged(request, teams.seen_by(user_of(request)), order=("name", "id"))

    @operation("One team and who is in it", scope=Scope.READ, permission="syncs.view_team", shape=WholeTeamShape, has_etag=True)
    def retrieve(self, request: Request, id: str) -> Response:
        return self._whole(request, self.find(teams.seen_by(user_of(request)), id).pk)

    @operation(
        "Make a team",
        scope=Scope.ADMIN,
        permission="syncs.add_team",
        takes=TeamChangeShape,
        shape=WholeTeamShape,
        status=201,
        can_refuse=True,
        example={"name": "Revenue", "description": "Looks after the CRM", "member_ids": []},
    )
    def create(self, request: Request) -> Response:
        given = self.given
        made = teams.save(
            Team(),
            name=given["name"],
            description=given.get("description", ""),
            member_ids=given.get("member_ids", []),
            by=user_of(request),
            door=API,
        )
        return self._whole(request, made.pk, location=f"/api/v1/teams/{made.pk}")

    @operation(
        "Change a team",
        scope=Scope.ADMIN,
        permission="syncs.change_team",
        takes=TeamChangeShape,
        shape=WholeTeamShape,
        has_etag=True,
        needs_match=True,
        can_refuse=True,
        example={"member_ids": []},
    )
    def partial_update(self, request: Request, id: str) -> Response:
        given = self.given
        with self.edited(request, self._seen(request), id, etag_of) as team:
            teams.save(
                team,
                name=given.get("name", team.name),
                description=given.get("description", team.description),
                member_ids=given.get("member_ids"),
                by=user_of(request),
                door=API,
            )
        return self._whole(request, int(id))

    @operation(
        "Delete a team", scope=Scope.ADMIN, permission="syncs.delete_team", status=204, needs_match=True, can_refuse=True
    )
    def destroy(self, request: Request, id: str) -> Response:
        with self.edited(request, self._seen(request), id, etag_of) as team:
            teams.delete(team, by=user_of(request), door=API)
        return self.nothing()

    def _seen(self, request: Request) -> Any:
        return teams.mine_of(user_of(request))

    def _whole(self, request: Request, pk: int, *, location: str = "") -> Response:
        """As it is in the database now; to who made it as well, who need not be in it."""
        team = teams.counted().prefetch_related("members").get(pk=pk)
        return self.one(request, team, etag=etag_of(team), location=location)
