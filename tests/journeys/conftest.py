from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import override_settings


@pytest.fixture(scope="session", autouse=True)
def static_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nobody collects static files for the suite; the folder that the static middleware looks for is there, and empty."""
    with override_settings(STATIC_ROOT=tmp_path_factory.mktemp("static")):
        yield
