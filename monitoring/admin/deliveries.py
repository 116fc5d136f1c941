"""Deliveries: the log, one with its attempts, and sending it again."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_GET, require_POST

from dlq.services.moves import ActRefusedError
from monitoring.admin.base import ReadOnlyAdmin, demand, may, user_of
from monitoring.channels import registry
from monitoring.channels.base import Message
from monitoring.choices import DeliveryState, Event
from monitoring.models import Channel, Delivery
from monitoring.services import delivery_list, notices
from monitoring.services.deliveries import WAITING
from syncs.choices import labelled


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    def pages(self) -> list[tuple[str, Callable[..., HttpResponseBase], str]]:
        return [
            ("", require_GET(self.list_view), "changelist"),
            ("<int:pk>/change/", require_GET(self.page_view), "change"),
            ("<int:pk>/again/", require_POST(again), "again"),
        ]

    def list_view(self, request: HttpRequest) -> HttpResponse:
        page = delivery_list.page(user_of(request), request.GET.dict())
        query = request.GET.copy()
        query.pop("before", None)
        context = {
            "page": page,
            "query": query.urlencode(),
            "chosen": request.GET,
            "channels": Channel.objects.order_by("name").values_list("pk", "name"),
            "states": labelled(DeliveryState),
            "events": [event.value for event in Event],
        }
        status = 400 if page.problem else 200
        return self.show(request, "admin/monitoring/delivery/list.html", context, title="Deliveries", status=status)

    def page_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        delivery = find(request, pk)
        message = Message.from_json(delivery.message)
        context = {
            "delivery": delivery,
            "message": message,
            "links": [(label, notices.inner(url) or url) for label, url in message.links],
            "kind": registry.label(delivery.channel.kind) if delivery.channel else "Email",
            "attempts": [_attempt(one) for one in reversed(delivery.attempts)],
            "body": _body(delivery),
            "is_waiting": delivery.state in WAITING,
            "may_send": may(request, "change_delivery") and delivery.state not in WAITING,
        }
        return self.show(request, "admin/monitoring/delivery/page.html", context, title=f"Delivery {pk}")


def again(request: HttpRequest, pk: int) -> HttpResponse:
    demand(request, "change_delivery")
    delivery = find(request, pk)
    try:
        made = delivery_list.redeliver(delivery, by=user_of(request), door="admin", now=timezone.now())
    except ActRefusedError as refusal:
        messages.error(request, str(refusal))
        return HttpResponseRedirect(_url(pk))
    messages.success(request, "It is on its way again, under the same id.")
    return HttpResponseRedirect(_url(made.pk))


def find(request: HttpRequest, pk: int) -> Delivery:
    rows = delivery_list.visible(user_of(request)).select_related("channel", "user", "incident", "sync", "run", "resent_of")
    found = rows.filter(pk=pk).first() if pk < 1 << 63 else None
    if found is None:
        raise Http404(f"There is no delivery {pk}.")
    return found


def _url(pk: int) -> str:
    return reverse("admin:monitoring_delivery_change", args=(pk,))


def _attempt(one: dict[str, Any]) -> dict[str, Any]:
    return {**one, "at": parse_datetime(str(one.get("at", "")))}


def _body(delivery: Delivery) -> str:
    body = delivery_list.body_of(delivery)
    return "" if body is None else json.dumps(body, indent=2, ensure_ascii=False)
