"""Every kind of the registry keeps the contract; a new one brings ``tests/contracts/servers/<kind>.py`` with a ``HARNESS``."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import pytest

from syncs.destinations.registry import DESTINATION_KINDS
from tests.contracts.harness import Harness
from tests.contracts.suite import Contract

KINDS = sorted(set(DESTINATION_KINDS) - {"memory"})


def harnesses() -> list[Harness]:
    found: list[Harness] = []
    for kind in KINDS:
        if find_spec(f"tests.contracts.servers.{kind}"):
            harness = import_module(f"tests.contracts.servers.{kind}").HARNESS
            found += harness if isinstance(harness, tuple | list) else [harness]
    return found


class TestEveryKind(Contract):
    harnesses = harnesses()


@pytest.mark.parametrize("kind", KINDS)
def test_kind_has_a_harness(kind):
    assert kind in {harness.kind for harness in harnesses()}
