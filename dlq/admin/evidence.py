"""Evidence bundles: a page that says what one holds, and the download."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from dlq.admin.base import demand, user_of
from dlq.choices import Door
from dlq.services import evidence, evidence_bundle
from dlq.services.evidence import Scope
from dlq.services.moves import ActRefusedError

if TYPE_CHECKING:
    from dlq.admin.base import ReadOnlyAdmin


def evidence_view(page: ReadOnlyAdmin, request: HttpRequest) -> HttpResponseBase:
    """The address names what it is of: ``run`` (and ``step``), ``group`` or ``entry``. Only a POST makes the bundle."""
    demand(request, "export")
    try:
        scope = evidence.parse(request.GET.dict(), user=user_of(request))
    except ActRefusedError as refusal:
        return _ask(page, request, None, problem=refusal)
    if request.method == "GET":
        return _ask(page, request, scope)
    try:
        made = evidence_bundle.build(scope, by=user_of(request), reason=request.POST.get("reason", ""), door=Door.ADMIN)
    except ActRefusedError as refusal:
        return _ask(page, request, scope, problem=refusal)
    sent = FileResponse(made.file, as_attachment=True, filename=made.name, content_type="application/zip")
    sent["X-Content-Type-Options"] = "nosniff"
    sent["Cache-Control"] = "no-store"
    return sent


def _ask(
    page: ReadOnlyAdmin, request: HttpRequest, scope: Scope | None, *, problem: ActRefusedError | None = None
) -> HttpResponse:
    context = {
        "scope": scope,
        "sync": scope.sync if scope else None,
        "found": evidence.gather(scope) if scope else None,
        "problem": problem,
        "reason": request.POST.get("reason", ""),
    }
    status = 400 if problem else 200
    return page.show(request, "admin/dlq/evidence/ask.html", context, title="Evidence", status=status)
