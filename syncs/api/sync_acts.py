"""Acts on syncs, one by one or many at once: pause, resume, approve deletes, clone, archive; and a look before saving."""

from __future__ import annotations

from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from syncs.api import sync_shapes
from syncs.api.sync_edits import API, IssuesShape, OfSync, found_issues
from syncs.api.sync_filters import seen
from syncs.api.sync_many import RIGHTS, SyncOutcomesShape, SyncsActShape, chosen
from syncs.api.sync_shapes import SyncCheckShape, SyncSettingsShape, SyncShape
from syncs.choices import Scope
from syncs.rest.operations import operation
from syncs.rest.resources import user_of
from syncs.rest.rights import demand
from syncs.rest.shapes import Shape, StrictBoolean, StrictText
from syncs.services import archives, clones, sync_acts, sync_edits
from syncs.services import syncs as sync_service
from syncs.services.sync_acts import SyncAct

_PAUSE, _RUN = "syncs.pause_sync", "syncs.run_sync"


class PauseShape(Shape):
    reason = StrictText(max_length=255, allow_blank=True, default="", help_text="Shown wherever the sync is shown.")


class NewCloneShape(Shape):
    name = StrictText(max_length=120, required=False, help_text="Without it: the name with “(copy)” behind it.")


class ArchiveSyncShape(Shape):
    cancel_runs = StrictBoolean(
        default=False, help_text="Cancel what waits or runs first; takes the scope `run` and the right `syncs.run_sync`."
    )


class SyncActs(OfSync):
    @action(detail=True, methods=["post"])
    @operation(
        "Pause a sync",
        scope=Scope.RUN,
        permission=_PAUSE,
        takes=PauseShape,
        shape=SyncShape,
        has_etag=True,
        can_refuse=True,
        description="No run starts until somebody resumes it; one that is paused already keeps its reason.",
        example={"reason": "The credentials are rotated until Tuesday."},
    )
    def pause(self, request: Request, id: str) -> Response:
        sync_service.pause(self.find(seen(request), id), by=user_of(request), reason=self.given["reason"], door=API)
        return self.told(request, id)

    @action(detail=True, methods=["post"])
    @operation(
        "Resume a sync", scope=Scope.RUN, permission=_PAUSE, shape=SyncShape, has_etag=True, can_refuse=True,
        description="Its schedule counts from now. One that is not paused stays as it is.",
    )  # fmt: skip
    def resume(self, request: Request, id: str) -> Response:
        sync_service.resume(self.find(seen(request), id), by=user_of(request), door=API)
        return self.told(request, id)

    @action(detail=True, methods=["post"], url_path="approve-deletes")
    @operation(
        "Let the next run delete what its last one was stopped for",
        scope=Scope.RUN,
        permission=_RUN,
        shape=SyncShape,
        has_etag=True,
        can_refuse=True,
        description="For a mirror whose last run was stopped by the delete guard; `approved_delete_count` says how many.",
    )
    def approve_deletes(self, request: Request, id: str) -> Response:
        sync_service.approve_deletes(self.find(seen(request), id), by=user_of(request), door=API)
        return self.told(request, id)

    @action(detail=True, methods=["post"])
    @operation(
        "Copy a sync",
        scope=Scope.WRITE,
        permission="syncs.add_sync",
        takes=NewCloneShape,
        shape=SyncShape,
        status=201,
        has_etag=True,
        can_refuse=True,
        description="Everything that was set up, and nothing that happened. The copy is paused.",
        example={"name": "Contacts to CRM, test"},
    )
    def clone(self, request: Request, id: str) -> Response:
        sync = self.find(seen(request), id)
        name = self.given.get("name") or clones.free_name(sync)
        made = clones.clone(sync, name=name, by=user_of(request), door=API)
        return self.told(request, made.pk, location=True)

    @action(detail=True, methods=["post"])
    @operation(
        "Archive a sync",
        scope=Scope.WRITE,
        permission="syncs.change_sync",
        takes=ArchiveSyncShape,
        shape=SyncShape,
        has_etag=True,
        can_refuse=True,
        description="It runs no more and is not listed; its runs and dead letters stay.",
    )
    def archive(self, request: Request, id: str) -> Response:
        is_cancelling = self.given["cancel_runs"]
        if is_cancelling:
            demand(request, _RUN, Scope.RUN)
        archives.archive(self.find(seen(request), id), by=user_of(request), door=API, is_cancelling=is_cancelling)
        return self.told(request, id)

    @action(detail=True, methods=["post"])
    @operation(
        "Take a sync out of the archive", scope=Scope.WRITE, permission="syncs.change_sync", shape=SyncShape, has_etag=True,
        description="Paused; its schedule begins again when somebody resumes it.",
    )  # fmt: skip
    def unarchive(self, request: Request, id: str) -> Response:
        archives.unarchive(self.find(seen(request), id), by=user_of(request), door=API)
        return self.told(request, id)

    @action(detail=False, methods=["post"], url_path="validate")
    @operation(
        "Check a new sync without saving it",
        scope=Scope.WRITE,
        permission="syncs.add_sync",
        takes=SyncSettingsShape,
        shape=IssuesShape,
        description="As `POST /syncs` does: the warehouse is asked for the query's columns, the destination for its object.",
    )
    def validate_new(self, request: Request) -> Response:
        issues = sync_edits.find_issues(None, sync_shapes.wanted(self.given), by=user_of(request))
        return self.one(request, found_issues(issues))

    @action(detail=True, methods=["post"], url_path="validate")
    @operation(
        "Check a sync, or a change of it, without saving",
        scope=Scope.WRITE,
        permission="syncs.change_sync",
        takes=SyncCheckShape,
        shape=IssuesShape,
        description="With an empty body: the sync as it is. What is named is checked as if it were changed.",
    )
    def validate(self, request: Request, id: str) -> Response:
        wanted = sync_shapes.wanted(self.given)
        issues = sync_edits.find_issues(self.find(seen(request), id), wanted, by=user_of(request), is_deep=True)
        return self.one(request, found_issues(issues))

    @action(detail=False, methods=["post"], url_path="acts")
    @operation(
        "Run, pause or resume many syncs",
        scope=Scope.RUN,
        permission=(_RUN, _PAUSE),
        takes=SyncsActShape,
        shape=SyncOutcomesShape,
        description="Name them by `ids`, or by the list's filters. Each is done by itself; the answer says how each went.",
        example={"act": "pause", "filter": {"tag": ["finance"]}, "reason": "The quarter is closed."},
    )
    def acts(self, request: Request) -> Response:
        demand(request, RIGHTS[SyncAct(self.given["act"])])
        wanted = sync_acts.Wanted(self.given["reason"], self.given["full"])
        outcomes = sync_acts.on_many(chosen(request, self.given), self.given["act"], wanted, by=user_of(request), door=API)
        return self.one(request, {"outcomes": outcomes})
