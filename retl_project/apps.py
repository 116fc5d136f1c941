from django.contrib.admin.apps import AdminConfig


class RetlAdminConfig(AdminConfig):
    default_site = "retl_project.admin.RetlAdminSite"
