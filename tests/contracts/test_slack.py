from __future__ import annotations

from typing import Any

import pytest

from syncs.destinations.vendors.slack import validate
from syncs.records import Operation, Signal
from tests.contracts.http_tools import states
from tests.contracts.servers.base import TOKEN
from tests.contracts.servers.slack import HARNESS, HOOK, word
from tests.contracts.vendor_tools import lines, opened, refused, told, write
from tests.servers import Answer

ROW: dict[str, dict[str, Any]] = {"m1": {"text": "New customer: *Acme*", "attachments": None}}


def test_message_is_posted_to_the_address_byte_for_byte():
    with opened(HARNESS) as world:
        assert states(write(world, ROW)) == ["written"]
        request = world.server.requests[0]
    assert lines(world) == [f"POST {HOOK}"]
    assert request.body == b'{"text":"New customer: *Acme*"}'
    assert request.headers["content-type"] == "application/json"
    assert "authorization" not in request.headers


@pytest.mark.parametrize(
    "answer, wanted",
    [
        (word(400, "invalid_payload"), ("validation", "invalid_payload", "")),
        (word(400, "no_text"), ("missing_required", "no_text", "text")),
        (word(400, "user_not_found"), ("reference_not_found", "user_not_found", "")),
        (word(400, "invalid_blocks"), ("validation", "invalid_blocks", "blocks")),
        (word(400, "too_many_attachments"), ("validation", "too_many_attachments", "attachments")),
    ],
)
def test_refusal_of_a_message_ends_as_its_type(answer, wanted):
    with opened(HARNESS) as world:
        result = refused(world, answer, ROW)
    assert (states(result), told(result.outcomes[0].error)) == (["rejected"], wanted)


@pytest.mark.parametrize(
    "answer, signal",
    [
        (word(403, "invalid_token"), Signal.AUTH),
        (word(404, "no_service"), Signal.AUTH),
        (word(403, "action_prohibited"), Signal.CONFIG),
        (word(404, "channel_not_found"), Signal.CONFIG),
        (word(410, "channel_is_archived"), Signal.CONFIG),
        (word(500, "rollup_error"), Signal.UNAVAILABLE),
        (Answer(429, {"Retry-After": "9"}, b"rate_limited"), Signal.RATE_LIMITED),
    ],
)
def test_fault_of_the_webhook_or_the_moment_rejects_nobody(answer, signal):
    with opened(HARNESS) as world:
        result = refused(world, answer, ROW)
    assert (result.signal, "rejected" in states(result)) == (signal, False)
    assert result.error.code == answer.body.decode()
    assert result.retry_after == (9 if signal is Signal.RATE_LIMITED else None)


@pytest.mark.parametrize("answer", [word(200, "<html>Sign in to the guest network</html>"), word(200, ""), Answer(204)])
def test_only_the_word_ok_is_a_yes_and_a_message_is_never_sent_twice_unasked(answer):
    with opened(HARNESS) as world:
        result = refused(world, answer, ROW)
        assert world.destination.capabilities.idempotent == frozenset()
        assert world.destination.capabilities.operations == {Operation.INSERT}
    assert states(result) == ["unknown"]


def test_test_call_posts_nothing_and_says_when_the_webhook_is_gone():
    with opened(HARNESS) as world:
        report = world.destination.check()
        assert (report.is_ok, lines(world), world.emulator.stored) == (True, [f"GET {HOOK}"], {})
        assert "live test" in report.message
        world.emulator.token = "renewed"
        report = world.destination.check()
        assert (report.is_ok, "gone" in report.message) == (False, True)


def test_address_is_checked_in_the_form_and_never_shown():
    address = f"https://hooks.slack.com{HOOK}"
    assert validate({}, {"api_key": address}) == []
    issues = validate({"base_url": "https://chat.example.com"}, {"api_key": address})
    assert [issue.field for issue in issues] == ["api_key"]
    assert TOKEN not in f"{issues}"
    assert [issue.field for issue in validate({}, {})] == ["api_key"]
    with opened(HARNESS) as world:
        result = write(world, ROW)
        assert result.exchange.request.startswith(f"POST {world.server.url}")
        assert TOKEN not in f"{result} {world.destination.check()}"


def test_one_message_a_second():
    with opened(HARNESS) as world:
        found = world.destination.capabilities
        assert [field.name for field in world.destination.fields() if field.is_required] == ["text"]
    assert (found.max_records, found.concurrency, found.requests_per_window, found.window_seconds) == (1, 1, 1, 1)
