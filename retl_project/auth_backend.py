"""Django's own backend for user name and password, which saves pages queries: somebody's permissions come in one instead of
two, and what the bell in the header says comes with the user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Permission
from django.db.models import Q

from monitoring.services import notices
from syncs.services import service_accounts

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class OneQueryBackend(ModelBackend):
    """Every page asks for permissions; those of the user and those of the user's roles come together."""

    def authenticate(self, request: Any, username: str | None = None, password: str | None = None, **more: Any) -> Any:
        """Nobody signs in as a service account, whatever password somebody gave it."""
        user = super().authenticate(request, username=username, password=password, **more)
        return None if user is None or service_accounts.is_one(user) else user

    def get_user(self, user_id: Any) -> Any:
        """With ``unread_notices``, for ``notices.unread_count``. No service account has a session."""
        users = notices.with_unread(get_user_model()._default_manager.filter(pk=user_id, service_account=None))
        user = users.first()
        return user if user is not None and self.user_can_authenticate(user) else None

    def get_all_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        if not user_obj.is_active or user_obj.is_anonymous or user_obj.is_superuser or obj is not None:
            return super().get_all_permissions(user_obj, obj)
        if not hasattr(user_obj, "_perm_cache"):  # Django's own name: whatever clears its cache clears this one
            user_obj._perm_cache = _permissions(user_obj)
        found: set[str] = user_obj._perm_cache
        return found


def _permissions(user: User) -> set[str]:
    own = Permission.objects.filter(user=user.pk).order_by().values("pk")
    by_role = Permission.objects.filter(group__user=user.pk).order_by().values("pk")
    rows = Permission.objects.filter(Q(pk__in=own) | Q(pk__in=by_role)).order_by()
    return {f"{app}.{codename}" for app, codename in rows.values_list("content_type__app_label", "codename")}
