"""What the credential of a connection does to the status of the syncs that use it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from monitoring.services import evaluation
from syncs.models import AuditEvent, Connection, Sync
from syncs.services import credentials
from tests import seeds

pytestmark = pytest.mark.django_db


@pytest.fixture
def syncs() -> list[Sync]:
    source, destination = seeds.connections()
    made = [seeds.sync(source, destination, name) for name in ("One", "Two", "Three")]
    for sync in made[:2]:
        seeds.run(sync, "succeeded")
    return made


def statuses(syncs: list[Sync]) -> list[tuple[str, str]]:
    for sync in syncs:
        sync.refresh_from_db()
    return [(sync.status, sync.status_reason) for sync in syncs]


def test_ended_login_shows_at_once_on_every_sync_of_the_connection(
    syncs: list[Sync], django_capture_on_commit_callbacks: object
):
    evaluation.judge_due()
    connection = syncs[0].destination
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
        assert credentials.lost(connection.pk, "The destination has ended the login.")
        assert not credentials.lost(connection.pk, "said again")
    text = f"“{connection.name}”: log in again at the destination."
    assert statuses(syncs) == [("failing", text), ("failing", text), ("unconfigured", text)]
    assert [event.act for event in AuditEvent.objects.all()] == ["login_lost"]
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
        assert credentials.renewed(connection.pk)
        assert not credentials.renewed(connection.pk)
    assert [status for status, _ in statuses(syncs)] == ["healthy", "healthy", "unconfigured"]


@pytest.mark.parametrize(
    ("days", "expected"), [(15, ("healthy", "")), (13, ("degraded", "expires on")), (-1, ("degraded", "expired on"))]
)
def test_known_end_of_a_credential_is_told_days_before(syncs: list[Sync], days: int, expected: tuple[str, str]):
    ends_at = timezone.now() + timedelta(days=days)
    Connection.objects.filter(pk=syncs[0].destination_id).update(credential_expires_at=ends_at)
    evaluation.judge_due()
    status, reason = statuses(syncs)[0]
    assert status == expected[0]
    assert expected[1] in reason
    assert (f"{ends_at:%-d %b %Y}" in reason) == (days < 14)


def test_warning_stands_behind_what_is_worse(syncs: list[Sync]):
    seeds.run(syncs[0], "partial", refused=12)
    seeds.run(syncs[1], "failed", failure_message="The host could not be reached.")
    Connection.objects.filter(pk=syncs[0].source_id).update(credential_expires_at=timezone.now())
    evaluation.judge_due()
    first, second, third = statuses(syncs)
    assert first[1].startswith("Last run dead-lettered 12 of 1,000 rows; 0 open. The credential of")
    assert second == ("failing", "The host could not be reached.")
    assert third == ("unconfigured", "Never ran.")
