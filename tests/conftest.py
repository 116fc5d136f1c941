from __future__ import annotations

import gc
import os
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.test import TransactionTestCase

from tests import flush, postgres


def pytest_configure() -> None:
    """Hashing a password is slow on purpose: a third of a second for each user that a test makes or logs in."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher", *settings.PASSWORD_HASHERS]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without a server, tests that need one are skipped. With the application on PostgreSQL, only tests that touch the
    application's database are run: the others ran with SQLite and would do the very same again."""
    for item in items:
        if item.get_closest_marker("postgres") and not os.environ.get(postgres.ENV):
            item.add_marker(pytest.mark.skip(reason="no PostgreSQL server found"))
    if len(items) > MANY:
        vendor = os.environ.get("REDRIVE_TEST_DB") or "sqlite"
        left_out = [item for item in items if not _belongs(item, vendor)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = _packed([item for item in items if _belongs(item, vendor)])


def pytest_collection_finish() -> None:
    """Thousands of tests live as long as the process: what collects garbage need not look at them each time."""
    gc.collect()
    gc.freeze()


def _packed(items: list[pytest.Item]) -> list[pytest.Item]:
    """Each worker begins with its share of the slow tests: one that begins last would keep the others waiting for minutes.
    Workers get an equal stretch of the list each, and take from each other what is left (``--dist worksteal``)."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    slow = [item for item in items if any(item.get_closest_marker(name) for name in SLOW)]
    chosen = set(slow)
    rest = [item for item in items if item not in chosen]
    return [item for number in range(workers) for item in (*slow[number::workers], *rest[number::workers])]


SLOW = ("slow", "faults", "once", "thirdparty", "browser")
MANY = 500  # a few named tests always run
DATABASE_FIXTURES = {"db", "transactional_db", "live_server", "admin_client", "django_db_setup"}


def _belongs(item: pytest.Item, vendor: str) -> bool:
    once = item.get_closest_marker("once")
    if once is not None and os.environ.get(postgres.ENV) and not os.environ.get("REDRIVE_TEST_TWICE"):
        return bool(once.args[0] == vendor)
    return vendor != "postgresql" or _touches_the_database(item)


def _touches_the_database(item: pytest.Item) -> bool:
    if item.get_closest_marker("django_db") or DATABASE_FIXTURES & set(getattr(item, "fixturenames", ())):
        return True
    return "Installation" in vars(getattr(item, "module", None) or object)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The database is there; tests that commit leave it empty by ``tests.flush``."""
    with django_db_blocker.unblock(), pytest.MonkeyPatch.context() as patch:
        flush.remember()
        flush.empty()  # every test begins without the alert rules of a fresh installation, the first as well
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda _case: flush.empty())
        yield


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """The URL of a fresh, empty PostgreSQL database. Mark the test ``postgres``."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    yield postgres.create_database(name)
    postgres.drop_database(name)
