"""Acts on one entry, posted from its page."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from dlq.admin.base import demand, user_of
from dlq.admin.entry_page import find, url_of
from dlq.choices import Door, ReprocessMode, RowState
from dlq.models import DLQEntry
from dlq.querysets import DLQEntryQuerySet
from dlq.services import edits, entries, live, people
from dlq.services.drift_guard import DriftHeldError
from dlq.services.entries import ActRefusedError, ActResult
from syncs.console import links
from syncs.services import versions

Said = tuple[bool, SafeString | str]  # (done, sentence)
Work = Callable[[HttpRequest, DLQEntry], Said]


def perform(request: HttpRequest, pk: int) -> HttpResponse:
    """Do it and stay on the entry, in the list that the user works through."""
    act = _ACTS.get(request.POST.get("act", ""))
    if act is None:
        raise Http404("There is no such act.")
    needed, work = act
    demand(request, needed)
    entry = find(request, pk)
    try:
        is_done, sentence = work(request, entry)
        messages.add_message(request, messages.SUCCESS if is_done else messages.WARNING, sentence)
    except ActRefusedError as refusal:
        messages.error(request, worded(refusal))
    return HttpResponseRedirect(url_of(pk, within=request.POST.get("in", "")))


def _chosen(entry: DLQEntry) -> DLQEntryQuerySet:
    return DLQEntry.objects.filter(pk=entry.pk)


def _reason(request: HttpRequest) -> str:
    return request.POST.get("reason", "")


def _reprocess(mode: ReprocessMode) -> Work:
    def work(request: HttpRequest, entry: DLQEntry) -> Said:
        result = entries.reprocess(_chosen(entry), by=user_of(request), reason=_reason(request), mode=mode, door=Door.ADMIN)
        return bool(result.taken), sentence_of(result, "queued")

    return work


def _delete(request: HttpRequest, entry: DLQEntry) -> Said:
    result = entries.delete_at_destination(_chosen(entry), by=user_of(request), reason=_reason(request), door=Door.ADMIN)
    return bool(result.taken), sentence_of(result, "queued to be deleted at the destination")


def _discard(request: HttpRequest, entry: DLQEntry) -> Said:
    result = entries.discard(_chosen(entry), by=user_of(request), reason=_reason(request), door=Door.ADMIN)
    return bool(result.taken), sentence_of(result, "discarded")


def _reopen(request: HttpRequest, entry: DLQEntry) -> Said:
    result = entries.reopen(_chosen(entry), by=user_of(request), reason=_reason(request), door=Door.ADMIN)
    return bool(result.taken), sentence_of(result, "reopened")


def _note(request: HttpRequest, entry: DLQEntry) -> Said:
    entries.note(entry, text=request.POST.get("note", ""), by=user_of(request), door=Door.ADMIN)
    return True, "The note is saved."


def _assign(request: HttpRequest, entry: DLQEntry) -> Said:
    """To the person chosen; without a choice to oneself."""
    wanted = request.POST.get("owner", "")
    owner = user_of(request) if not wanted else people.assignee(wanted)
    if owner is None:
        raise ActRefusedError("There is nobody like that who may see dead letters. Choose from the list.", field="owner")
    entries.assign(_chosen(entry), owner=owner, by=user_of(request), door=Door.ADMIN)
    return True, "This dead letter is yours." if owner == request.user else f"This dead letter is {owner.get_username()}'s."


def _release(request: HttpRequest, entry: DLQEntry) -> Said:
    entries.assign(_chosen(entry), owner=None, by=user_of(request), door=Door.ADMIN)
    return True, "This dead letter has no owner now."


def _withdraw(request: HttpRequest, entry: DLQEntry) -> Said:
    is_done = edits.withdraw(entry, by=user_of(request), door=Door.ADMIN, reason=_reason(request))
    return is_done, "The correction is withdrawn." if is_done else "No correction was waiting any more."


def _check(request: HttpRequest, entry: DLQEntry) -> Said:
    mapping = versions.snapshot(entry.sync)["mappings"]
    found = live.check(entry, mapping, by=user_of(request), door=Door.ADMIN)
    return found.state != RowState.GONE, live.SAID[found.state]


_ACTS: dict[str, tuple[str, Work]] = {
    "reprocess": ("reprocess", _reprocess(ReprocessMode.CURRENT)),
    "resend": ("resend", _reprocess(ReprocessMode.STORED)),
    "resend_payload": ("resend", _reprocess(ReprocessMode.PAYLOAD)),
    "send_edited": ("edit", _reprocess(ReprocessMode.EDITED)),
    "withdraw": ("edit", _withdraw),
    "delete": ("resend", _delete),
    "discard": ("discard", _discard),
    "reopen": ("discard", _reopen),
    "note": ("annotate", _note),
    "assign": ("annotate", _assign),
    "release": ("annotate", _release),
    "check": ("annotate", _check),
}


def worded(refusal: ActRefusedError) -> SafeString | str:
    """Its sentence; where a preview would lift it, with the link there."""
    url = links.page("admin:syncs_sync_preview", refusal.sync.pk) if isinstance(refusal, DriftHeldError) else ""
    return format_html('{} <a href="{}">Preview the sync</a>', str(refusal), url) if url else str(refusal)


def sentence_of(result: ActResult, verb: str) -> SafeString:
    """What was done and what was not, with links to the runs."""
    runs = format_html_join(", ", "{}", ((run_link(run.pk),) for run in result.runs))
    noun = "dead letter is" if result.taken == 1 else "dead letters are"
    said = format_html("{} {} {}", f"{result.taken:,}", noun, verb) if result.taken else format_html("Nothing was {}", verb)
    if result.runs:
        said = format_html("{} for {}", said, runs)
    left = format_html_join("", " {}.", ((str(one).rstrip("."),) for one in result.left_out))
    return format_html("{}.{}{}", said, " Left out:" if result.left_out else "", left)


def run_link(pk: int) -> SafeString:
    url = links.page("admin:syncs_run_change", pk)
    return format_html('<a href="{}">run {}</a>', url, pk) if url else format_html("run {}", pk)
