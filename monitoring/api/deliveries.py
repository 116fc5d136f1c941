"""What was delivered to channels, with each attempt; and sending it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import django_filters as df
from django.db.models import QuerySet
from django.utils import timezone
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.api.base import DOOR
from monitoring.api.channel_shapes import DeliveryDetailShape, DeliveryShape
from monitoring.choices import DeliveryState, Event
from monitoring.models import Delivery
from monitoring.services import delivery_list
from syncs.choices import Scope
from syncs.rest.filters import IdFilter, StrictFilterSet
from syncs.rest.operations import operation
from syncs.rest.resources import Resource, user_of

if TYPE_CHECKING:
    from django.contrib.auth.models import User

_SEE, _SEND = "monitoring.view_delivery", "monitoring.change_delivery"


class DeliveryFilters(StrictFilterSet):
    channel = IdFilter(field_name="channel_id", label="To this channel.")
    state = df.ChoiceFilter(choices=[(one.value, one.value) for one in DeliveryState])
    event = df.ChoiceFilter(choices=[(one.value, one.value) for one in Event])
    incident = IdFilter(field_name="incident_id", label="About this incident.")


class Deliveries(Resource):
    tag = "Channels"

    @operation(
        "Deliveries, newest first",
        scope=Scope.READ,
        permission=_SEE,
        shape=DeliveryShape,
        is_page=True,
        filters=DeliveryFilters,
        description="Who does not see every team's syncs sees what speaks of theirs alone, and what went to themselves.",
    )
    def list(self, request: Request) -> Response:
        rows = DeliveryFilters.of(request.query_params, _rows(user_of(request)).defer("attempts"))
        return self.paged(request, rows, order=("-id",))

    @operation("One delivery with its attempts", scope=Scope.READ, permission=_SEE, shape=DeliveryDetailShape)
    def retrieve(self, request: Request, id: str) -> Response:
        return self.one(request, self._found(request, id))

    @action(detail=True, methods=["post"])
    @operation(
        "Send a delivery again",
        scope=Scope.ADMIN,
        permission=_SEND,
        shape=DeliveryShape,
        status=201,
        can_refuse=True,
        description="The same message to the same place under the same id, as a delivery of its own.",
    )
    def redeliver(self, request: Request, id: str) -> Response:
        made = delivery_list.redeliver(self._found(request, id), by=user_of(request), door=DOOR, now=timezone.now())
        return self.one(request, made, location=f"/api/v1/deliveries/{made.pk}")

    def _found(self, request: Request, id: str) -> Delivery:
        delivery: Delivery = self.find(_rows(user_of(request)), id, "No delivery of that number")
        return delivery


def _rows(user: User) -> QuerySet[Delivery]:
    return delivery_list.visible(user).select_related("channel", "user")
