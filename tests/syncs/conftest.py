from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import Answer, Server


@pytest.fixture
def api() -> Iterator[Server]:
    """A destination that takes whatever it is sent."""
    with Server(lambda request: Answer.json({"id": 1})) as server:
        yield server
