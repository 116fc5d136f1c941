"""One of everything that an address or a body of the API can name; the matrix writes it as ``{name}``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from django.contrib.auth.models import User

from dlq.models import DLQEntry, SavedView
from dlq.services import import_keeping, imports, snapshots
from dlq.services.entry_filter import EntryFilter
from dlq.services.snapshots import BulkKind
from syncs.models import ApiKey, Step, SyncChain, SyncTrigger, SyncVersion
from syncs.services import api_keys, audit
from tests import seeds
from tests.api import monitoring_world
from tests.api.kit import person
from tests.security import role_world

Names = dict[str, Callable[[], Any]]  # name -> its value, made when the matrix asks for it


def make(folder: Path, *, maker: User | None) -> tuple[SimpleNamespace, Names]:
    """``maker``: who calls; what is somebody's own is theirs. With the names of everything in it."""
    world = role_world.make(role_world.OURS, folder, maker=maker)
    return world, _names(world, maker)


def _names(world: SimpleNamespace, maker: User | None) -> Names:
    sync = world.sync
    objects: dict[str, Any] = {
        "tag": world.tag, "team": world.team, "person": world.user, "connection": world.connection, "source": world.source,
        "sync": sync, "run": world.run, "live": world.live, "entry": world.dlqentry, "group": world.errorgroup,
        "operation": world.bulkoperation, "export": world.export, "fingerprint_rule": world.fingerprintrule,
        "view": world.view, "reclassification": world.reclassification, "purge": world.purge, "incident": world.incident,
        "rule": world.alertrule, "channel": world.channel, "delivery": world.delivery, "error_rule": world.errorrule,
    }  # fmt: skip
    fixed: Names = {name: (lambda thing=thing: thing.pk) for name, thing in objects.items()}
    return fixed | {
        "step": lambda: Step.objects.filter(run=world.run).earliest("pk").pk,
        "version": lambda: SyncVersion.objects.filter(sync=sync).latest("number").number,
        "other_entry": lambda: DLQEntry.objects.filter(sync=sync).latest("pk").pk,
        "key": lambda: _key(maker or world.user).pk,
        "trigger": lambda: SyncTrigger.objects.create(sync=sync, public_id="t" * 32, name="nightly").pk,
        "chain": lambda: _chain(world).pk,
        "assignee": lambda: person("viewer", team=world.team).pk,
        "payload": lambda: json.dumps({"external_id": world.mark, "city": "corrected"}),
        "mark": lambda: world.mark,
        "sync_before": lambda: seeds.sync(world.source, world.connection, f"{world.mark} before", team=world.team).pk,
        "own_view": lambda: SavedView.objects.create(name="own", query="status=open", owner=maker or world.user).pk,
        "confirm_discard": lambda: confirm(world, maker, BulkKind.DISCARD),
        "confirm_assign": lambda: confirm(world, maker, BulkKind.ASSIGN),
        "confirm_reprocess": lambda: confirm(world, maker, BulkKind.REPROCESS),
        "confirm_export": lambda: confirm(world, maker, BulkKind.EXPORT),
        "confirm_import": lambda: confirm_import(world, maker),
        "service_account": lambda: world.serviceaccount.pk,
        "audit_event": lambda: audit.record("changed", sync, by=None, door="system").pk,
        "name": lambda: f"{world.mark} new",
        **monitoring_world.names(world, maker),
    }


def confirm(world: SimpleNamespace, maker: User | None, kind: BulkKind) -> str:
    """The token of a plan about the newest dead letter, which nothing else of the world acts on."""
    newest = DLQEntry.objects.filter(sync=world.sync).latest("pk")
    whose = maker if maker is not None and maker.is_authenticated else world.user
    return snapshots.take(kind, EntryFilter(), user=User.objects.get(pk=whose.pk), ids=(newest.pk,)).token()


def confirm_import(world: SimpleNamespace, maker: User | None) -> str:
    """The token of a file that corrects the newest dead letter."""
    newest = DLQEntry.objects.filter(sync=world.sync).latest("pk")
    body = json.dumps(json.loads(newest.payload) | {"city": "Bonn"}).replace('"', '""')
    raw, whose = f'id,payload\n{newest.pk},"{body}"\n'.encode(), maker or world.user
    proposal = imports.propose(raw, "upload.csv", by=whose)
    return import_keeping.store(raw, "upload.csv", proposal, by=whose)


def _key(user: User) -> ApiKey:
    _text, prefix, digest = api_keys.made()
    return ApiKey.objects.create(user=user, name="ours", prefix=prefix, digest=digest, scopes=["read"])


def _chain(world: SimpleNamespace) -> SyncChain:
    after = seeds.sync(world.source, world.connection, f"{world.mark} before", team=world.team)
    return SyncChain.objects.create(after=after, sync=world.sync)
