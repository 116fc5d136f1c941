"""Emulator of a Slack incoming webhook, from its documented answers: bare words. Other paths are webhooks that are gone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from syncs.errors import ErrorType
from syncs.records import Operation
from tests.contracts.harness import HttpHarness
from tests.contracts.servers.base import TOKEN, ContractServer
from tests.servers import Answer, Request

HOOK = f"/services/T0001/B0001/{TOKEN}"


def word(status: int, text: str) -> Answer:
    return Answer(status, {"Content-Type": "text/html"}, text.encode())


@dataclass
class Slack(ContractServer):
    """A message is kept under its field ``external_id``, which Slack itself does not look at. ``archived``: the channel takes
    no more."""

    archived: bool = False

    def is_known(self, request: Request) -> bool:
        return request.path.endswith(f"/{self.token}")

    def unauthorized(self) -> Answer:
        return word(404, "no_service")

    def answer(self, request: Request) -> Answer:
        if request.method == "GET":
            return word(400, "invalid_payload")
        if self.archived:
            return word(410, "channel_is_archived")
        try:
            message = request.json()
        except json.JSONDecodeError:
            return word(400, "invalid_payload")
        if "blocks" in message and not isinstance(message["blocks"], list):
            return word(400, "invalid_blocks")
        if not (message.get("text") or message.get("blocks") or message.get("attachments")):
            return word(400, "no_text")
        self.keep(message.get("external_id", str(len(self.stored))), message)
        return word(200, "ok")


def _message(key: str, values: Mapping[str, Any]) -> dict[str, Any]:
    if values["email"] == "bad":
        return {"external_id": key, "text": "hello", "blocks": "no list"}
    return {"external_id": key, "text": values["email"], **values}


HARNESS = HttpHarness(
    kind="slack",
    server=Slack,
    config=lambda url: {"base_url": url},
    object_name="messages",
    secrets={"api_key": HOOK},
    operation=Operation.INSERT,
    payload=_message,
    faults={"bad": ErrorType.VALIDATION, None: ErrorType.MISSING_REQUIRED},
)
