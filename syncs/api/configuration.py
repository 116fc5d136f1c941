"""Syncs and connections as YAML: out of the database, looked at, and into it. As the console and the command line do."""

from __future__ import annotations

import os
from typing import Any

from django.http import HttpResponse
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from syncs.api.sync_edits import API, OfSync
from syncs.api.sync_filters import seen
from syncs.choices import Scope
from syncs.connectors import Issue
from syncs.errors import ConfigError
from syncs.models import Sync
from syncs.rest.operations import operation
from syncs.rest.problems import InvalidError, RefusedError
from syncs.rest.resources import Resource, user_of
from syncs.rest.rights import demand
from syncs.rest.shapes import Id, Shape, StrictBoolean, StrictText
from syncs.services import config_files
from syncs.services.config_files import Action, Environment, Known, Plan
from syncs.services.config_files.uploads import MOST_BYTES, MOST_FILES

YAML = "application/yaml"
_CONNECTIONS = "syncs.change_connection"
_MOST_EXPORTED = 500
_DOCUMENT = "redrive: 1\nsync: Contacts to CRM\nsource: Warehouse\nquery: SELECT id, email FROM contacts\n"


class ConfigFileShape(Shape):
    name = StrictText(max_length=100, help_text="Called so in what is said of it.")
    text = StrictText(max_length=MOST_BYTES, trim_whitespace=False, help_text="YAML; one document for each sync or connection.")


class ConfigPlanInputShape(Shape):
    files = ConfigFileShape(many=True, min_length=1, max_length=MOST_FILES, help_text=f"At most {MOST_BYTES:,} bytes together.")  # type: ignore[call-arg]


class ConfigApplyShape(ConfigPlanInputShape):
    digest = StrictText(max_length=64, help_text="Of the plan that was looked at; another one is refused.")
    is_paused = StrictBoolean(default=True, help_text="New syncs wait to be resumed.")


class ConfigExportQueryShape(Shape):
    sync = serializers.ListField(
        child=Id(),
        default=list,
        max_length=_MOST_EXPORTED,
        help_text="Only these; without any: all that you see and that work.",
    )


class ConfigChangeShape(Shape):
    path = serializers.CharField()
    before = serializers.CharField(allow_null=True)
    after = serializers.CharField(allow_null=True)


class ConfigItemShape(Shape):
    kind = serializers.ChoiceField(["sync", "connection"])
    name = serializers.CharField()
    file = serializers.CharField()
    act = serializers.ChoiceField(list(Action), source="action")
    changes = ConfigChangeShape(many=True, help_text="Secrets by their references, never by their values.")


class ConfigProblemShape(Shape):
    file = serializers.CharField()
    line = serializers.IntegerField(help_text="0: of the whole file.")
    key = serializers.CharField()
    message = serializers.CharField()


class ConfigPlanShape(Shape):
    digest = serializers.CharField(help_text="Send it with `apply`.")
    is_applicable = serializers.BooleanField(help_text="There is no problem.")
    create_count = serializers.IntegerField()
    change_count = serializers.IntegerField()
    unchanged_count = serializers.IntegerField()
    items = ConfigItemShape(many=True)
    problems = ConfigProblemShape(many=True)


class SyncYaml(OfSync):
    @action(detail=True, methods=["get"])
    @operation(
        "A sync as YAML",
        scope=Scope.READ,
        permission="syncs.view_sync",
        file=YAML,
        can_refuse=True,
        description="With the documents of its connections for who may set those up (scope `admin`); secrets by name only.",
    )
    def yaml(self, request: Request, id: str) -> HttpResponse:
        return _exported(self, request, [self.find(seen(request), id)])


class Configuration(Resource):
    tag = "Configuration"

    @action(detail=False, methods=["get"])
    @operation(
        "Syncs as YAML",
        scope=Scope.READ,
        permission="syncs.view_sync",
        query=ConfigExportQueryShape,
        file=YAML,
        can_refuse=True,
        description="All in one file; applied again it changes nothing. Connections as in `GET /syncs/{id}/yaml`.",
    )
    def export(self, request: Request) -> HttpResponse:
        wanted = set(self.asked["sync"])
        found = list(seen(request).filter(pk__in=wanted) if wanted else seen(request).active()[: _MOST_EXPORTED + 1])
        if lost := wanted - {sync.pk for sync in found}:
            raise InvalidError([Issue("sync", f"There is no sync {min(lost)} that you may see.")])
        if len(found) > _MOST_EXPORTED:
            raise InvalidError([Issue("sync", f"There are more than {_MOST_EXPORTED} syncs. Name some of them.")])
        return _exported(self, request, found)

    @action(detail=False, methods=["post"])
    @operation(
        "What applying YAML would change",
        scope=Scope.WRITE,
        permission="syncs.change_sync",
        takes=ConfigPlanInputShape,
        shape=ConfigPlanShape,
        description="Nothing is written. Documents of connections take the scope `admin` and `syncs.change_connection`.",
        example={"files": [{"name": "contacts.yaml", "text": _DOCUMENT}]},
    )
    def plan(self, request: Request) -> Response:
        plan, _known = self._compared(request)
        return self.one(request, _shown(plan))

    @action(detail=False, methods=["post"])
    @operation(
        "Apply YAML",
        scope=Scope.WRITE,
        permission="syncs.change_sync",
        takes=ConfigApplyShape,
        shape=ConfigPlanShape,
        can_refuse=True,
        description="All of it or nothing, and only what a plan with this digest showed. Answers with what was done.",
    )
    def apply(self, request: Request) -> Response:
        plan, known = self._compared(request)
        if plan.problems:
            issues = [Issue("files", str(problem)) for problem in plan.problems]
            raise InvalidError(issues, "Nothing was applied: the files have problems.")
        if self.given["digest"] != plan.digest:
            raise RefusedError("Something has changed since you looked. Plan again, look, then apply with the new digest.")
        environment, paused = Environment(os.environ, is_any=False), self.given["is_paused"]
        config_files.apply(plan, known, environment=environment, by=user_of(request), door=API, is_paused=paused)
        return self.one(request, _shown(plan))

    def _compared(self, request: Request) -> tuple[Plan, Known]:
        files = [(file["name"], file["text"].encode()) for file in self.given["files"]]
        try:
            config_files.refuse_large(files)
        except ConfigError as error:
            raise InvalidError([Issue("files", error.message)]) from None
        plan = config_files.matched(files, environment=Environment(os.environ, is_any=False), by=user_of(request))
        if plan.of("connection"):
            demand(request, _CONNECTIONS, Scope.ADMIN)
        return plan, config_files.check(plan)


def _exported(resource: Resource, request: Request, found: list[Sync]) -> HttpResponse:
    used = config_files.used_by(found) if resource.may(request, _CONNECTIONS, Scope.ADMIN) else []
    exported = config_files.export(found, used)
    name = exported[-1].path.rpartition("/")[2] if len(found) == 1 else "redrive.yaml"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "X-Content-Type-Options": "nosniff"}
    return HttpResponse(config_files.one_text(exported), content_type=f"{YAML}; charset=utf-8", headers=headers)


def _shown(plan: Plan) -> dict[str, Any]:
    counts = {f"{act.value}_count": count for act, count in plan.counts.items()}
    items = [
        {"kind": item.kind, "name": item.name, "file": item.found.file, "action": item.action, "changes": item.changes}
        for item in plan.items
    ]
    return {"digest": plan.digest, "is_applicable": not plan.problems, "items": items, "problems": plan.problems, **counts}
