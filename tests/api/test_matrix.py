"""Every endpoint as every role, against the files in ``matrix/``; and every act of the console has its endpoint."""

from __future__ import annotations

import fnmatch
import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.urls import get_resolver

from retl_project import roles
from syncs.models import Team
from tests.api import matrix_file, world
from tests.api.kit import Caller, person
from tests.api.matrix_file import CALLERS, Endpoint
from tests.security import role_world, walk

ENDPOINTS = matrix_file.endpoints()


def test_every_endpoint_is_in_the_matrix() -> None:
    there = set(matrix_file.operations(get_resolver("retl_project.api")))
    named = {endpoint.operation for endpoint in ENDPOINTS}
    assert sorted(f"{cls.__name__}.{action}" for cls, action in there - named) == []


# Of the console alone: pages that only show a form, a list of choices, or a part of another page.
PRESENTATION: dict[str, str] = {
    "login": "a person signs in", "logout": "a person signs out", "password_change*": "a person's own password",
    "index": "the dashboard: /stats", "app_list": "stock page", "jsi18n": "stock page", "autocomplete": "stock page",
    "view_on_site": "stock page", "": "stock page",
    "auth_*": "people, their passwords and roles are managed by a person, in the console",
}  # fmt: skip


def test_every_act_of_the_console_has_an_endpoint() -> None:
    covered = {name for endpoint in ENDPOINTS for name in endpoint.console}
    missing = []
    for route in walk.routes():
        if any(fnmatch.fnmatchcase(route.name, pattern) for pattern in PRESENTATION):
            continue
        line = role_world.line_of(route)
        assert line is not None
        for act, needed in line.post.items():
            if needed in ("nobody", "open"):
                continue
            word = f"{route.name}:{act}" if act else route.name
            if word not in covered and route.name not in covered:
                missing.append(word)
        if (
            line.get not in ("nobody", "open")
            and route.name not in covered
            and not any(name.split(":")[0] == route.name for name in covered)
        ):
            missing.append(f"{route.name} (to read)")
    assert sorted(set(missing)) == []


def test_what_the_matrix_says_of_the_console_is_there() -> None:
    there = {route.name for route in walk.routes()}
    wrong = [f"{endpoint}: {name}" for endpoint in ENDPOINTS for name in endpoint.console if name.split(":")[0] not in there]
    assert wrong == []


@pytest.mark.django_db
@pytest.mark.parametrize("who", CALLERS)
def test_each_role_hears_what_the_matrix_says(who: str, tmp_path: Path, settings: Any) -> None:
    settings.RETL = {**settings.RETL, "EXPORT_DIR": str(tmp_path), "API_REQUESTS_PER_MINUTE": 1_000_000}
    roles.apply()
    user = _user(who)
    made, names = world.make(tmp_path, maker=None if who == "foreign" else user)
    if user is not None and who != "foreign":
        made.team.members.add(user)
    client, wrong = Caller(user), []
    for endpoint in ENDPOINTS:
        answer = _ask(client, endpoint, names)
        if answer.status_code != endpoint.status[who]:
            text = b"" if getattr(answer, "streaming", False) else answer.content[:200]
            wrong.append(f"{who}: {endpoint}: {answer.status_code}, not {endpoint.status[who]}: {text!r}")
        if who == "foreign" and not getattr(answer, "streaming", False) and role_world.OURS.encode() in answer.content:
            wrong.append(f"{who}: {endpoint} tells of another team: {answer.content[:300]!r}")
    assert wrong == []


def _user(who: str) -> User | None:
    if who == "anonymous":
        return None
    if who == "foreign":
        return person("operator", team=Team.objects.create(name="Strangers"))
    return person(who)


def _ask(client: Caller, endpoint: Endpoint, names: world.Names) -> Any:
    """The answer; what it did is rolled back."""
    with transaction.atomic():
        kind = endpoint.content_type or "application/json"
        data = endpoint.raw if endpoint.raw else None
        if endpoint.body is not None:
            data = json.dumps(matrix_file.filled(endpoint.body, names))
        extra: dict[str, Any] = {} if data is None else {"content_type": kind}
        answer = client.generic(endpoint.method, endpoint.address(names), data or "", headers=dict(endpoint.headers), **extra)
        if getattr(answer, "streaming", False):
            b"".join(answer.streaming_content)
        transaction.set_rollback(True)
    return answer
