"""Callers of the API: people with one role and a key, and what they hear."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.auth.models import Group, User
from rest_framework.test import APIClient

from retl_project import roles
from syncs.choices import Scope
from syncs.models import ApiKey, Team
from syncs.services import api_keys

ALL_SCOPES = tuple(scope.value for scope in Scope)


def person(role: str, *, team: Team | None = None) -> User:
    user = User.objects.create_user(f"{role}-{uuid.uuid4().hex[:6]}", password=None, is_staff=True)
    user.groups.add(Group.objects.get(name=roles.group_name(role)))
    if team is not None:
        team.members.add(user)
    return user


def key_of(user: User, *scopes: str, **values: Any) -> str:
    text, prefix, digest = api_keys.made()
    ApiKey.objects.create(user=user, name="test", prefix=prefix, digest=digest, scopes=list(scopes or ALL_SCOPES), **values)
    return text


class Caller(APIClient):
    """``user`` None: anonymous. Its answers are checked for what every answer has."""

    def __init__(self, user: User | None = None, *scopes: str) -> None:
        super().__init__(raise_request_exception=True)
        self.user = user
        if user is not None:
            self.credentials(HTTP_AUTHORIZATION=f"Bearer {key_of(user, *scopes)}")


def caller(role: str | None, *scopes: str, team: Team | None = None) -> Caller:
    return Caller(None if role is None else person(role, team=team), *scopes)


def said(answer: Any) -> tuple[int, str, dict[str, str]]:
    """(status, code, {field: issue}) of a refusal; it has the one shape that all have."""
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "details"}
    assert error["message"]
    return answer.status_code, error["code"], {one["field"]: one["issue"] for one in error["details"]}
