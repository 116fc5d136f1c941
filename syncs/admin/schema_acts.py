"""What the schema page and the drift page share: asking the destination now, and where the pages are."""

from __future__ import annotations

from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.urls import reverse

from syncs.models import Connection
from syncs.services import access, schema_watch
from syncs.services.schemas import Refresh


def user_of(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # the admin lets nobody else in
    return request.user


def schema_url(connection_id: int, object_name: str = "") -> str:
    url = reverse("admin:syncs_connection_schema", args=(connection_id,))
    return f"{url}?{urlencode({'object': object_name})}" if object_name else url


def refresh(request: HttpRequest, connection: Connection, object_name: str) -> Refresh:
    """Ask, and say what was found. Raises ``RedriveError``."""
    found = schema_watch.refresh(connection, object_name, by=user_of(request), door="admin")
    level = messages.WARNING if found.syncs else messages.SUCCESS
    messages.add_message(request, level, said(found, user_of(request)))
    return found


def said(found: Refresh, user: User) -> str:
    """What was found, with the names of those syncs only that the user may see."""
    name, count = found.snapshot.object_name, len(found.snapshot.fields)
    if not found.is_new:
        return f"“{name}”: nothing has changed since version {found.snapshot.number}."
    if not found.changes:
        return f"“{name}”: {count:,} fields are kept as version {found.snapshot.number}."
    changes = f"{len(found.changes):,} change{'' if len(found.changes) == 1 else 's'}"
    if not found.syncs:
        return f"“{name}”: {changes}, kept as version {found.snapshot.number}. No mapping is broken by it."
    seen = [f"“{sync.name}”" for sync in found.syncs if access.may_see(user, sync.pk)][:5]
    rest = len(found.syncs) - len(seen)
    more = [f"{rest} more sync{'' if rest == 1 else 's'}" if seen else f"{rest} sync{'' if rest == 1 else 's'}"] if rest else []
    text = f"“{name}”: {changes}, kept as version {found.snapshot.number}."
    return f"{text} The mapping of {', '.join([*seen, *more])} is touched."
