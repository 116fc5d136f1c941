"""The admin site: the console itself."""

from django.contrib import admin


class RetlAdminSite(admin.AdminSite):
    site_header = "Redrive"
    site_title = "Redrive"
    index_title = "Overview"
