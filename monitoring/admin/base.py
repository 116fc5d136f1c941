"""What the pages of monitoring share."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from dlq.admin.base import ReadOnlyAdmin, user_of

__all__ = ["ReadOnlyAdmin", "demand", "may", "user_of"]


def may(request: HttpRequest, permission: str) -> bool:
    """``permission``: of monitoring, for example ``change_incident``."""
    return user_of(request).has_perm(f"monitoring.{permission}")


def demand(request: HttpRequest, permission: str) -> None:
    if not may(request, permission):
        raise PermissionDenied
