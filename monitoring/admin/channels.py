"""Channels: the list, the form of each kind, a test, secrets shown once, and the acts on one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from dlq.services.moves import ActRefusedError
from monitoring.admin.base import ReadOnlyAdmin, demand, may, user_of
from monitoring.admin.channel_form import EVENT_WORDS, ChannelForm
from monitoring.channels import email, registry
from monitoring.models import Channel
from monitoring.services import channel_edit, channel_list, delivery_list
from syncs.console import audit_words
from syncs.services import audit

_HISTORY, _NEWEST = 20, 10
_BOTH = ["GET", "POST"]
_ONCE = "admin/monitoring/channel/secret.html"


@admin.register(Channel)
class ChannelAdmin(ReadOnlyAdmin):
    def pages(self) -> list[tuple[str, Callable[..., HttpResponseBase], str]]:
        return [
            ("", require_GET(self.list_view), "changelist"),
            ("add/", require_http_methods(_BOTH)(self.new_view), "add"),
            ("<int:pk>/change/", require_http_methods(_BOTH)(self.edit_view), "change"),
            ("<int:pk>/act/", require_POST(self.act_view), "act"),
        ]

    def list_view(self, request: HttpRequest) -> HttpResponse:
        context = {
            "lines": [(one, registry.label(one.kind)) for one in channel_list.counted().order_by("name")],
            "may_add": may(request, "add_channel"),
            "may_see_log": may(request, "view_delivery"),
        }
        return self.show(request, "admin/monitoring/channel/list.html", context, title="Channels")

    def new_view(self, request: HttpRequest) -> HttpResponse:
        demand(request, "add_channel")
        kind = (request.POST if request.method == "POST" else request.GET).get("kind", "")
        if not channel_edit.known(kind):
            kinds = [(one, label, registry.module(one).HELP) for one, label in registry.kinds()]
            return self.show(request, "admin/monitoring/channel/choose.html", {"kinds": kinds}, title="New channel")
        return self._edit(request, Channel(kind=kind, owner=user_of(request)))

    def edit_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        if request.method == "POST":
            demand(request, "change_channel")
        return self._edit(request, find(pk))

    def _edit(self, request: HttpRequest, channel: Channel) -> HttpResponse:
        user = user_of(request)
        if request.method == "GET":
            return self._form(request, channel, ChannelForm(instance=channel))
        form = ChannelForm(request.POST, instance=channel)
        if not form.is_valid():
            return self._form(request, channel, form, status=400)
        seen_at = form.cleaned_data["seen_at"]
        try:
            made = channel_edit.save(
                form.instance, given=form.given, cleared=form.cleared, by=user, door="admin", seen_at=seen_at
            )
        except ActRefusedError as refusal:
            form.add_error(refusal.field or None, str(refusal))
            return self._form(request, channel, form, status=400)
        if made:
            return self._show_once(request, channel, made, is_new=True)
        messages.success(request, f"“{channel}” is saved. Send a test to see whether it arrives.")
        return HttpResponseRedirect(_url(channel.pk))

    def _form(self, request: HttpRequest, channel: Channel, form: ChannelForm, *, status: int = 200) -> HttpResponse:
        user, now, is_old = user_of(request), timezone.now(), channel.pk is not None
        may_see_log = may(request, "view_delivery")
        log = delivery_list.page(user, {"channel": str(channel.pk)}).rows[:_NEWEST] if is_old and may_see_log else []
        context = {
            "channel": channel,
            "form": form,
            "kind_label": registry.label(channel.kind),
            "help": registry.module(channel.kind).HELP,
            "events": [(name, EVENT_WORDS.get(name, "")) for name in channel.events],
            "may_save": may(request, "change_channel" if is_old else "add_channel"),
            "may_delete": is_old and may(request, "delete_channel"),
            "may_send": may(request, "change_delivery"),
            "may_see_log": may_see_log,
            "log": log,
            "missed": delivery_list.missed(channel, now).count() if is_old and may(request, "change_delivery") else 0,
            "rules": channel.rules.order_by("name") if is_old and may(request, "view_alertrule") else [],
            "lost_key": channel_edit.unreadable(channel) if is_old and may(request, "change_channel") else "",
            "has_no_mail": channel.kind == "email" and not email.is_set_up(),
            "overlaps": channel.overlap_until is not None and channel.overlap_until > now,
            "hours": channel_edit.OVERLAP_HOURS,
            "hours_most": channel_edit.OVERLAP_MOST,
            "history": [audit_words.line(event) for event in audit.history(channel)[:_HISTORY]]
            if is_old and may(request, "change_channel")
            else [],
        }
        title = str(channel) if is_old else f"New channel: {registry.label(channel.kind)}"
        return self.show(request, "admin/monitoring/channel/page.html", context, title=title, status=status)

    def _show_once(self, request: HttpRequest, channel: Channel, secret: str, *, is_new: bool) -> HttpResponse:
        context = {"channel": channel, "secret": secret, "is_new": is_new, "back": _url(channel.pk)}
        return self.show(request, _ONCE, context, title="Signing secret")  # like every page of the admin: never kept in a cache

    def act_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        act = request.POST.get("act", "")
        if act not in _NEEDED:
            raise Http404("There is no such act.")
        demand(request, _NEEDED[act])
        channel = find(pk)
        try:
            if act == "rotate":
                made = channel_edit.rotate(channel, hours=_hours(request), now=timezone.now(), **_who(request))
                return self._show_once(request, channel, made, is_new=False)
            level, text = _ACTS[act](request, channel)
            messages.add_message(request, level, text)
        except ActRefusedError as refusal:
            messages.error(request, str(refusal))
        gone = act == "delete" and not Channel.objects.filter(pk=pk).exists()
        return HttpResponseRedirect(reverse("admin:monitoring_channel_changelist") if gone else _url(pk))


def find(pk: int) -> Channel:
    found = Channel.objects.select_related("owner").filter(pk=pk).first() if pk < 1 << 63 else None
    if found is None:
        raise Http404(f"There is no channel {pk}.")
    return found


def _url(pk: int) -> str:
    return reverse("admin:monitoring_channel_change", args=(pk,))


def _who(request: HttpRequest) -> dict[str, Any]:
    return {"by": user_of(request), "door": "admin"}


def _hours(request: HttpRequest) -> int:
    text = request.POST.get("hours", "")
    if not text:
        return channel_edit.OVERLAP_HOURS
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else -1


# --- acts: (level, sentence)

Said = tuple[int, str]


def _test(request: HttpRequest, channel: Channel) -> Said:
    sent = channel_edit.test(channel, by=user_of(request), now=timezone.now())
    if sent.is_delivered:
        return messages.SUCCESS, f"The test was delivered in {sent.milliseconds:,.0f} ms. Look whether it arrived."
    return messages.ERROR, f"The test was not delivered. {sent.error}"


def _switch(request: HttpRequest, channel: Channel) -> Said:
    is_on = request.POST["act"] == "on"
    return messages.SUCCESS, channel_edit.switch(channel, is_enabled=is_on, now=timezone.now(), **_who(request))


def _again(request: HttpRequest, channel: Channel) -> Said:
    done = delivery_list.redeliver_missed(channel, now=timezone.now(), **_who(request))
    many = "1 message is" if done == 1 else f"{done:,} messages are"
    return messages.SUCCESS, f"{many} sent again." if done else "Nothing was missed."


def _delete(request: HttpRequest, channel: Channel) -> Said:
    return messages.SUCCESS, channel_edit.delete(channel, **_who(request))


_ACTS: dict[str, Callable[[HttpRequest, Channel], Said]] = {
    "test": _test,
    "on": _switch,
    "off": _switch,
    "again": _again,
    "delete": _delete,
}
_NEEDED = {
    "test": "change_channel",
    "on": "change_channel",
    "off": "change_channel",
    "rotate": "change_channel",
    "again": "change_delivery",
    "delete": "delete_channel",
}
