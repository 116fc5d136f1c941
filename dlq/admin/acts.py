"""Acts on one entry, posted from its page."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from dlq.admin.base import demand, user_of
from dlq.choices import Door, ReprocessMode
from dlq.models import DLQEntry
from dlq.querysets import DLQEntryQuerySet
from dlq.services import entries
from dlq.services.entries import ActRefusedError, ActResult
from syncs.console import links

Said = tuple[bool, SafeString | str]  # (done, sentence)


def perform(request: HttpRequest, pk: int) -> HttpResponse:
    act = _ACTS.get(request.POST.get("act", ""))
    if act is None or not DLQEntry.objects.filter(pk=pk).exists():
        raise Http404("There is no such act or dead letter.")
    needed, work = act
    demand(request, needed)
    try:
        is_done, sentence = work(request, DLQEntry.objects.filter(pk=pk))
        messages.add_message(request, messages.SUCCESS if is_done else messages.WARNING, sentence)
    except ActRefusedError as refusal:
        messages.error(request, str(refusal))
    return HttpResponseRedirect(reverse("admin:dlq_dlqentry_change", args=(pk,)))


def _reprocess(mode: ReprocessMode) -> Callable[[HttpRequest, DLQEntryQuerySet], Said]:
    def work(request: HttpRequest, chosen: DLQEntryQuerySet) -> Said:
        result = entries.reprocess(
            chosen, by=user_of(request), reason=request.POST.get("reason", ""), mode=mode, door=Door.ADMIN
        )
        return bool(result.taken), sentence_of(result, "queued")

    return work


def _discard(request: HttpRequest, chosen: DLQEntryQuerySet) -> Said:
    result = entries.discard(chosen, by=user_of(request), reason=request.POST.get("reason", ""), door=Door.ADMIN)
    return bool(result.taken), sentence_of(result, "discarded")


def _reopen(request: HttpRequest, chosen: DLQEntryQuerySet) -> Said:
    result = entries.reopen(chosen, by=user_of(request), reason=request.POST.get("reason", ""), door=Door.ADMIN)
    return bool(result.taken), sentence_of(result, "reopened")


def _note(request: HttpRequest, chosen: DLQEntryQuerySet) -> Said:
    entries.note(chosen.get(), text=request.POST.get("note", ""), by=user_of(request), door=Door.ADMIN)
    return True, "The note is saved."


def _assign(request: HttpRequest, chosen: DLQEntryQuerySet) -> Said:
    entries.assign(chosen, owner=user_of(request), by=user_of(request), door=Door.ADMIN)
    return True, "This dead letter is yours."


def _release(request: HttpRequest, chosen: DLQEntryQuerySet) -> Said:
    entries.assign(chosen, owner=None, by=user_of(request), door=Door.ADMIN)
    return True, "This dead letter has no owner now."


_ACTS: dict[str, tuple[str, Callable[[HttpRequest, DLQEntryQuerySet], Said]]] = {
    "reprocess": ("reprocess", _reprocess(ReprocessMode.CURRENT)),
    "resend": ("reprocess", _reprocess(ReprocessMode.STORED)),
    "discard": ("discard", _discard),
    "reopen": ("discard", _reopen),
    "note": ("change", _note),
    "assign": ("change", _assign),
    "release": ("change", _release),
}


def sentence_of(result: ActResult, verb: str) -> SafeString:
    """What was done and what was not, with links to the runs."""
    runs = format_html_join(", ", "{}", ((run_link(run.pk),) for run in result.runs))
    noun = "dead letter is" if result.taken == 1 else "dead letters are"
    said = format_html("{} {} {}", f"{result.taken:,}", noun, verb) if result.taken else format_html("Nothing was {}", verb)
    if result.runs:
        said = format_html("{} for {}", said, runs)
    left = format_html_join("", " {}.", ((str(one),) for one in result.left_out))
    return format_html("{}.{}{}", said, " Left out:" if result.left_out else "", left)


def run_link(pk: int) -> SafeString:
    url = links.page("admin:syncs_run_change", pk)
    return format_html('<a href="{}">run {}</a>', url, pk) if url else format_html("run {}", pk)
