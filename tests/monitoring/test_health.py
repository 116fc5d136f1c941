from __future__ import annotations

from typing import Any

import pytest

from monitoring.services import health
from syncs.models import Sync
from syncs.services import syncs as sync_service
from tests import seeds

pytestmark = pytest.mark.django_db


@pytest.fixture
def sync() -> Sync:
    return seeds.sync(*seeds.connections())


def status(sync: Sync) -> tuple[str, str]:
    sync.refresh_from_db()
    return sync.status, sync.status_reason


def test_sync_without_runs_is_unconfigured(sync: Sync):
    assert not health.refresh(sync.pk)
    assert status(sync) == ("unconfigured", "Never ran.")


@pytest.mark.parametrize(
    ("run", "expected", "words"),
    [
        ({"status": "succeeded"}, "healthy", ""),
        ({"status": "partial", "refused": 12}, "degraded", "12 of 1,000 rows"),
        (
            {"status": "failed", "failure_message": "The host could not be reached."},
            "failing",
            "The host could not be reached.",
        ),
    ],
)
def test_last_ended_run_decides(sync: Sync, run: dict[str, Any], expected: str, words: str):
    seeds.run(sync, "failed", failure_message="earlier")
    seeds.run(sync, **run)
    for silent in ("cancelled", "queued", "running"):
        seeds.run(sync, silent)
    assert health.refresh(sync.pk)
    assert status(sync)[0] == expected
    assert words in status(sync)[1]


def test_reprocess_does_not_make_a_degraded_sync_healthy(sync: Sync):
    seeds.run(sync, "partial", refused=5)
    seeds.run(sync, "succeeded", trigger="reprocess")
    health.refresh(sync.pk)
    assert status(sync)[0] == "degraded"


def test_since_moves_with_the_status_only(sync: Sync):
    seeds.run(sync, "failed", failure_message="first")
    health.refresh(sync.pk)
    status(sync)
    since = sync.status_since
    seeds.run(sync, "failed", failure_message="second")
    assert health.refresh(sync.pk)
    assert status(sync) == ("failing", "second")
    assert sync.status_since == since
    assert not health.refresh(sync.pk)


@pytest.mark.django_db(transaction=True)
def test_pause_and_resume_show_at_once(sync: Sync):
    seeds.run(sync)
    health.refresh(sync.pk)
    sync_service.pause(sync, by=None, reason="rotation")
    assert status(sync) == ("paused", "rotation")
    sync_service.resume(sync, by=None)
    assert status(sync) == ("healthy", "")
