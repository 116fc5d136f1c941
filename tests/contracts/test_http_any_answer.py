"""Whatever JSON comes back, under whatever status: one outcome per record, no exception, and no claim beyond the answer."""

from __future__ import annotations

import functools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncs.destinations.http_api import build
from syncs.destinations.http_api.answers import Interpreter, read_reply
from syncs.http import Headers, Response
from syncs.records import Operation, RecordState, Signal
from tests.contracts.http_emulators import CLASSES
from tests.contracts.http_tools import MemoryCredentials, contact

WORDS = [
    "ok", "error", "errors", "rows", "results", "success", "status", "message", "id", "code", "category", "index", "context",
    "objectWriteTraceId", "successCount", "failCount", "failedUpdates", "invalidUserIds", "input_array", "attributes", "fields",
    "statusCode", "field", "created", "Row 1: email is required", "k0", "0", "1",
]  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers(-3, 400) | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.sampled_from(WORDS) | st.text(max_size=12)
ANSWERS = st.recursive(
    SCALARS | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=25,
)
STATUSES = st.sampled_from([200, 201, 202, 204, 207, 301, 400, 401, 403, 404, 409, 413, 422, 429, 500, 503])
SIGNALS_WITHOUT_OUTCOMES = {Signal.RATE_LIMITED, Signal.UNAVAILABLE, Signal.AUTH, Signal.CONFIG, Signal.UNKNOWN, Signal.REFUSED}


@functools.cache
def interpreter(name: str) -> Interpreter:
    config = {"base_url": "https://api.example.com", "auth": {"kind": "none"}, **CLASSES[name].config}
    made = build(config=config, credentials=MemoryCredentials({}), object_name="contacts", options={})
    return made._operations[Operation.UPSERT].interpreter


@pytest.mark.parametrize("name", CLASSES)
@given(data=ANSWERS, status=STATUSES, count=st.integers(1, 4))
@settings(deadline=None, max_examples=150)
def test_any_answer_gives_one_outcome_per_record(name, data, status, count):
    records = [contact(f"k{number}") for number in range(1 if name == "H" else count)]
    result = interpreter(name).result(read_reply(Response(status, Headers([]), json.dumps(data).encode(), 1.0)), records)
    states = [outcome.state for outcome in result.outcomes]
    assert len(states) == len(records)
    if result.signal in SIGNALS_WITHOUT_OUTCOMES:
        assert RecordState.WRITTEN not in states
        assert result.error is not None
    if status >= 300:
        assert RecordState.WRITTEN not in states
    for outcome in result.outcomes:
        assert (outcome.error is None) == (outcome.state in (RecordState.WRITTEN, RecordState.NOT_ATTEMPTED))


@pytest.mark.parametrize("name", CLASSES)
@given(body=st.binary(max_size=60), status=STATUSES)
@settings(deadline=None, max_examples=50)
def test_any_bytes_give_one_outcome_per_record(name, body, status):
    records = [contact("k0")]
    result = interpreter(name).result(read_reply(Response(status, Headers([]), body, 1.0)), records)
    assert len(result.outcomes) == 1


@pytest.mark.parametrize("name", CLASSES)
def test_answer_nested_a_thousand_deep_is_survived(name):
    for text in ("[" * 1000 + "]" * 1000, '{"errors":' * 900 + "1" + "}" * 900):
        for status in (200, 400):
            result = interpreter(name).result(read_reply(Response(status, Headers([]), text.encode(), 1.0)), [contact("k0")])
            assert len(result.outcomes) == 1
