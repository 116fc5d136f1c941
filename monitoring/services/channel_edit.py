"""What people do to channels: set up, changed, tested, rotated, switched, deleted; each with a line in the audit log."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from dlq.services.moves import ActRefusedError
from monitoring.channels import calling, in_app, registry, webhook
from monitoring.channels.base import Sent
from monitoring.choices import DeliveryState, Event, Severity
from monitoring.models import Channel
from monitoring.services import audience, channel_health, deliveries, messages, outbox
from monitoring.services.places import allowed_networks
from syncs.connectors import Issue
from syncs.errors import ConfigError
from syncs.secrets import SecretsError
from syncs.services import audit

if TYPE_CHECKING:
    from django.contrib.auth.models import User

OVERLAP_HOURS = 24  # how long a former signing secret signs as well, unless somebody says otherwise
OVERLAP_MOST = 7 * 24
COLUMNS = ("name", "config", "events", "min_severity", "owner_id")
_STALE = "Nothing was changed: somebody else has changed the channel meanwhile. Reload the page to see what."
_TAKEN = "There is a channel with this name already. Choose another."
_FORMER = "former_secret"


def stored_secrets(channel: Channel) -> dict[str, Any]:
    """Empty where no configured key opens them: they are then to be given anew."""
    try:
        return dict(channel.secrets or {})
    except SecretsError:
        return {}


def unreadable(channel: Channel) -> str:
    """Why its stored secrets cannot be opened; empty where they can."""
    try:
        _ = channel.secrets
    except SecretsError as error:
        return str(error)
    return ""


def issues(kind: str, config: Mapping[str, Any], secrets: Mapping[str, Any]) -> list[Issue]:
    """What is wrong with the settings. Names of hosts are resolved, so that a refused address is named before it is used."""
    allowed = allowed_networks()
    found = registry.module(kind).validate(config, secrets, allowed)
    for name, url in (("url", config.get("url")), ("webhook_url", secrets.get("webhook_url"))):
        if url and not any(issue.field == name for issue in found):
            found += calling.check_reachable(str(url), field=name, allowed=allowed)
    if kind == "in_app" and not found:
        able = {person.user.get_username() for person in audience.able().values()}
        unknown = [name for name in in_app.names(config) if name not in able]
        found += [
            Issue("users", f"“{name[:60]}” is nobody who can be told of alerts. Check the user name.") for name in unknown
        ]
    return found


@dataclass(frozen=True, slots=True)
class Taken:
    """``config``: as a whole. ``given``, ``cleared``: secrets, as ``save`` takes them."""

    config: dict[str, Any]
    given: dict[str, Any]
    cleared: set[str]
    issues: list[Issue]


def take(channel: Channel, config: Mapping[str, Any], secrets: Mapping[str, Any]) -> Taken:
    """Settings written over those that the channel has: a value replaces, an empty one takes away, what is not named stays.
    Nothing is saved."""
    fields = {field.name: field for field in registry.module(channel.kind).FIELDS}
    label = registry.label(channel.kind)
    found = [
        Issue(name, f"{label} has no such setting.")
        for names, is_secret in ((config, False), (secrets, True))
        for name in names
        if name not in fields or fields[name].is_secret != is_secret
    ]
    after = {name: value for name, value in {**(channel.config or {}), **config}.items() if value}
    given = {name: value for name, value in secrets.items() if value}
    cleared = {name for name, value in secrets.items() if not value}
    stored = stored_secrets(channel) if channel.pk else {}
    kept = {name: value for name, value in {**stored, **given}.items() if name not in cleared}
    found += [
        Issue(name, "This setting is required.")
        for name, field in fields.items()
        if field.is_required and not (kept if field.is_secret else after).get(name)
    ]
    if channel.pk and "secret" in cleared:
        found.append(Issue("secret", "Nothing is sent unsigned. Rotate the secret instead."))
    return Taken(after, given, cleared, found or issues(channel.kind, after, kept))


def save(
    channel: Channel,
    *,
    given: Mapping[str, Any],
    cleared: Collection[str] = (),
    by: User,
    door: str,
    seen_at: datetime | None = None,
) -> str:
    """A new channel, or a changed one. ``given``: new secrets by name; ``cleared``: those to forget; others stay. ``seen_at``:
    ``updated_at`` of the channel that was edited.

    Returns the signing secret that was made, "" where none was: it is shown now and never again. Raises ``ActRefusedError``
    for a name that is taken, and when somebody was faster.
    """
    is_new = channel.pk is None
    made = webhook.new_secret() if is_new and channel.kind == "webhook" and not given.get("secret") else ""
    new = {**given, **({"secret": made} if made else {})}
    try:
        with transaction.atomic():
            if is_new:
                channel.secrets = dict(new)
                channel.save(force_insert=True)
                detail = {"kind": channel.kind, "secrets": sorted(new)}
                audit.record("created", channel, by=by, door=door, detail=detail)
            else:
                _update(channel, new, set(cleared), by=by, door=door, seen_at=seen_at)
    except IntegrityError as error:
        if Channel.objects.filter(name=channel.name).exclude(pk=channel.pk).exists():
            raise ActRefusedError(_TAKEN, field="name") from error
        raise
    return made


def _update(
    channel: Channel, given: Mapping[str, Any], cleared: set[str], *, by: User, door: str, seen_at: datetime | None
) -> None:
    stored = Channel.objects.select_for_update().filter(pk=channel.pk).first()
    if stored is None or (seen_at is not None and stored.updated_at != seen_at):
        raise ActRefusedError(_STALE)
    before = {name: getattr(stored, name) for name in COLUMNS}
    after = {name: getattr(channel, name) for name in COLUMNS}
    kept = {name: value for name, value in stored_secrets(stored).items() if name not in cleared}
    values: dict[str, Any] = {**after, "updated_at": timezone.now()}
    if given or cleared:
        values["secrets"] = {**kept, **given}
        audit.record("rotated", channel, by=by, door=door, detail={"given": sorted(given), "removed": sorted(cleared)})
    if changes := audit.differences(before, after):
        audit.record("changed", channel, by=by, door=door, detail=changes)
    Channel.objects.filter(pk=channel.pk).update(**values)


def rotate(channel: Channel, *, hours: int = OVERLAP_HOURS, by: User, door: str, now: datetime) -> str:
    """A new signing secret, returned once; for ``hours`` the one before signs as well, so that receivers can change over.
    0: the old one stops at once (it leaked). Raises ``ActRefusedError``."""
    if channel.kind != "webhook":
        raise ActRefusedError("Only webhook channels sign what they send.")
    if not 0 <= hours <= OVERLAP_MOST:
        raise ActRefusedError(f"The overlap is 0 to {OVERLAP_MOST} hours.", field="hours")
    made = webhook.new_secret()
    with transaction.atomic():
        stored = Channel.objects.select_for_update().get(pk=channel.pk)
        secrets = stored_secrets(stored)
        former = secrets.get("secret", "")
        kept = {name: value for name, value in secrets.items() if name not in ("secret", _FORMER)}
        if former and hours:
            kept[_FORMER] = former
        until = now + timedelta(hours=hours) if former and hours else None
        values = {"secrets": {**kept, "secret": made}, "rotated_at": now, "overlap_until": until, "updated_at": timezone.now()}
        Channel.objects.filter(pk=channel.pk).update(**values)
        reason = f"signing secret; the one before signs for {hours} more hours" if until else "signing secret, at once"
        audit.record("secret_rotated", channel, by=by, door=door, detail={"reason": reason})
    return made


def forget_former(now: datetime) -> int:
    """Secrets whose overlap is over are not kept. On the tick; one query where there is none."""
    done = 0
    for pk in list(Channel.objects.filter(overlap_until__lte=now).values_list("pk", flat=True)):
        with transaction.atomic():
            stored = Channel.objects.select_for_update().filter(pk=pk, overlap_until__lte=now).first()
            if stored is None or unreadable(stored):
                continue
            kept = {name: value for name, value in stored_secrets(stored).items() if name != _FORMER}
            done += Channel.objects.filter(pk=pk).update(secrets=kept, overlap_until=None)
    return done


def switch(channel: Channel, *, is_enabled: bool, by: User, door: str, now: datetime) -> str:
    """On: what failed before is forgotten. Off: what waits is given up, and can be delivered again later."""
    on = {"disabled_at": None, "disabled_reason": "", "failed_count": 0, "failing_since": None}
    off = {"disabled_at": now, "disabled_reason": f"Switched off by {by.get_username()}."}
    with transaction.atomic():
        mine = Channel.objects.filter(pk=channel.pk, is_enabled=not is_enabled)
        if mine.update(is_enabled=is_enabled, updated_at=timezone.now(), **(on if is_enabled else off)) != 1:
            raise ActRefusedError(f"Nothing was changed: the channel is {'on' if is_enabled else 'off'} already.")
        given_up = 0 if is_enabled else channel_health.give_up(channel, off["disabled_reason"] or "")  # type: ignore[arg-type]
        audit.record("switched_on" if is_enabled else "switched_off", channel, by=by, door=door)
    if is_enabled:
        return f"“{channel}” is on."
    waited = "1 message that waited was" if given_up == 1 else f"{given_up:,} messages that waited were"
    return f"“{channel}” is off." + (f" {waited} given up." if given_up else "")


def test(channel: Channel, *, by: User, now: datetime) -> Sent:
    """Send a test message now, also where the channel is off. Waits for the answer, at most a quarter of a minute."""
    message = messages.of_test(channel, by=by.get_full_name() or by.get_username(), at=now)
    made = outbox.put(
        event=Event.TEST,
        subject=message.subject,
        severity=Severity.INFO,
        message=message,
        channel=channel,
        not_before=now,
        state=DeliveryState.HELD,  # nobody else is rung for it
    )
    assert made is not None  # its subject is new
    sent = deliveries.send_one(made, now)
    return sent or Sent(False, error="A worker is sending it. Look into the log of deliveries.")


def delete(channel: Channel, *, by: User, door: str) -> str:
    """With its log. Rules and subscriptions that name it go on without."""
    name = str(channel)
    with transaction.atomic():
        stored = Channel.objects.select_for_update().filter(pk=channel.pk).first()
        if stored is None:
            raise ActRefusedError("Nothing was changed: the channel is gone already.")
        rules = stored.rules.count()
        audit.record("deleted", stored, by=by, door=door, detail={"kind": stored.kind})
        stored.delete()
    return f"“{name}” is deleted." + (f" Alert rules that told it: {rules}; they go on without it." if rules else "")


def known(kind: str) -> bool:
    try:
        registry.module(kind)
    except ConfigError:
        return False
    return True
