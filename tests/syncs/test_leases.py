from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import OperationalError
from django.utils import timezone

from syncs.choices import RunStatus
from syncs.engine.ports import Counts, Flag
from syncs.errors import FenceLostError
from syncs.models import Run, Sync
from syncs.services import leases, runs
from tests.syncs.objects import claimed, make_connection, make_sync

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(settings.RETL, "LEASE_SECONDS", 3)
    monkeypatch.setattr(leases, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(leases, "DRAIN", threading.Event())


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait for what another thread brings about; fails when it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


def lost(keeper: leases.LeaseKeeper) -> bool:
    try:
        keeper.flag()
    except FenceLostError:
        return True
    return False


def test_lease_is_renewed_by_the_thread():
    run, claim = claimed(make_sync())
    with leases.LeaseKeeper(claim) as keeper:
        until(lambda: Run.objects.get(pk=run.pk).lease_until > run.lease_until + timedelta(seconds=1))
        assert keeper.flag() is Flag.GO
        assert 1 < keeper.lease_seconds_left() <= 3


def test_cancel_is_seen():
    run, claim = claimed(make_sync())
    with leases.LeaseKeeper(claim) as keeper:
        assert keeper.flag() is Flag.GO
        runs.cancel(run, by=None)
        until(lambda: keeper.flag() is Flag.CANCEL)


def test_pause_is_seen_and_taken_back():
    run, claim = claimed(make_sync())
    with leases.LeaseKeeper(claim) as keeper:
        Sync.objects.filter(pk=run.sync_id).update(is_paused=True)
        until(lambda: keeper.flag() is Flag.PAUSE)
        Sync.objects.filter(pk=run.sync_id).update(is_paused=False)
        until(lambda: keeper.flag() is Flag.GO)


def test_drain_is_seen_at_once_and_cancel_weighs_more():
    run, claim = claimed(make_sync())
    with leases.LeaseKeeper(claim) as keeper:
        leases.DRAIN.set()
        assert keeper.flag() is Flag.DRAIN
        runs.cancel(run, by=None)
        until(lambda: keeper.flag() is Flag.CANCEL)


def test_fence_is_lost_when_another_worker_owns_the_run():
    run, claim = claimed(make_sync())
    with leases.LeaseKeeper(claim) as keeper:
        Run.objects.filter(pk=run.pk).update(fence=claim.fence + 1)
        until(lambda: lost(keeper))
        assert keeper.lease_seconds_left() == 0


def test_fence_is_lost_when_the_run_ended():
    _, claim = claimed(make_sync())
    with leases.LeaseKeeper(claim) as keeper:
        runs.finish(claim, status=RunStatus.SUCCEEDED, counts=Counts())
        until(lambda: lost(keeper))


def test_fence_is_lost_by_the_local_clock_though_nobody_took_the_run():
    """A worker that was stopped for a minute must not send before it has looked again."""
    _, claim = claimed(make_sync())
    keeper = leases.LeaseKeeper(leases.Claim(claim.run_id, claim.fence, lease_ends=time.monotonic() - 0.001))
    assert lost(keeper)
    assert keeper.lease_seconds_left() == 0


def test_database_errors_are_ridden_out_until_the_lease_ends(monkeypatch: pytest.MonkeyPatch):
    _, claim = claimed(make_sync())
    is_down = threading.Event()
    is_down.set()
    real = leases.LeaseKeeper._look

    def look(self: leases.LeaseKeeper) -> None:
        if is_down.is_set():
            raise OperationalError("the server closed the connection")
        real(self)

    monkeypatch.setattr(leases.LeaseKeeper, "_look", look)
    with leases.LeaseKeeper(claim) as keeper:
        until(lambda: keeper.lease_seconds_left() < 2.5)
        assert keeper.flag() is Flag.GO
        is_down.clear()
        until(lambda: keeper.lease_seconds_left() > 2.7)
        is_down.set()
        until(lambda: lost(keeper))


def test_concurrency_is_shared_among_live_runs_of_the_connection():
    destination = make_connection("destination")
    _, claim = claimed(make_sync(destination=destination))
    claimed(make_sync())  # another connection: does not count
    with leases.LeaseKeeper(claim, concurrency=8) as keeper:
        assert keeper.concurrency_share() == 8
        _, second = claimed(make_sync(destination=destination))
        until(lambda: keeper.concurrency_share() == 4)
        runs.finish(second, status=RunStatus.SUCCEEDED, counts=Counts())
        until(lambda: keeper.concurrency_share() == 8)
    assert leases.LeaseKeeper(claim).concurrency_share() is None
    assert leases.LeaseKeeper(claim, concurrency=0).concurrency_share() == 1


def test_lease_is_by_the_databases_clock(monkeypatch: pytest.MonkeyPatch):
    """An application clock three hours ahead must not make the reaper take a live run (PostgreSQL has its own clock)."""
    from django.db import connection

    run, _ = claimed(make_sync())
    ahead = timezone.now() + timedelta(hours=3)
    monkeypatch.setattr(timezone, "now", lambda: ahead)
    reaped = [found.pk for found in runs.reap()]
    assert reaped == ([] if connection.vendor == "postgresql" else [run.pk])


def test_sigterm_sets_drain_and_the_old_handler_comes_back():
    seen: list[Any] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with leases.draining_on_signals(signal.SIGTERM):
            os.kill(os.getpid(), signal.SIGTERM)
            until(leases.DRAIN.is_set)
        assert seen == []
        os.kill(os.getpid(), signal.SIGTERM)
        until(lambda: seen == [signal.SIGTERM])
    finally:
        signal.signal(signal.SIGTERM, before)
