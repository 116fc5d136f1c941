from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from monitoring.views import feeds
from retl_project import api_docs

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("api/docs", api_docs.page, name="api-docs"),
    path("api/v1/", include("retl_project.api")),
    path("feeds/incidents.json", feeds.incidents, name="feed_incidents"),
    path("feeds/runs.json", feeds.runs, name="feed_runs"),
]
