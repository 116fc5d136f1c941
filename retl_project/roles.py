"""The roles of the house: groups of permissions, made from ``roles.toml`` and nothing else."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from django.contrib.auth.models import Group, Permission
from django.db import transaction

from syncs.services.access import SEES_ALL

FILE = Path(__file__).with_name("roles.toml")


@dataclass(frozen=True, slots=True)
class Right:
    """One line of the matrix. ``reach``: role -> ``own`` or ``all``; a role that is not named does not have the right."""

    name: str
    permissions: tuple[str, ...]
    reach: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Matrix:
    roles: Mapping[str, str]  # name -> what it is for, in a sentence
    rights: tuple[Right, ...]

    def permissions(self, role: str) -> frozenset[str]:
        """What the role's group holds, as ``app.codename``."""
        held = {name for right in self.rights if role in right.reach for name in right.permissions}
        return frozenset(held | {SEES_ALL} if self.sees_all(role) else held)

    def sees_all(self, role: str) -> bool:
        return any(right.reach.get(role) == "all" for right in self.rights)


@cache
def matrix() -> Matrix:
    """Raises ``ValueError`` where the file contradicts itself."""
    read = tomllib.loads(FILE.read_text())
    roles: dict[str, str] = read["roles"]
    rights = tuple(_right(line, roles) for line in read["rights"])
    for role in roles:
        if len({right.reach[role] for right in rights if role in right.reach}) > 1:
            raise ValueError(f"The role {role} reaches “own” in one line and “all” in another.")
    return Matrix(roles, rights)


def _right(line: Mapping[str, Any], roles: Mapping[str, str]) -> Right:
    reach = {key: value for key, value in line.items() if key not in ("name", "permissions")}
    wrong = [key for key, value in reach.items() if key not in roles or value not in ("own", "all")]
    if wrong:
        raise ValueError(f"“{line['name']}”: {', '.join(wrong)} is no role, or reaches neither “own” nor “all”.")
    return Right(line["name"], tuple(line["permissions"]), reach)


def group_name(role: str) -> str:
    return role.capitalize()


@transaction.atomic
def apply() -> list[str]:
    """Give each role's group exactly the permissions of the matrix; other groups are left alone. Returns what is missing.

    A permission that the database does not know yet (its app is not migrated) is named in the answer, not an error.
    """
    known = {
        f"{app}.{codename}": pk
        for pk, app, codename in Permission.objects.values_list("pk", "content_type__app_label", "codename")
    }
    missing: set[str] = set()
    for role in matrix().roles:
        group, _ = Group.objects.get_or_create(name=group_name(role))
        wanted = matrix().permissions(role)
        missing |= wanted - known.keys()
        group.permissions.set([known[name] for name in sorted(wanted & known.keys())])
    return sorted(missing)
