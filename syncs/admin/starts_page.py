"""What starts a sync: the page with its triggers and chains, and the acts on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from syncs.admin import acts
from syncs.admin.sync_pages import _find
from syncs.choices import ChainWhen, labelled
from syncs.console import words
from syncs.errors import ConfigError, RedriveError
from syncs.models import Sync, SyncChain, SyncTrigger
from syncs.services import access, chaining, starts, triggering

if TYPE_CHECKING:
    from syncs.admin.syncs import SyncAdmin

_ONCE = "admin/syncs/sync/trigger_secret.html"


def page(self: SyncAdmin, request: HttpRequest, *, pk: int) -> HttpResponse:
    if request.method not in ("GET", "HEAD"):
        return HttpResponseNotAllowed(["GET"])
    sync = _find(self, request, pk)
    user, context = acts.user_of(request), _frame(self, request, sync, "What starts it")
    found = starts.of(sync, user)
    context |= {
        "schedule": words.schedule(sync),
        "starts": found,
        "latest": starts.latest(found),
        "may": {name: user.has_perm(needed) for name, needed in NEEDED.items()},
        "whens": labelled(ChainWhen),
        "hours": triggering.OVERLAP_HOURS,
        "hours_most": triggering.OVERLAP_MOST,
        "base": settings.RETL["BASE_URL"],
    }
    if context["may"]["add_chain"] and not sync.is_archived:
        context["candidates"] = list(starts.candidates(sync, user, found))
    return TemplateResponse(request, "admin/syncs/sync/starts.html", context)


def act(self: SyncAdmin, request: HttpRequest, *, pk: int) -> HttpResponse:
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    name = request.POST.get("act", "")
    if name not in _ACTS:
        raise Http404("There is no such act.")
    acts.demand(request.user.has_perm(NEEDED[name]))
    sync = _find(self, request, pk)
    try:
        done = _ACTS[name](request, sync)
    except RedriveError as refusal:
        messages.error(request, refusal.message)
    else:
        if isinstance(done, tuple):
            trigger, secret = done
            context = _frame(self, request, sync, "Signing secret")
            context |= {"trigger": trigger, "secret": secret, "is_new": name == "add_trigger"}
            context["address"] = settings.RETL["BASE_URL"] + triggering.address(trigger)
            return TemplateResponse(request, _ONCE, context)
        messages.success(request, done)
    return HttpResponseRedirect(_url(sync))


def _url(sync: Sync) -> str:
    return reverse("admin:syncs_sync_starts", args=(sync.pk,))


def _frame(self: SyncAdmin, request: HttpRequest, sync: Sync, title: str) -> dict[str, Any]:
    return {
        **self.admin_site.each_context(request),
        "opts": self.opts,
        "title": title,
        "sync": sync,
        "page_url": reverse("admin:syncs_sync_page", args=(sync.pk,)),
        "starts_url": _url(sync),
        "act_url": reverse("admin:syncs_sync_starts_act", args=(sync.pk,)),
    }


# --- acts: a sentence, or a trigger with the secret that is shown once

Done = str | tuple[SyncTrigger, str]


def _who(request: HttpRequest) -> dict[str, Any]:
    return {"by": acts.user_of(request), "door": "admin"}


def _number(request: HttpRequest, name: str) -> int:
    text = request.POST.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def _trigger(request: HttpRequest, sync: Sync) -> SyncTrigger:
    found = SyncTrigger.objects.filter(sync=sync, pk=_number(request, "trigger")).first()
    if found is None:
        raise ConfigError("Nothing was changed: the trigger is not there any more.")
    return found


def _chain(request: HttpRequest, sync: Sync) -> SyncChain:
    mine = chaining.seen_by(acts.user_of(request))
    found = mine.filter(pk=_number(request, "chain")).first()
    if found is None or sync.pk not in (found.sync_id, found.after_id):
        raise ConfigError("Nothing was changed: the chain is not there any more.")
    return found


def _add_trigger(request: HttpRequest, sync: Sync) -> Done:
    name = request.POST.get("name", "").replace("\x00", "")
    return triggering.add(sync, name=name, **_who(request))


def _switch_trigger(request: HttpRequest, sync: Sync) -> Done:
    is_on = request.POST["act"] == "trigger_on"
    made = triggering.change(_trigger(request, sync), is_enabled=is_on, **_who(request))
    return f"“{made.name}” is on." if is_on else f"“{made.name}” is off: calls are refused until it is switched on."


def _rotate(request: HttpRequest, sync: Sync) -> Done:
    text = request.POST.get("hours", "")
    hours = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else -1
    return triggering.rotate(_trigger(request, sync), hours=hours, **_who(request))


def _delete_trigger(request: HttpRequest, sync: Sync) -> Done:
    trigger = _trigger(request, sync)
    triggering.delete(trigger, **_who(request))
    return f"“{trigger.name}” is deleted. Its address starts nothing more."


def _add_chain(request: HttpRequest, sync: Sync) -> Done:
    seen = access.scoped(Sync.objects.active(), request.user, by="pk")
    after = seen.filter(pk=_number(request, "after")).first()
    if after is None:
        raise ConfigError("Choose the sync to run after.", field="after_id")
    chaining.add(sync, after=after, when=request.POST.get("when", ChainWhen.SUCCEEDED), **_who(request))
    return f"“{sync}” now runs after “{after}”."


def _change_chain(request: HttpRequest, sync: Sync) -> Done:
    chain = chaining.change(_chain(request, sync), when=request.POST.get("when", ""), **_who(request))
    return f"“{chain.sync}” runs after “{chain.after}”: {chain.get_when_display().lower()}."


def _switch_chain(request: HttpRequest, sync: Sync) -> Done:
    is_on = request.POST["act"] == "chain_on"
    chain = chaining.change(_chain(request, sync), is_enabled=is_on, **_who(request))
    return f"The chain from “{chain.after}” to “{chain.sync}” is {'on' if is_on else 'off'}."


def _delete_chain(request: HttpRequest, sync: Sync) -> Done:
    chain = _chain(request, sync)
    chaining.delete(chain, **_who(request))
    return f"“{chain.sync}” runs after “{chain.after}” no more."


_ACTS: dict[str, Callable[[HttpRequest, Sync], Done]] = {
    "add_trigger": _add_trigger,
    "trigger_on": _switch_trigger,
    "trigger_off": _switch_trigger,
    "rotate": _rotate,
    "delete_trigger": _delete_trigger,
    "add_chain": _add_chain,
    "change_chain": _change_chain,
    "chain_on": _switch_chain,
    "chain_off": _switch_chain,
    "delete_chain": _delete_chain,
}
NEEDED = {
    "add_trigger": "syncs.add_synctrigger",
    "trigger_on": "syncs.change_synctrigger",
    "trigger_off": "syncs.change_synctrigger",
    "rotate": "syncs.change_synctrigger",
    "delete_trigger": "syncs.delete_synctrigger",
    "add_chain": "syncs.add_syncchain",
    "change_chain": "syncs.change_syncchain",
    "chain_on": "syncs.change_syncchain",
    "chain_off": "syncs.change_syncchain",
    "delete_chain": "syncs.delete_syncchain",
}
