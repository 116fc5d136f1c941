from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest

from tests import postgres


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("postgres") and not os.environ.get(postgres.ENV):
            item.add_marker(pytest.mark.skip(reason="no PostgreSQL server found"))


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """The URL of a fresh, empty PostgreSQL database. Mark the test ``postgres``."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    yield postgres.create_database(name)
    postgres.drop_database(name)
