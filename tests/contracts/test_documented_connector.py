"""The connector of docs/connectors.md, as a reader would copy it, keeps the contract by the harness that stands beside it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from syncs.destinations import registry

PAGE = Path(__file__).resolve().parents[2] / "docs" / "connectors.md"
CONNECTOR, TESTS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)


@pytest.fixture(autouse=True)
def acme(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("acme_documented")
    exec(CONNECTOR, vars(module))
    monkeypatch.setitem(sys.modules, "acme_documented", module)
    monkeypatch.setitem(registry.DESTINATION_KINDS, "acme", ("Acme CRM", "acme_documented"))


exec(TESTS)
