"""What every edit of a sync shares: what it was written against, and issues under the names of the API."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from syncs.api.sync_filters import seen, with_all
from syncs.connectors import Issue
from syncs.rest import etags
from syncs.rest.problems import InvalidError, Problem
from syncs.rest.resources import Resource
from syncs.rest.shapes import Shape
from syncs.services import sync_edits
from syncs.services.mappings import InvalidMappingError, StaleMappingError
from syncs.services.sync_edits import InvalidSyncError, StaleSyncError

API = "api"
_TRIES = 3  # of an edit that overwrites, while others save


class IssueShape(Shape):
    field = serializers.CharField(help_text="Of the sync; of a line of the mapping with its place: `mappings[2].column`.")
    issue = serializers.CharField()


class IssuesShape(Shape):
    is_valid = serializers.BooleanField()  # type: ignore[assignment]
    issues = IssueShape(many=True)


def found_issues(issues: Sequence[Issue]) -> dict[str, Any]:
    told = [{"field": one.field, "issue": one.message} for one in api_issues(issues)]
    return {"is_valid": not told, "issues": told}


def api_issues(issues: Sequence[Issue]) -> list[Issue]:
    """The same with the fields' names here: ``mappings.2.column`` is ``mappings[2].column``, ``source`` is ``source_id``."""
    return [Issue(_place(one.field), one.message) for one in issues]


def _place(field: str) -> str:
    parts = field.split(".")
    if parts[0] == "mappings" and len(parts) > 1 and parts[1].isdigit():
        return ".".join([f"mappings[{parts[1]}]", *parts[2:]])
    return f"{field}_id" if field in ("source", "destination", "owner", "team") else field


def edit(request: Request, digest: Callable[[], str], act: Callable[[str], Any]) -> Any:
    """Do it against the state that ``If-Match`` names. Raises 428 and 412."""
    for _ in range(_TRIES):
        opened = digest()
        etags.demand(request, stamp(opened))
        try:
            return act(opened)
        except (StaleSyncError, StaleMappingError):
            continue  # the next look says 412, unless whatever is there is to be overwritten
    raise Problem(412, "precondition_failed", "Others keep saving it. Read it again, and send your edit with the new ETag.")


@contextmanager
def named() -> Iterator[None]:
    """What is wrong with a sync is said of the fields that the caller sent."""
    try:
        yield
    except (InvalidSyncError, InvalidMappingError) as error:
        raise InvalidError(api_issues(error.issues), error.message) from None


def stamp(digest: str) -> str:
    return f'"{digest}"'


class OfSync(Resource):
    """Endpoints of one sync that answer with the sync."""

    def told(self, request: Request, id: int | str, *, location: bool = False) -> Response:
        # The ETag first: what is shown may be newer, and an edit is refused then; never older, or an edit would be lost.
        etag = stamp(sync_edits.digest(self.find(seen(request), id)))
        sync = self.find(with_all(seen(request)), id)
        return self.one(request, sync, etag=etag, location=f"/api/v1/syncs/{sync.pk}" if location else "")
