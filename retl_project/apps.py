from typing import Any

from django.apps import AppConfig, apps
from django.contrib.admin.apps import AdminConfig
from django.db.models.signals import post_migrate


class RetlProjectConfig(AppConfig):
    """The house itself as an app: it has no models, only management commands and static files."""

    name = "retl_project"

    def ready(self) -> None:
        post_migrate.connect(_make_roles, dispatch_uid="retl_project.roles")


def _make_roles(sender: AppConfig, using: str, **_: Any) -> None:
    """Once, after the last app: only then are all permissions there."""
    if using == "default" and sender is list(apps.get_app_configs())[-1]:
        from retl_project import roles  # models are not loaded when this module is

        roles.apply()


class RetlAdminConfig(AdminConfig):
    default_site = "retl_project.admin.RetlAdminSite"

    def ready(self) -> None:
        super().ready()
        from retl_project import people  # noqa: F401 - it takes the place of a page that every app has registered by now
