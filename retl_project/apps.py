from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class RetlProjectConfig(AppConfig):
    """The house itself as an app: it has no models, only management commands and static files."""

    name = "retl_project"


class RetlAdminConfig(AdminConfig):
    default_site = "retl_project.admin.RetlAdminSite"
