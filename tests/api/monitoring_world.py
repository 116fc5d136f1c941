"""What the addresses of monitoring can name beside what is there anyway."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from monitoring.channels import webhook
from monitoring.choices import Follows
from monitoring.models import AlertRule, Channel, Incident, Notice, Purge


def names(world: SimpleNamespace, maker: User | None) -> dict[str, Callable[[], Any]]:
    return {
        "muted_incident": lambda: _changed(world.incident, Incident, muted_until=_later()),
        "muted_rule": lambda: _changed(world.alertrule, AlertRule, muted_until=_later(), mute_reason="known"),
        "off_rule": lambda: _changed(world.alertrule, AlertRule, is_active=False),
        "off_channel": lambda: _changed(world.channel, Channel, is_enabled=False),
        "webhook": _webhook,
        "mailbox": lambda: Channel.objects.create(name="mail", kind="email", config={"to": "ops@example.com"}).pk,
        "notice": lambda: Notice.objects.create(user=maker or world.user, event="test", title=f"{world.mark} notice").pk,
        "going_purge": lambda: Purge.objects.create(kind="hours", before=timezone.now()).pk,
        "subscriptions": subscriptions,
    }


def subscriptions() -> dict[str, Any]:
    """All that somebody can choose."""
    one = {"is_active": True, "min_severity": "page", "by_email": False, "channel_id": None, "digest": "none"}
    quiet = {"timezone": "UTC", "quiet_from": "22:00", "quiet_until": "07:00", "quiet_lets_through": "page"}
    choices = {follows.value: {**one, "digest_hour": 8, "digest_weekday": 0} for follows in Follows}
    return {**choices, **quiet, "fallback_id": None}


def _changed(thing: Any, model: Any, **values: Any) -> int:
    assert model.objects.filter(pk=thing.pk).update(**values) == 1
    return int(thing.pk)


def _later() -> Any:
    return timezone.now() + timedelta(hours=1)


def _webhook() -> int:
    secrets = {"secret": webhook.new_secret()}
    return Channel.objects.create(name="hook", kind="webhook", config={"url": "https://127.0.0.1/"}, secrets=secrets).pk
