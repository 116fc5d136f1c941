"""Where the console's own pages are."""

from django.urls import reverse


def sync_url(pk: int) -> str:
    return reverse("admin:syncs_sync_page", args=(pk,))


def connection_url(pk: int) -> str:
    return reverse("admin:syncs_connection_page", args=(pk,))


def run_url(pk: int) -> str:
    return reverse("admin:syncs_run_change", args=(pk,))
