"""Acts behind buttons: permission first, POST only, a sentence afterwards, never a traceback for what a service refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from syncs.admin.address import run_url
from syncs.errors import RedriveError
from syncs.models import Run, Sync
from syncs.services import run_requests
from syncs.services import syncs as sync_service
from syncs.services.run_requests import Wanted

if TYPE_CHECKING:
    from django.contrib.auth.models import User

Said = SafeString | str


def may_run(request: HttpRequest) -> bool:
    return bool(request.user.has_perm("syncs.run_sync"))


def may_pause(request: HttpRequest) -> bool:
    return bool(request.user.has_perm("syncs.pause_sync"))


def may(request: HttpRequest, name: str) -> bool:
    """Whether the user may do the act of this name in ``SYNC_ACTS``."""
    return may_pause(request) if name in ("pause", "resume") else may_run(request)


def demand(allowed: bool) -> None:
    if not allowed:
        raise PermissionDenied


def run_now(request: HttpRequest, sync: Sync) -> Said:
    wanted = Wanted(is_full=request.POST.get("full") == "1")
    run = run_requests.ask(sync, wanted, by=user_of(request), door="admin")
    return format_html('“{}”: <a href="{}">run {}</a> is queued.', sync, run_url(run.pk), run.pk)


def pause(request: HttpRequest, sync: Sync) -> Said:
    sync_service.pause(sync, by=user_of(request), reason=request.POST.get("reason", "").strip()[:255], door="admin")
    return f"“{sync}” is paused: no run starts until someone resumes it."


def resume(request: HttpRequest, sync: Sync) -> Said:
    sync_service.resume(sync, by=user_of(request), door="admin")
    return f"“{sync}” is resumed."


def approve(request: HttpRequest, sync: Sync) -> Said:
    count = sync_service.approve_deletes(sync, by=user_of(request), door="admin")
    return f"“{sync}”: the next run may delete up to {count:,} rows. Run it now, or leave it to the schedule."


SYNC_ACTS: dict[str, Callable[[HttpRequest, Sync], Said]] = {
    "run": run_now,
    "pause": pause,
    "resume": resume,
    "approve": approve,
}


def cancel(request: HttpRequest, run: Run) -> None:
    if run_requests.cancel(run, by=user_of(request), door="admin"):
        messages.success(request, f"Run {run.pk} is asked to stop. Batches in flight end first; rows not sent stay pending.")
    else:
        messages.warning(request, f"Run {run.pk} has nothing to cancel: it has ended, or someone has asked already.")


def run_again(request: HttpRequest, run: Run) -> Run | None:
    """A new run with the options of this one. None, with a message, where it is refused."""
    try:
        again = run_requests.again(run, by=user_of(request), door="admin")
    except RedriveError as error:
        messages.error(request, error.message)
        return None
    messages.success(request, f"Run {again.pk} is queued. It uses the sync as it is now.")
    return again


def on_syncs(request: HttpRequest, syncs: Iterable[Sync], act: Callable[[HttpRequest, Sync], Said]) -> None:
    for sync in syncs:
        try:
            messages.success(request, act(request, sync))
        except RedriveError as error:
            messages.error(request, error.message)


def user_of(request: HttpRequest) -> User:
    assert request.user.is_authenticated  # the admin lets nobody else in
    return request.user
