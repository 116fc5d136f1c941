"""The class that every endpoint derives from. What it declares by ``operation`` is what it is allowed to do; an endpoint
without a declaration is closed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpResponseBase
from django.utils import timezone
from rest_framework import viewsets
from rest_framework.request import Request
from rest_framework.response import Response

from syncs import log_context
from syncs.choices import Scope
from syncs.connectors import Issue
from syncs.models import ApiKey
from syncs.rest import etags, paging
from syncs.rest.operations import Operation, ShapeType
from syncs.rest.problems import InvalidError, NotFoundError, Problem
from syncs.rest.repeats import caller_of
from syncs.rest.rights import Declared, has_scope
from syncs.rest.shapes import SPARSE
from syncs.services import audit, rate_limits
from syncs.services.rate_limits import Allowance

if TYPE_CHECKING:
    from django.contrib.auth.models import User

ID = "[1-9][0-9]{0,17}"


class Resource(viewsets.ViewSet):
    """Endpoints of one kind of thing. A method decorated with ``operation`` reads ``self.given`` (body), ``self.asked``
    (address) and ``self.order``, calls a service, and answers with ``one``, ``listed``, ``paged`` or ``nothing``."""

    permission_classes = (Declared,)
    lookup_value_regex = ID
    lookup_field = "id"
    tag: ClassVar[str] = ""  # the heading in the document
    requests_per_minute: ClassVar[int] = 0  # of a caller who is known; 0: as many as the settings say
    given: dict[str, Any]
    asked: dict[str, Any]
    order: Sequence[str]

    @property
    def operation(self) -> Operation | None:
        return getattr(getattr(self, self.action or "", None), "operation", None)

    def may(self, request: Request, permission: str, scope: Scope) -> bool:
        """For what an operation gives or does beyond its declaration."""
        return has_scope(request, scope) and request.user.has_perm(permission)

    # --- before

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        with log_context.working_on():  # what ``initial`` adds ends with the request
            return super().dispatch(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        self._allowance: Allowance | None = None
        try:
            self.perform_authentication(request)
        except Exception:
            self._count(request, f"ip:{request.META.get('REMOTE_ADDR', '')}")
            raise
        self._count(request, caller_of(request))
        prefix = request.auth.prefix if isinstance(request.auth, ApiKey) else ""
        audit.acting_key.set(prefix)
        if prefix:
            log_context.also(api_key=prefix)
        self.check_permissions(request)

    def _count(self, request: Request, caller: str) -> None:
        now = timezone.now()
        is_known = not caller.startswith("ip:")
        limit = (is_known and self.requests_per_minute) or settings.RETL["API_REQUESTS_PER_MINUTE"]
        found = rate_limits.count(caller, limit=limit, now=now)
        self._allowance = found
        if found.is_exceeded:
            raise Problem(
                429,
                "too_many_requests",
                f"More than {found.limit:,} requests in a minute. Wait {found.reset} seconds.",
                headers={"Retry-After": str(found.reset)},
            )

    def raise_uncaught_exception(self, exc: Exception) -> NoReturn:
        """As it is: DRF looks for a renderer first, which is chosen later here, and its own fault would hide this one."""
        raise exc

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        answer = super().finalize_response(request, response, *args, **kwargs)
        found = getattr(self, "_allowance", None)
        if found is not None:
            answer["X-RateLimit-Limit"] = str(found.limit)
            answer["X-RateLimit-Remaining"] = str(found.remaining)
            answer["X-RateLimit-Reset"] = str(found.reset)
        answer.headers.setdefault("Cache-Control", "no-store")
        return answer

    # --- answers

    def one(self, request: Request, thing: Any, *, status: int | None = None, etag: str = "", location: str = "") -> Response:
        """``thing``: what the operation's shape (or that of ``status``) can be made of."""
        operation = self.operation
        assert operation is not None
        assert operation.shape is not None
        code = operation.status if status is None else status
        shape = dict(operation.also).get(code, operation.shape)
        answer = self._cut(request, shape, shape(thing, context={"request": request}).data, code)
        if etag:
            answer["ETag"] = etag
        if location:
            answer["Location"] = location
        return answer

    def listed(self, request: Request, things: Any) -> Response:
        """All of them, in an order of their own."""
        return self._many(request, list(things), None)

    def paged(self, request: Request, rows: QuerySet[Any], *, order: Sequence[str] = ()) -> Response:
        """A page of them in ``self.order``, or in ``order``."""
        asked = paging.wanted(request)
        found = paging.page(rows, order or self.order, asked)
        return self._many(request, found.rows, {"limit": asked.limit, "next": found.next})

    def page_of(self, request: Request, page: paging.Page, limit: int) -> Response:
        """A page that somebody else has cut."""
        return self._many(request, page.rows, {"limit": limit, "next": page.next})

    def _many(self, request: Request, things: Sequence[Any], page: dict[str, Any] | None) -> Response:
        operation = self.operation
        assert operation is not None
        assert operation.shape is not None
        data = operation.shape(things, many=True, context={"request": request}).data
        names = self._fields(request, operation.shape)
        rows = [{name: row[name] for name in names} for row in data] if names else data
        body = {"data": rows, "meta": {} if page is None else {"page": page}}
        return Response(body, content_type=SPARSE if names else None)

    def nothing(self) -> Response:
        return Response(status=204)

    def _cut(self, request: Request, shape: ShapeType, data: Any, status: int) -> Response:
        names = self._fields(request, shape) if request.method in ("GET", "HEAD") else ()
        cut = {name: data[name] for name in names} if names else data
        return Response(cut, status=status, content_type=SPARSE if names else None)

    def _fields(self, request: Request, shape: ShapeType) -> Sequence[str]:
        """Those that ``fields`` names, in the order of the shape; empty: all."""
        if "fields" not in request.query_params:
            return ()
        known = [name for name, field in shape().fields.items() if not field.write_only]
        wanted = [part.strip() for part in request.query_params["fields"].split(",")]
        wrong = [name for name in wanted if name not in known]
        if wrong or len(request.query_params.getlist("fields")) > 1:
            said = f"“{wrong[0][:60]}” is no field of it." if wrong else "Takes one value."
            raise InvalidError([Issue("fields", f"{said} Name some of {', '.join(known)}, with commas between.")])
        return [name for name in known if name in wanted]

    # --- things

    def find(self, rows: QuerySet[Any], pk: int | str, what: str = "Nothing of that number", *, by: str = "pk") -> Any:
        """The row of this number among those that the caller sees; ``by``: its column. Raises ``NotFoundError``."""
        found = rows.filter(**{by: int(pk)}).first()
        if found is None:
            raise NotFoundError(what)
        return found

    @contextmanager
    def edited(self, request: Request, rows: QuerySet[Any], pk: int | str, etag_of: Any) -> Iterator[Any]:
        """The row, locked in a transaction, once ``If-Match`` fits the ETag that ``etag_of(row)`` gives."""
        with transaction.atomic():
            row = (
                rows.model._default_manager.select_for_update(of=("self",)).filter(pk__in=rows.values("pk"), pk=int(pk)).first()
            )
            if row is None:
                raise NotFoundError("Nothing of that number")
            etags.demand(request, etag_of(row))
            yield row


def user_of(request: Request) -> User:
    """Who calls; for operations, which let nobody else in."""
    assert request.user.is_authenticated
    return request.user


__all__ = ["ID", "SPARSE", "Declared", "HttpResponseBase", "Resource", "has_scope", "user_of"]
