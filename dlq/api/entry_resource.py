"""What all endpoints of a dead letter begin with."""

from __future__ import annotations

from rest_framework.request import Request

from dlq.models import DLQEntry
from dlq.querysets import DLQEntryQuerySet
from dlq.services import edits, entry_detail
from syncs.rest import etags
from syncs.rest.problems import NotFoundError
from syncs.rest.resources import Resource, user_of
from syncs.rest.rights import demand
from syncs.services import access

VIEW = "dlq.view_dlqentry"


class EntryResource(Resource):
    """Whoever acts on a dead letter must be one who may see dead letters, as in the console."""

    def entry(self, request: Request, pk: str) -> DLQEntry:
        """With all that is said of it. Raises ``NotFoundError``, also for one of a sync that the caller does not see."""
        demand(request, VIEW)
        found = entry_detail.find(int(pk), user_of(request))
        if found is None:
            raise NotFoundError("No dead letter of that number")
        return found

    def rows(self, request: Request) -> DLQEntryQuerySet:
        """Those that the caller sees."""
        demand(request, VIEW)
        return access.scoped(DLQEntry.objects.all(), user_of(request))

    @staticmethod
    def etag_of(entry: DLQEntry) -> str:
        """Another one when the row has failed again, somebody has acted, or another correction waits."""
        edit = edits.standing(entry)
        state = [entry.status, entry.last_failed_at, entry.owner_id, entry.note, edit.pk if edit else None]
        return etags.of({"state": state})
