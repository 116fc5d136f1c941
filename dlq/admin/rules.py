"""Fingerprint rules: made from the page of a group, with a preview; listed, and switched off and on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from dlq.admin.base import user_of
from dlq.admin.group_page import group_of
from dlq.choices import RuleKind
from dlq.models import ErrorGroup, FingerprintRule
from dlq.services import group_list, rules
from dlq.services.moves import ActRefusedError
from dlq.services.rules import Draft
from syncs.errors import ErrorType
from syncs.services import access

if TYPE_CHECKING:
    from dlq.admin.base import ReadOnlyAdmin

_SHOWN = 200
_TEXTS = ("pattern", "error_type", "error_code", "field", "title")
DONE = "The dead letters are regrouped."
LATER = "The dead letters are being regrouped; the groups' histories will say how many moved."


def form(page: ReadOnlyAdmin, request: HttpRequest, pk: int) -> HttpResponse:
    """GET: a suggestion, or the fields with a preview of them. POST: save."""
    _demand(request)
    group = group_of(request, pk)
    kind = _kind(request.GET if request.method == "GET" else request.POST)
    if request.method == "POST":
        return _save(page, request, group, kind)
    if kind == RuleKind.MERGE and "pattern" not in request.GET:
        return _ask(page, request, group, kind, _suggested_merge(request, group))
    if kind == RuleKind.SPLIT and "pattern" not in request.GET:
        suggested = rules.suggest_splits(group)
        return _ask(page, request, group, kind, suggested[0].draft if len(suggested) == 1 else None)
    return _ask(page, request, group, kind, _given(request.GET, group, kind))


def _save(page: ReadOnlyAdmin, request: HttpRequest, group: ErrorGroup, kind: RuleKind) -> HttpResponse:
    draft = _given(request.POST, group, kind)
    try:
        rule, is_done = rules.create(draft, by=user_of(request))
    except ActRefusedError as refusal:
        return _ask(page, request, group, kind, draft, problem=str(refusal))
    messages.success(request, f"The rule is saved. {DONE if is_done else LATER}")
    return HttpResponseRedirect(reverse("admin:dlq_errorgroup_change", args=(rule.target_id or group.pk,)))


def _ask(
    page: ReadOnlyAdmin, request: HttpRequest, group: ErrorGroup, kind: RuleKind, draft: Draft | None, *, problem: str = ""
) -> HttpResponse:
    preview = rules.preview(draft) if draft else None
    other = _other(request, group) if kind == RuleKind.MERGE else None
    suggestions = rules.suggest_splits(group) if kind == RuleKind.SPLIT else rules.suggest_merges(group, other) if other else []
    context: dict[str, Any] = {
        "group": group,
        "kind": kind.value,
        "is_split": kind == RuleKind.SPLIT,
        "draft": draft,
        "preview": preview,
        "problem": problem or (preview.problem if preview else ""),
        "error_types": [(one.value, one.info.label) for one in sorted(ErrorType, key=lambda one: one.info.label)],
        "others": [] if kind == RuleKind.SPLIT or draft else rules.candidates(group),
        "suggestions": [(one, _query(one.draft, other), one.draft == draft) for one in suggestions],
        "other": other,
    }
    title = "Split an error group" if kind == RuleKind.SPLIT else "Merge error groups"
    return page.show(request, "admin/dlq/errorgroup/rule.html", context, title=title, status=400 if problem else 200)


def _query(draft: Draft, other: ErrorGroup | None) -> str:
    """The address of this page with the draft in its form."""
    pairs = {name: getattr(draft, name) for name in _TEXTS} | {"kind": draft.kind.value}
    return f"?{urlencode(pairs | ({'other': other.pk} if other else {}))}"


def _suggested_merge(request: HttpRequest, group: ErrorGroup) -> Draft | None:
    other = _other(request, group)
    return rules.suggest_merges(group, other)[0].draft if other else None


def _other(request: HttpRequest, group: ErrorGroup) -> ErrorGroup | None:
    text = request.GET.get("other", "")
    if not text:
        return None
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0
    other = group_list.visible(user_of(request)).filter(pk=number, sync_id=group.sync_id).exclude(pk=group.pk).first()
    if other is None:
        raise Http404("There is no such other group in this sync.")
    return other


def _given(values: Mapping[str, str], group: ErrorGroup, kind: RuleKind) -> Draft:
    draft = Draft(kind=kind, sync_id=group.sync_id, group_id=group.pk, target_id=group.pk if kind == RuleKind.MERGE else None)
    texts = {name: values.get(name, "").strip() for name in _TEXTS}
    return replace(draft, **texts)  # type: ignore[arg-type]


def _kind(values: Mapping[str, str]) -> RuleKind:
    text = values.get("kind", "")
    if text not in set(RuleKind):
        raise Http404("A rule merges or splits.")
    return RuleKind(text)


def _demand(request: HttpRequest) -> None:
    if not user_of(request).has_perm("dlq.change_fingerprintrule"):
        raise PermissionDenied


# --- those that are there


def listing(page: ReadOnlyAdmin, request: HttpRequest) -> HttpResponse:
    mine = access.scoped(FingerprintRule.objects.select_related("sync", "target", "created_by"), user_of(request))
    found = list(mine.order_by("-is_active", "-pk")[: _SHOWN + 1])
    context = {
        "rules": found[:_SHOWN],
        "has_more": len(found) > _SHOWN,
        "may_rule": user_of(request).has_perm("dlq.change_fingerprintrule"),
    }
    return page.show(request, "admin/dlq/fingerprintrule/list.html", context, title="Grouping rules")


def switch(request: HttpRequest, pk: int) -> HttpResponse:
    _demand(request)
    rule = access.scoped(FingerprintRule.objects.all(), user_of(request)).filter(pk=pk).first()
    if rule is None:
        raise Http404(f"There is no rule {pk}.")
    try:
        is_done = rules.switch(rule, is_active=request.POST.get("to") == "on", by=user_of(request))
        messages.success(
            request, f"The rule is {'on' if request.POST.get('to') == 'on' else 'off'}. {DONE if is_done else LATER}"
        )
    except ActRefusedError as refusal:
        messages.error(request, str(refusal))
    return HttpResponseRedirect(reverse("admin:dlq_fingerprintrule_changelist"))
