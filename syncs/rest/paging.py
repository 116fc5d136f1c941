"""Pages by position: a cursor names the last row of a page, so that rows that arrive meanwhile move nothing.

Nothing is shown twice and nothing is left out that was there from the beginning, as long as the columns of the order do not
change; the last of them is unique.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from django.core import signing
from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest

from syncs.connectors import Issue
from syncs.rest.problems import InvalidError

LIMIT, MOST = 50, 500
_SALT = "api.cursor"
_NOT_PART = ("cursor", "limit", "fields")  # of what a cursor belongs to


@dataclass(frozen=True, slots=True)
class Wanted:
    """``after``: the values that the cursor carries; None: from the beginning. ``belongs``: what its query is."""

    limit: int
    after: Mapping[str, Any] | None
    belongs: str

    def cursor(self, values: Mapping[str, Any]) -> str:
        """Opaque; ``values``: JSON."""
        return signing.dumps({"q": self.belongs, "v": dict(values)}, salt=_SALT, compress=True)


def wanted(request: HttpRequest) -> Wanted:
    """Raises ``InvalidError`` for a wrong limit, or a cursor that another query gave."""
    query = request.GET
    text = query.get("limit", str(LIMIT))
    issues = []
    if not (text.isascii() and text.isdigit() and len(text) < 5 and 1 <= int(text) <= MOST):
        issues.append(Issue("limit", f"Give a number from 1 to {MOST}."))
    belongs = _belongs(request)
    after = None
    if "cursor" in query:
        after = _opened(query["cursor"], belongs)
        if after is None:
            issues.append(
                Issue("cursor", "This cursor does not belong to this query. Begin without one, and keep filters and order.")
            )
    issues += [Issue(name, "Takes one value.") for name in ("limit", "cursor") if len(query.getlist(name)) > 1]
    if issues:
        raise InvalidError(issues)
    return Wanted(int(text), after, belongs)


def _belongs(request: HttpRequest) -> str:
    parts = sorted((name, tuple(values)) for name, values in request.GET.lists() if name not in _NOT_PART)
    return sha256(repr((request.path, parts)).encode()).hexdigest()[:20]


def _opened(text: str, belongs: str) -> Mapping[str, Any] | None:
    try:
        found = signing.loads(text, salt=_SALT)
    except (signing.BadSignature, ValueError):
        return None
    return found["v"] if found.get("q") == belongs else None


@dataclass(frozen=True, slots=True)
class Page:
    """``next``: the cursor of the page after this one; None: this is the last."""

    rows: list[Any]
    next: str | None


def page(rows: QuerySet[Any], order: Sequence[str], asked: Wanted) -> Page:
    """One query. ``order``: columns that are never NULL, each with ``-`` for downwards; the last one is unique."""
    columns = [name.lstrip("-") for name in order]
    if asked.after is not None:
        rows = rows.filter(_beyond(order, _values(rows.model, columns, asked.after)))
    found = list(rows.order_by(*order)[: asked.limit + 1])
    shown = found[: asked.limit]
    if len(found) <= asked.limit:
        return Page(shown, None)
    last = {name: _plain(getattr(shown[-1], name)) for name in columns}
    return Page(shown, asked.cursor(last))


def _beyond(order: Sequence[str], values: Mapping[str, Any]) -> Q:
    """A range on the first column that an index can begin with, and what breaks its ties."""
    first, rest = order[0], order[1:]
    name, sign = first.lstrip("-"), "lt" if first.startswith("-") else "gt"
    if not rest:
        return Q(**{f"{name}__{sign}": values[name]})
    tie = Q(**{f"{name}__{sign}": values[name]}) | _beyond(rest, values)
    return Q(**{f"{name}__{sign}e": values[name]}) & tie


def _values(model: type[Model], columns: Sequence[str], after: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {name: _typed(model, name, after[name]) for name in columns}
    except (KeyError, ValidationError):
        raise InvalidError([Issue("cursor", "This cursor is of another version. Begin without one.")]) from None


def _typed(model: type[Model], name: str, value: Any) -> Any:
    names = {field.name for field in model._meta.get_fields()} | {"pk"}
    if name not in names:
        return value  # an annotation: as it was
    field: Any = model._meta.pk if name == "pk" else model._meta.get_field(name)
    return field.to_python(value)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
