"""One decorator says all of an endpoint: who may call it, what it takes, what it gives, and what can go wrong. The rights, the
reading of input, the document and the tests all come from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, TypeVar

from rest_framework import exceptions, serializers
from rest_framework.request import Request

from syncs.choices import Scope
from syncs.connectors import Issue
from syncs.rest import repeats
from syncs.rest.filters import PAGE_NAMES, StrictFilterSet, unknown_names
from syncs.rest.parsing import Upload, check_address
from syncs.rest.problems import InvalidError

H = TypeVar("H", bound=Callable[..., Any])
FILE = "file"  # how an uploaded file is called where something is said about it
ShapeType = type[serializers.Serializer[Any]]


@dataclass(frozen=True, slots=True)
class Operation:
    """``permission``: of Django, as ``app.codename``; several: any of them; empty: whoever is known. ``shape``: what is given
    back; ``is_page``: a list of them with a cursor, ``is_list``: all of them at once. ``file``: the media type of a download.

    ``takes``: the shape of the body; ``upload``: or the media types of a file that is the body, given as ``file``. ``query``:
    the shape of the address of what is no list; ``filters``: of what is one.
    ``orders``: what ``order`` may say, the first one if it says nothing; each maps to columns, the last one unique.
    ``needs_match``: an edit, which says in If-Match what it was written against. ``can_refuse``: 409 is possible.
    ``is_secret``: the answer is not kept for repeats, which are done again. ``example``, ``answer_example``: JSON, for the
    document.
    """

    summary: str
    scope: Scope
    permission: str | tuple[str, ...] = ""
    shape: ShapeType | None = None
    status: int = 200
    is_page: bool = False
    is_list: bool = False
    file: str | tuple[str, ...] = ()
    takes: ShapeType | None = None
    upload: tuple[str, ...] = ()
    query: ShapeType | None = None
    filters: type[StrictFilterSet] | None = None
    orders: Mapping[str, Sequence[str]] = field(default_factory=dict)
    has_etag: bool = False
    needs_match: bool = False
    can_refuse: bool = False
    is_secret: bool = False
    errors: tuple[int, ...] = ()
    description: str = ""
    example: Any = None
    answer_example: Any = None
    also: tuple[tuple[int, ShapeType], ...] = ()  # other successes: status and shape
    name: str = ""  # in the document; empty: made of the address and what is done

    @property
    def permissions(self) -> tuple[str, ...]:
        named = (self.permission,) if isinstance(self.permission, str) else self.permission
        return tuple(name for name in named if name)

    def knows(self, place: str) -> bool:
        """Whether this field is one that a caller sends."""
        name = place.split(".")[0].split("[")[0]
        shapes = [shape for shape in (self.takes, self.query) if shape is not None]
        is_filter = self.filters is not None and name in self.filters.base_filters
        is_file = bool(self.upload) and name == FILE
        return is_filter or is_file or any(name in shape().fields for shape in shapes)


def operation(summary: str, *, scope: Scope, **about: Any) -> Callable[[H], H]:
    """Decorate a method of a ``Resource``. When it is called, ``self.given`` holds the body and ``self.asked`` the address,
    both checked, and ``self.order`` the columns to order by."""
    made = Operation(summary, scope, **about)

    def decorate(method: H) -> H:
        @wraps(method)
        def run(self: Any, request: Request, *args: Any, **kwargs: Any) -> Any:
            check_address(request.query_params)
            self.asked = _asked(made, request)
            self.order = _order(made, request)
            self.given = _given(made, request)
            if made.is_secret:
                return method(self, request, *args, **kwargs)
            return repeats.once(request, lambda: method(self, request, *args, **kwargs))

        run.operation = made  # type: ignore[attr-defined]
        return run  # type: ignore[return-value]

    return decorate


def _given(made: Operation, request: Request) -> dict[str, Any]:
    if request.method in ("GET", "HEAD"):
        return {}
    data = request.data  # read in any case: a body that is not understood is never passed over
    if made.upload and not data:
        data = Upload(b"")
    if isinstance(data, Upload) != bool(made.upload):
        raise exceptions.UnsupportedMediaType(request.content_type or "none")
    if isinstance(data, Upload):
        return {FILE: data.raw}
    if made.takes is None:
        if data:
            raise InvalidError(list(unknown_names(data if isinstance(data, dict) else {"body": data}, ())))
        return {}
    shape = made.takes(data=data, partial=request.method == "PATCH", context={"request": request})
    shape.is_valid(raise_exception=True)
    return dict(shape.validated_data)


def _asked(made: Operation, request: Request) -> dict[str, Any]:
    if made.filters is not None:
        return {}  # ``StrictFilterSet.of`` reads them
    page = PAGE_NAMES if made.is_page else (("fields",) if made.shape else ())
    if made.query is None:
        issues = list(unknown_names(request.query_params, page))
        if issues:
            raise InvalidError(issues)
        return {}
    fields = made.query().fields
    issues = list(unknown_names(request.query_params, (*fields, *page)))
    plain: dict[str, Any] = {}
    for name, values in request.query_params.lists():
        if name not in fields:
            continue
        is_list = isinstance(fields[name], serializers.ListField | serializers.MultipleChoiceField)
        plain[name] = list(values) if is_list else values[-1]
        if len(values) > 1 and not is_list:
            issues += unknown_names({name: values}, [f"{name} (once)"])
    if issues:
        raise InvalidError(issues)
    shape = made.query(data=plain, context={"request": request})
    shape.is_valid(raise_exception=True)
    return dict(shape.validated_data)


def _order(made: Operation, request: Request) -> Sequence[str]:
    if not made.orders:
        if made.is_page and "order" in request.query_params:
            raise InvalidError(list(unknown_names({"order": ""}, ())))
        return ()
    first = next(iter(made.orders))
    word = request.query_params.get("order", first)
    if word not in made.orders:
        raise InvalidError([Issue("order", f"Choose among {', '.join(made.orders)}.")])
    return made.orders[word]
