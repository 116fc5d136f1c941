"""The page of a user: whoever manages people hands out roles, and cannot make anybody, themselves included, a superuser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest

if TYPE_CHECKING:
    _UserAdmin = UserAdmin[User]
else:
    _UserAdmin = UserAdmin

ABOVE_ROLES = ("is_superuser", "user_permissions")


class PeopleAdmin(_UserAdmin):
    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """Without service accounts, which have pages of their own."""
        return super().get_queryset(request).filter(service_account=None)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Without what lies above the roles, for everybody but superusers."""
        found = super().get_fieldsets(request, obj)
        if request.user.is_superuser:
            return found
        return [
            (title, {**options, "fields": tuple(name for name in options["fields"] if name not in ABOVE_ROLES)})
            for title, options in found
        ]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A superuser is changed by superusers only: a new password would be a way to become one."""
        is_above = obj is not None and obj.is_superuser and not request.user.is_superuser
        return super().has_change_permission(request, obj) and not is_above

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody: acts and notes name them. Take “active” away instead."""
        return False


admin.site.unregister(User)
admin.site.register(User, PeopleAdmin)
