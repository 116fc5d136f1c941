"""Every address of the product, taken from the URL resolver: a new page is walked by these tests without being named here."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from django.apps import apps
from django.contrib.auth.models import User
from django.core import serializers
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from dlq.admin.acts import _ACTS
from dlq.admin.operations import _ACTS as OPERATION_ACTS
from dlq.models import BulkItem, BulkOperation, DLQEntry, Export, FingerprintRule, Reclassification
from dlq.services.snapshots import BulkKind
from monitoring.choices import Event
from monitoring.models import AlertRule, Channel, Delivery, Incident, Purge
from monitoring.services import messages
from syncs.admin.acts import SYNC_ACTS
from syncs.models import ApiKey, ErrorRule, ServiceAccount, Tag, Team
from syncs.services import versions
from tests import seeds

PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")
APPS = ("syncs", "dlq", "monitoring", "auth")  # what no address may change without a right to it


@dataclass(frozen=True)
class Route:
    pattern: str
    name: str

    @property
    def model(self) -> str:
        """``sync`` of ``admin/syncs/sync/<int:pk>/``."""
        parts = self.pattern.split("/")
        return parts[2] if len(parts) > 2 else ""


def routes() -> list[Route]:
    return [route for route in _below(get_resolver(), "") if route.pattern.startswith("admin/")]


def _below(resolver: URLResolver, prefix: str) -> Iterator[Route]:
    for found in resolver.url_patterns:
        pattern = prefix + str(found.pattern)
        if isinstance(found, URLPattern):
            yield Route(pattern, found.name or "")
        else:
            yield from _below(found, pattern)


def world(folder: Path) -> SimpleNamespace:
    """One of everything that an address can name."""
    source, destination = seeds.connections(str(seeds.warehouse(folder / "warehouse.sqlite3")))
    sync = seeds.sync(source, destination)
    versions.pin(sync)
    sync.refresh_from_db()
    run = seeds.run(sync, "partial", read=100, refused=2, error_summary=seeds._summary())
    seeds.steps(run, 4)
    live = seeds.run(seeds.sync(source, destination, "Live"), "running", read=10)
    group = seeds.entries(run, 2)
    user = seeds.user("ida")
    made = {"connection": destination, "sync": sync, "run": run, "dlqentry": DLQEntry.objects.first(), "errorgroup": group}
    made |= _desk(sync) | _callers()
    return SimpleNamespace(**made, user=user, live=live, source=source, group=user.groups.create(name="agents"), folder=folder)


def _callers() -> dict[str, Any]:
    machine = User.objects.create(username="machine")
    key = ApiKey.objects.create(user=machine, name="Nightly", prefix="0" * 12, digest="0", scopes=["read"])
    return {"apikey": key, "serviceaccount": ServiceAccount.objects.create(user=machine)}


def _desk(sync: Any) -> dict[str, Any]:
    """What stands at a desk: an operation under way with a member, an export whose file is gone, a rule, a team."""
    now = timezone.now()
    frozen = {"max_id": 1, "as_of": now, "expected_count": 1, "token_digest": "0" * 64, "query": "status=open"}
    operation = BulkOperation.objects.create(kind="discard", reason="x", status="running", **frozen)
    BulkItem.objects.create(operation=operation, entry=DLQEntry.objects.earliest("pk"))
    BulkOperation.objects.filter(pk=operation.pk).update(is_frozen=True, member_count=1)
    ready = {"status": "ready", "sha256": "0" * 64, "expires_at": now, "file_name": "gone.csv"}
    return {
        "bulkoperation": operation,
        "export": Export.objects.create(format="csv", **frozen, **ready),
        "fingerprintrule": FingerprintRule.objects.create(sync=sync, kind="split", pattern="x {value}", title="x"),
        "team": Team.objects.create(name="Others"),
        "tag": Tag.objects.create(name="pilot"),
        **dict.fromkeys(("subscription", "statuschange", "syncpolicy"), sync),  # their pages are named by the sync
        **_delivered(sync),
        "alertrule": AlertRule.objects.create(name="Runs fail here", condition="run_failed"),
        "incident": Incident.objects.create(
            cause=f"sync:{sync.pk}:run_failed", condition="run_failed", severity="warning", title="Contacts fail", sync=sync
        ),
        "errorrule": ErrorRule.objects.create(kind="http", name="x", text="x", error_type="validation"),
        "purge": Purge.objects.create(kind="runs", before=now, is_over=True),
        "reclassification": Reclassification.objects.create(kind="http", place="kind:http", is_over=True),
    }


def _delivered(sync: Any) -> dict[str, Any]:
    channel = Channel.objects.create(name="Bell", kind="in_app", config={"users": "nobody"})
    message = messages.make(Event.RUN_FINISHED, severity="info", subject="x", title="Contacts ended")
    made = Delivery.objects.create(channel=channel, event=message.event, subject="x", sync=sync, message=message.as_json())
    return {"channel": channel, "delivery": made}


def addresses(route: Route, world: SimpleNamespace) -> list[str]:
    """The route with every parameter filled in, in each way that matters."""
    if route.pattern.startswith("admin/^"):
        return ["/admin/syncs/"]
    if route.pattern == "admin/(?P<url>.*)$":
        return ["/admin/no/such/page"]
    if route.name == "view_on_site":
        return [f"/admin/r/1/{world.sync.pk}/"]
    names = PARAMETER.findall(route.pattern)
    ways = [_values(route, name, world) for name in names]
    return [f"/{_filled(route.pattern, values)}" for values in itertools.product(*ways)]


def _filled(pattern: str, values: tuple[str, ...]) -> str:
    given = iter(values)
    return PARAMETER.sub(lambda _: next(given), pattern)


def _values(route: Route, name: str, world: SimpleNamespace) -> list[str]:
    if name in ("pk", "object_id", "id"):
        found = [str(getattr(world, route.model).pk)]
        return [*found, str(world.live.pk)] if route.model == "run" else found
    if name == "name":
        known = {"sync": list(SYNC_ACTS), "bulkoperation": list(OPERATION_ACTS)}
        return known.get(route.model, ["cancel", "again", "delete"])
    if name == "way":
        return ["newer", "older"]
    if name == "kind":
        return [kind.value for kind in BulkKind]
    if name == "part":
        return ["payload", "row", "response"]
    if name == "number":
        return ["1"]
    if name == "retained":
        return ["steps", "audit"]
    raise LookupError(f"Say here which values {name} of {route.pattern} takes.")


def bodies(route: Route, world: SimpleNamespace) -> list[dict[str, Any]]:
    """What a forged post might hold: every act, and every action of every list."""
    shared = {
        "reason": "forged",
        "note": "forged",
        "entry": [str(world.dlqentry.pk)],
        "filter": "status=open",
        "across": "1",
        "post": "yes",
        "name": "forged",
        "_save": "Save",
        "_selected_action": [str(world.sync.pk)],
        "index": "0",
    }
    acts = {act: {"act": act} for act in (*_ACTS, *BulkKind)}
    actions = {
        action: {"action": action} for action in ("run_selected", "pause_selected", "resume_selected", "delete_selected")
    }
    return [{**shared, **one} for one in (*acts.values(), *actions.values())] if _is_of(route) else [shared]


def _is_of(route: Route) -> bool:
    return route.name.endswith(("_act", "_bulk", "_changelist"))


def state() -> dict[str, str]:
    """A digest per table. Logging in is no change."""
    found = {}
    for app in APPS:
        for model in apps.get_app_config(app).get_models():
            rows = model._default_manager.order_by("pk")
            fields = [field.name for field in model._meta.fields if field.name not in ("last_login", "secrets")]
            text = serializers.serialize("json", rows, fields=fields)
            found[model._meta.label] = hashlib.sha256(text.encode()).hexdigest()
    return found


def walked(client: Client, world: SimpleNamespace, method: str) -> Iterator[tuple[Route, str, Any]]:
    """(route, address, answer) for all of them, but for the one that would sign the visitor out."""
    for route in routes():
        if route.name == "logout":
            continue
        for address in addresses(route, world):
            if method == "GET":
                yield route, address, client.get(address)
                continue
            for body in bodies(route, world):
                yield route, address, client.post(address, body)
