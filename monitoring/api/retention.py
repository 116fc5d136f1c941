"""How long each kind of thing is kept; and asking for a purge of what is older."""

from __future__ import annotations

from django.db import transaction
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.api.base import DOOR
from monitoring.api.retention_shapes import DryRunShape, EditedRetentionRuleShape, PurgeShape, RetentionRuleShape
from monitoring.choices import Retained
from monitoring.services.retention import figures, passes, reading, rules
from syncs.choices import Scope
from syncs.rest import etags
from syncs.rest.operations import operation
from syncs.rest.resources import Resource, user_of

_SEE, _CHANGE, _PURGE = "monitoring.view_retentionrule", "monitoring.change_retentionrule", "monitoring.add_purge"


class RetentionRules(Resource):
    """One for each kind there is: none is made or deleted."""

    tag = "Retention"
    lookup_field = "kind"
    lookup_value_regex = f"(?:{'|'.join(Retained)})"

    @operation(
        "How long things are kept",
        scope=Scope.READ,
        permission=_SEE,
        shape=RetentionRuleShape,
        is_list=True,
    )
    def list(self, request: Request) -> Response:
        return self.listed(request, figures.all_of_them())

    @operation("How long one kind is kept", scope=Scope.READ, permission=_SEE, shape=RetentionRuleShape, has_etag=True)
    def retrieve(self, request: Request, kind: str) -> Response:
        return self._shown(request, Retained(kind))

    @operation(
        "Set how long one kind is kept",
        scope=Scope.ADMIN,
        permission=_CHANGE,
        takes=EditedRetentionRuleShape,
        shape=RetentionRuleShape,
        has_etag=True,
        needs_match=True,
        can_refuse=True,
        description="It holds from the next purge on. Fewer days than `least_days` are refused, with the reason.",
        example={"days": 180},
    )
    def partial_update(self, request: Request, kind: str) -> Response:
        chosen = Retained(kind)
        with transaction.atomic():
            etags.demand(request, _etag(rules.locked(chosen).days))
            if "days" in self.given:
                number = rules.read(chosen, str(self.given["days"] or ""))
                rules.keep(chosen, number, by=user_of(request), door=DOOR)
        return self._shown(request, chosen)

    @action(detail=True, methods=["post"], url_path="dry-run")
    @operation(
        "See what a purge would delete",
        scope=Scope.ADMIN,
        permission=_PURGE,
        takes=DryRunShape,
        shape=PurgeShape,
        status=202,
        can_refuse=True,
        description="Counts only. Poll the purge at `Location`.",
        example={"days": 30},
    )
    def dry_run(self, request: Request, kind: str) -> Response:
        days = self.given.get("days")
        return self._purge(request, kind, is_dry_run=True, days=None if days is None else rules.read(Retained(kind), str(days)))

    @action(detail=True, methods=["post"])
    @operation(
        "Delete what is older than the rule says",
        scope=Scope.ADMIN,
        permission=_PURGE,
        shape=PurgeShape,
        status=202,
        can_refuse=True,
        description="In small batches, by a worker. Poll the purge at `Location`.",
    )
    def purge(self, request: Request, kind: str) -> Response:
        return self._purge(request, kind, is_dry_run=False)

    def _purge(self, request: Request, kind: str, *, is_dry_run: bool, days: int | None = None) -> Response:
        made = passes.request(Retained(kind), by=user_of(request), door=DOOR, is_dry_run=is_dry_run, days=days)
        passes.start()
        return self.one(request, reading.line(made), location=f"/api/v1/purges/{made.pk}")

    def _shown(self, request: Request, kind: Retained) -> Response:
        found = figures.of(kind)
        return self.one(request, found, etag=_etag(found.days))


def _etag(days: int | None) -> str:
    return etags.of({"days": days})
