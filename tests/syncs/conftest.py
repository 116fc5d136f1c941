from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def static_root(settings: Any, tmp_path: Path) -> None:
    """Nobody collects static files for the suite; the folder that the static middleware looks for is there, and empty."""
    settings.STATIC_ROOT = tmp_path
