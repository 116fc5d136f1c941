"""The matrix: what each endpoint answers to each role, read from ``matrix/*.toml``."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.urls import URLPattern, URLResolver, resolve
from rest_framework.viewsets import ViewSet

from tests.api.world import Names

FOLDER = Path(__file__).with_name("matrix")
CALLERS = ("anonymous", "viewer", "support", "operator", "admin", "auditor", "foreign")
_KNOWN = {"method", "path", "query", "body", "headers", "console", "raw", "content_type", *CALLERS}
_NAME = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Endpoint:
    """``console``: admin routes, or ``route:act``, that do the same. ``raw``: a body that is no JSON, of ``content_type``."""

    file: str
    method: str
    path: str
    status: Mapping[str, int]
    query: str = ""
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    console: tuple[str, ...] = ()
    raw: str = ""
    content_type: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.path}{'?' + self.query if self.query else ''} ({self.file})"

    def address(self, names: Names) -> str:
        path = _NAME.sub(lambda found: str(names[found[1]]()), self.path)
        query = _NAME.sub(lambda found: str(names[found[1]]()), self.query)
        return f"{path}?{query}" if query else path

    @property
    def operation(self) -> tuple[type[ViewSet], str]:
        """The class and the method that answer."""
        found = resolve(_NAME.sub(lambda name: "t" * 32 if name[1] == "public_id" else "1", self.path))
        actions: Mapping[str, str] = getattr(found.func, "actions", {})
        assert self.method.lower() in actions, f"{self}: there is no such endpoint"
        return getattr(found.func, "cls"), actions[self.method.lower()]  # noqa: B009


def endpoints() -> list[Endpoint]:
    return [
        _endpoint(path.name, one)
        for path in sorted(FOLDER.glob("*.toml"))
        for one in tomllib.loads(path.read_text())["endpoints"]
    ]


def _endpoint(file: str, one: Mapping[str, Any]) -> Endpoint:
    unknown = set(one) - _KNOWN
    assert not unknown, f"{file}: {one['path']} has {unknown}"
    missing = set(CALLERS) - set(one)
    assert not missing, f"{file}: {one['method']} {one['path']} does not say what {missing} hear"
    return Endpoint(
        file,
        one["method"],
        one["path"],
        {name: one[name] for name in CALLERS},
        one.get("query", ""),
        one.get("body"),
        one.get("headers", {}),
        tuple(one.get("console", ())),
        one.get("raw", ""),
        one.get("content_type", ""),
    )


def filled(value: Any, names: Names) -> Any:
    """A body with its ``{names}`` put in; a text that is nothing but one becomes the value itself."""
    if isinstance(value, dict):
        return {name: filled(inner, names) for name, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, names) for inner in value]
    if not isinstance(value, str):
        return value
    whole = _NAME.fullmatch(value)
    if whole and whole[1] in names:
        return names[whole[1]]()
    return _NAME.sub(lambda found: str(names[found[1]]()) if found[1] in names else found[0], value)


def operations(resolver: Any) -> Iterator[tuple[type[ViewSet], str]]:
    """Every endpoint there is, taken from the routes."""
    for found in resolver.url_patterns:
        if isinstance(found, URLResolver):
            yield from operations(found)
        elif isinstance(found, URLPattern):
            for action in getattr(found.callback, "actions", {}).values():
                yield getattr(found.callback, "cls"), action  # noqa: B009
