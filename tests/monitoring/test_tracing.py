"""Traces as a collector receives them, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from monitoring.services import trace_spans, tracing
from syncs.models import Run
from tests import seeds
from tests.servers import Answer, Server

pytestmark = pytest.mark.django_db


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server(lambda request: Answer(200, {"Content-Type": "application/x-protobuf"})) as server:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.url)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "redrive-eu")
        monkeypatch.setattr(tracing, "_silent_until", 0.0)
        for cached in (tracing._exporter, trace_spans._resource):
            cached.cache_clear()
        yield server
    tracing._exporter.cache_clear()
    trace_spans._resource.cache_clear()


@pytest.fixture
def run() -> Run:
    sync = seeds.sync(*seeds.connections())
    made = seeds.run(sync, "failed", read=1200, refused=4, failure_type="auth", failure_message="Refused for ana@example.com")
    seeds.steps(made, 5)
    return made


def received(server: Server) -> list[dict[str, Any]]:
    found = []
    for request in server.requests:
        assert request.path == "/v1/traces"
        sent = ExportTraceServiceRequest.FromString(request.body)
        for resource in sent.resource_spans:
            service = {one.key: one.value.string_value for one in resource.resource.attributes}["service.name"]
            for span in (span for scope in resource.scope_spans for span in scope.spans):
                values = {one.key: getattr(one.value, one.value.WhichOneof("value") or "") for one in span.attributes}
                found.append({"service": service, "span": span, "name": span.name, **values})
    return found


def test_run_is_one_trace_of_its_steps_and_calls(collector: Server, run: Run):
    assert tracing.export(run.pk)
    spans = received(collector)
    root, others = spans[0], spans[1:]
    assert root["service"] == "redrive-eu"
    assert (root["name"], root["redrive.run.id"], root["redrive.rows.read"]) == ("run Contacts", run.pk, 1200)
    assert (root["error.type"], root["span"].status.code) == ("auth", 2)
    assert run.started_at
    assert run.finished_at
    assert root["span"].end_time_unix_nano - root["span"].start_time_unix_nano == pytest.approx(
        (run.finished_at - run.started_at).total_seconds() * 1e9, rel=1e-6
    )
    steps = [one for one in others if "redrive.step.number" in one]
    assert [one["redrive.step.kind"] for one in steps] == ["query", *["upload"] * 5, "finish"]
    assert {one["span"].parent_span_id for one in steps} == {root["span"].span_id}
    calls = [one for one in others if "redrive.attempt.number" in one]
    uploads = {one["span"].span_id: one["redrive.step.number"] for one in steps}
    retried = [one for one in calls if uploads[one["span"].parent_span_id] == 4]
    assert [(one["name"], one["http.response.status_code"], one["span"].status.code) for one in retried] == [
        ("POST crm.example.com", 429, 2),
        ("POST crm.example.com", 422, 2),
    ]
    assert {one["span"].trace_id for one in spans} == {trace_spans.trace_id(run.pk).to_bytes(16, "big")}
    assert len({one["span"].span_id for one in spans}) == len(spans)


def test_trace_holds_no_message_and_no_path(collector: Server, run: Run):
    tracing.export(run.pk)
    body = b"".join(request.body for request in collector.requests)
    for value in (b"ana@example.com", b"/v3/contacts", b"phone", b"INVALID_PHONE"):
        assert value not in body
    assert b"crm.example.com" in body


def test_long_run_says_how_many_steps_are_left_out(collector: Server, run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tracing, "MOST_STEPS", 3)
    monkeypatch.setattr(tracing, "CHUNK", 2)
    assert tracing.export(run.pk)
    spans = received(collector)
    assert spans[0]["redrive.steps.left_out"] == 4
    assert len(collector.requests) == (len(spans) + 1) // 2


def test_collector_that_refuses_is_left_alone_for_a_while(collector: Server, run: Run):
    collector.script(Answer(400))
    assert not tracing.export(run.pk)
    assert not tracing.export(run.pk)
    assert len(collector.requests) == 1
    tracing._silent_until = 0.0
    assert tracing.export(run.pk)


def test_nothing_happens_without_an_address(run: Run, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any):
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    with django_assert_num_queries(0):
        assert not tracing.export(run.pk)


def test_missing_extra_is_named_once(run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(tracing.importlib.util, "find_spec", lambda name: None)
    tracing._is_installed.cache_clear()
    try:
        assert not tracing.export(run.pk)
        assert not tracing.export(run.pk)
    finally:
        tracing._is_installed.cache_clear()
    assert [one.message for one in caplog.records] == [
        'OTEL_EXPORTER_OTLP_ENDPOINT is set, but the extra is missing: pip install "redrive[otel]".'
    ]


def test_run_that_never_started_has_no_trace(collector: Server, run: Run):
    queued = seeds.run(run.sync, "queued")
    assert not tracing.export(queued.pk)
    assert not tracing.export(10**9)
    assert collector.requests == []
