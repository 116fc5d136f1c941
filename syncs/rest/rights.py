"""Who may: what an operation asks of the caller, and of the caller's key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rest_framework import permissions
from rest_framework.request import Request

from syncs.choices import Scope
from syncs.connectors import Issue
from syncs.models import ApiKey
from syncs.rest.problems import Problem

if TYPE_CHECKING:
    from syncs.rest.operations import Operation


class Declared(permissions.BasePermission):
    """What the operation asks of the caller, and of the key: a key never exceeds its owner."""

    def has_permission(self, request: Request, view: Any) -> bool:
        operation: Operation | None = view.operation
        if operation is None:
            return request.method is not None and request.method.lower() not in view.action_map  # 405 says so itself
        if not request.user.is_authenticated:
            return False
        _demand_scope(request, operation.scope)
        needed = operation.permissions
        if needed and not any(request.user.has_perm(name) for name in needed):
            raise Problem(403, "forbidden", f"Your roles lack the right {' or '.join(needed)}.")
        return True


def demand(request: Request, permission: str, scope: Scope | None = None) -> None:
    """For what one call of an operation needs beyond its declaration, because of what it asks for. Raises a 403."""
    if scope is not None:
        _demand_scope(request, scope)
    if not request.user.has_perm(permission):
        raise Problem(403, "forbidden", f"Your roles lack the right {permission}.")


def _demand_scope(request: Request, scope: Scope) -> None:
    if not has_scope(request, scope):
        raise Problem(
            403,
            "scope_missing",
            f"This key lacks the scope {scope.value}.",
            [Issue("scope", f"Make a key with the scope {scope.value}, or ask who manages your keys.")],
        )


def has_scope(request: Request, scope: Scope) -> bool:
    """Whether the caller's key has it; somebody who is signed in needs none."""
    return not isinstance(request.auth, ApiKey) or scope.value in request.auth.scopes
