from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers import Server


@pytest.fixture
def loopback(settings: Any) -> None:
    """Channels may be on this machine."""
    settings.RETL = {**settings.RETL, "ALLOWED_PRIVATE_NETWORKS": ("127.0.0.0/8",)}


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running
