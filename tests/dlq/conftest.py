"""Who is there and what has run, in the tests of dead letters that need nothing special of either."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from syncs.models import Run, Sync
from tests.dlq.objects import make_run, make_user
from tests.syncs.objects import make_sync


@pytest.fixture
def root(client: Client, db: None) -> Client:
    """A browser in which a superuser is logged in."""
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def ana(db: None) -> User:
    """Who may look at dead letters, and do nothing else."""
    return make_user("view_dlqentry", name="ana")


@pytest.fixture
def sync(db: None) -> Sync:
    return make_sync()


@pytest.fixture
def several_writers() -> None:
    """For tests whose threads write at once."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")


@pytest.fixture
def run(sync: Sync) -> Run:
    return make_run(sync)
