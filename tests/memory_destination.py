"""A destination kind for tests of the services: records stay in this process, in ``STORES[name]`` (``FakeDestination``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from syncs.connectors import CheckReport, Issue
from syncs.destinations import registry
from tests.fakes import FakeDestination

STORES: dict[str, FakeDestination] = {}
FIELDS = ()


def validate(config: Mapping[str, Any], secrets: Mapping[str, Any]) -> list[Issue]:
    return []


def objects(config: Mapping[str, Any]) -> list[str]:
    return ["things"]


class _Opened:
    def __init__(self, store: FakeDestination) -> None:
        self._store = store
        self.capabilities = store.capabilities

    def check(self) -> CheckReport:
        return CheckReport(True, "in memory")

    def fields(self) -> None:
        return None

    def write(self, batch):
        return self._store.write(batch)

    def confirm(self, batch, job):
        return self._store.confirm(batch, job)

    def close(self) -> None:
        pass


def build(*, config, credentials, object_name, options, allowed_private_networks):
    return _Opened(STORES[config["name"]])


def register() -> None:
    registry.DESTINATION_KINDS["memory"] = ("In memory", "tests.memory_destination")
