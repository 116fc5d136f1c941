"""Two teams, each with one of everything; whatever belongs to one carries its mark in every name, key and text."""

from __future__ import annotations

import fnmatch
import json
import tomllib
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from django.contrib.auth.models import Group, User
from django.db.models import F, Value
from django.db.models.functions import Concat
from django.utils import timezone

from dlq.models import (
    BulkItem,
    BulkOperation,
    DLQEntry,
    DLQEvent,
    ErrorGroup,
    Export,
    FingerprintRule,
    GroupEvent,
    PayloadEdit,
    Reclassification,
    SavedView,
)
from monitoring.choices import Event
from monitoring.models import AlertRule, Channel, Delivery, Incident, IncidentEvent, IncidentSync, Purge, StatusChange
from monitoring.services import messages
from retl_project import roles
from syncs.models import ApiKey, Connection, ErrorRule, ServiceAccount, Step, Sync, Tag, Team
from syncs.services import versions
from tests import seeds
from tests.security.walk import PARAMETER, Route

OURS, THEIRS = "ourmark", "zquorl"
TABLE = Path(__file__).with_name("access_matrix.toml")


@dataclass(frozen=True)
class Line:
    """``get``, ``post``: act -> what it needs; the act "" is the only one."""

    name: tuple[str, ...]
    get: str
    post: dict[str, str]
    query: str
    body: dict[str, str]


def lines() -> list[Line]:
    return [_line(one) for one in tomllib.loads(TABLE.read_text())["routes"]]


def _line(one: dict[str, Any]) -> Line:
    name = (one["name"],) if isinstance(one["name"], str) else tuple(one["name"])
    post = {"": one["post"]} if isinstance(one["post"], str) else one["post"]
    return Line(name, one["get"], post, one.get("query", ""), one.get("body", {}))


def line_of(route: Route) -> Line | None:
    fits = (line for line in lines() if any(fnmatch.fnmatchcase(route.name, pattern) for pattern in line.name))
    return next(fits, None)


def person(role: str, team: Team | None = None) -> User:
    made = seeds.user(f"{role}-person")
    if role != "nobody":
        made.groups.add(Group.objects.get(name=roles.group_name(role)))
    if team is not None:
        team.members.add(made)
    return made


def make(mark: str, folder: Path, *, maker: User | None = None, beside: SimpleNamespace | None = None) -> SimpleNamespace:
    """``maker``: whose operation and export they are. ``beside``: the world whose connections it uses, too."""
    team = Team.objects.create(name=f"{mark} team", description=mark)
    source, destination = (beside.source, beside.connection) if beside else _connections(mark, folder)
    sync = seeds.sync(source, destination, f"{mark} contacts", team=team, description=f"{mark} description")
    versions.pin(sync, note=f"{mark} version")
    sync.refresh_from_db()
    summary = [{"type": "validation", "code": f"{mark}_CODE", "field": "city", "message": f"{mark} refused", "count": 3}]
    run = seeds.run(sync, "partial", read=100, refused=3, error_summary=summary)
    seeds.steps(run, 3)
    Step.objects.filter(run=run).update(message=f"{mark} step")
    live = seeds.run(sync, "running", read=10)
    group = seeds.entries(run, 3)
    mine = DLQEntry.objects.filter(sync=sync)
    texts = {"payload": json.dumps({"external_id": mark, "city": f"{mark} city"}), "source_row": json.dumps({"id": mark})}
    mine.update(
        row_key=Concat(Value(f"{mark}-"), F("row_key")), message=f"{mark} is refused", error_code=f"{mark}_CODE", field="city",
        response_excerpt=f"{mark} answer", note=f"{mark} note", **texts,
    )  # fmt: skip
    ErrorGroup.objects.filter(pk=group.pk).update(
        title=f"{mark} is refused", error_code=f"{mark}_CODE", note=mark, field="city"
    )
    entry = mine.earliest("pk")
    now = timezone.now()
    frozen = {
        "max_id": mine.latest("pk").pk,
        "as_of": now,
        "expected_count": 3,
        "query": f"sync={sync.pk}",
        "created_by": maker,
    }
    operation = BulkOperation.objects.create(
        kind="discard", reason=f"{mark} reason", status="running", is_frozen=True, member_count=3, token_digest=f"{mark:0<64}",
        **frozen,
    )  # fmt: skip
    BulkItem.objects.bulk_create(BulkItem(operation=operation, entry=one, note=mark) for one in mine)
    export = Export.objects.create(
        format="csv", status="ready", sha256="0" * 64, expires_at=now + timedelta(days=1), file_name="gone.csv", reason=mark,
        token_digest=f"{mark:0<64}", **frozen,
    )  # fmt: skip
    rule = FingerprintRule.objects.create(sync=sync, kind="split", pattern=f"{mark} {{value}}", title=f"{mark} rule")
    walk = Reclassification.objects.create(
        connection=destination, place=f"{mark}", sync_ids=[sync.pk], requested_by=maker, reason=f"{mark} reason"
    )
    PayloadEdit.objects.create(
        entry=entry, before=entry.payload, payload=json.dumps({"external_id": mark, "city": "new"}), reason=f"{mark} edit",
        base_failed_at=entry.last_failed_at,
    )  # fmt: skip
    DLQEvent.objects.create(entry=entry, kind="failed", run=run, detail={"message": f"{mark} said", "step": 2})
    GroupEvent.objects.create(group=group, kind="noted", reason=f"{mark} event")
    colleague = User.objects.create(username=f"colleague-{sync.pk}")  # nobody to give dead letters to
    view = SavedView.objects.create(name=f"View {sync.pk}", query=f"sync={sync.pk}", owner=colleague, is_shared=True)
    tag = Tag.objects.create(name=f"tag-{sync.pk}")  # tags are everybody's words
    sync.tags.add(tag)
    return SimpleNamespace(
        tag=tag, mark=mark, team=team, connection=destination, source=source, sync=sync, run=run, live=live, dlqentry=entry,
        errorgroup=group, bulkoperation=operation, export=export, fingerprintrule=rule, view=view, user=colleague,
        group=Group.objects.get(name="Viewer"), reclassification=walk,
        purge=Purge.objects.create(kind="runs", before=now, is_over=True), incident=_incident(sync, mark),
        alertrule=AlertRule.objects.create(name=f"{mark} alert rule", condition="late", scope="sync", sync=sync),
        subscription=sync,  # the page of who hears of a sync
        **_delivered(sync, mark),
        statuschange=_change(sync, mark), syncpolicy=sync,
        errorrule=ErrorRule.objects.create(kind="http", name=f"Rule {sync.pk}", text="x", error_type="validation"),
        **callers(maker or colleague, sync.pk),
    )  # fmt: skip


def callers(owner: User, number: int) -> dict[str, Any]:
    """A key, and an account for a machine."""
    key = ApiKey.objects.create(user=owner, name=f"Key {number}", prefix=f"{number:012}", digest="0", scopes=["read"])
    machine = User.objects.create(username=f"machine-{number}")
    return {"apikey": key, "serviceaccount": ServiceAccount.objects.create(user=machine)}


def _incident(sync: Sync, mark: str) -> Incident:
    made = Incident.objects.create(
        cause=f"sync:{sync.pk}:late", condition="late", severity="warning", title=f"{mark} is late", text=mark, sync=sync
    )
    IncidentSync.objects.create(incident=made, sync=sync, text=f"{mark} found")
    IncidentEvent.objects.create(incident=made, kind="noted", text=f"{mark} note", sync=sync)
    return made


def _delivered(sync: Sync, mark: str) -> dict[str, Any]:
    """A channel is everybody's; what it was told of a sync is not."""
    channel = Channel.objects.create(name=f"Channel {sync.pk}", kind="in_app", config={"users": "nobody"})
    message = messages.make(Event.RUN_FINISHED, severity="info", subject="x", title=f"{mark} ended", text=mark)
    made = Delivery.objects.create(
        channel=channel, event=message.event, subject="x", sync=sync, message=message.as_json(), state="dead"
    )
    return {"channel": channel, "delivery": made}


def _change(sync: Sync, mark: str) -> Sync:
    at = timezone.now() - timedelta(days=3)  # of an age that does not change while the test runs
    StatusChange.objects.create(sync=sync, at=at, before="healthy", after="failing", reason=f"{mark} failed")
    return sync  # its history goes by the sync


def _connections(mark: str, folder: Path) -> tuple[Connection, Connection]:
    """They are everybody's, so without the mark in their names."""
    made = seeds.connections(str(seeds.warehouse(folder / f"{mark}.sqlite3")))
    for connection in made:
        connection.name, connection.description = f"Connection {connection.pk}", ""
        connection.save()
    return made


def asked(route: Route, line: Line, world: SimpleNamespace, act: str = "") -> str:
    return address(route, world, act) + line.query.replace("{entry}", str(world.dlqentry.pk))


def address(route: Route, world: SimpleNamespace, act: str = "") -> str:
    """The route with its parameters filled in from this world."""
    if route.pattern.startswith("admin/^"):
        return "/admin/dlq/"
    if route.pattern == "admin/(?P<url>.*)$":
        return "/admin/no/such/page"
    path = route.pattern
    for name in PARAMETER.findall(route.pattern):
        path = PARAMETER.sub(lambda _, name=name: _value(route, name, world, act), path, count=1)
    return f"/{path}"


def _value(route: Route, name: str, world: SimpleNamespace, act: str) -> str:
    if route.name == "view_on_site":
        return "1" if name == "content_type_id" else str(world.sync.pk)
    if name in ("pk", "object_id", "id"):
        if route.name == "dlq_dlqentry_view":
            return str(world.view.pk)
        return str((world.live if route.name == "syncs_run_act" and act == "cancel" else getattr(world, route.model)).pk)
    fixed = {"way": "older", "part": "payload", "number": "1", "retained": "steps"}
    return fixed.get(name) or act or {"kind": "discard"}.get(name, "cancel")


def belongs_to_a_team(route: Route) -> bool:
    """Whether its address names something of one team. Connections, their rules and people are everybody's; an
    address without a name leads on to one that has one."""
    is_named = any(name in ("pk", "object_id") for name in PARAMETER.findall(route.pattern))
    shared = (
        not route.name
        or route.model in ("connection", "errorrule", "user", "group", "purge", "channel", "tag", "serviceaccount")
        or route.name == "dlq_dlqentry_view"
    )
    return is_named and not shared


def body(world: SimpleNamespace, line: Line, act: str) -> dict[str, Any]:
    return {
        "act": act, "reason": "forged", "note": "forged", "entry": [str(world.dlqentry.pk)], "filter": "status=open",
        "name": "forged", "owner": "", "to": "off", **line.body,
    }  # fmt: skip
