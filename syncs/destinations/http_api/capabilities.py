"""What the settings of one object promise: limits, keys, conventions."""

from __future__ import annotations

from syncs.destinations.base import Capabilities, Discovery
from syncs.destinations.http_api.config import HttpConfig, IdempotencyKind, ObjectConfig, PerCall, Wait, WaitKind


def capabilities(config: HttpConfig, described: ObjectConfig) -> Capabilities:
    limits = described.limits
    operations = described.operations
    ways = {operation: item.idempotency_of(operation) for operation, item in operations.items()}
    headers = {way.header for way in ways.values() if way.kind is IdempotencyKind.HEADER}
    jobs = [item.job for item in operations.values() if item.job is not None]
    return Capabilities(
        operations=frozenset(operations),
        idempotent=frozenset(operation for operation, way in ways.items() if way.kind is not IdempotencyKind.NONE),
        max_records=1 if all(item.per_call is PerCall.RECORD for item in operations.values()) else limits.max_records,
        max_bytes=limits.max_bytes,
        max_record_bytes=limits.max_record_bytes,
        concurrency=limits.concurrency,
        requests_per_window=limits.requests_per_window,
        window_seconds=limits.window_seconds,
        keys=tuple(dict.fromkeys(item.key_field for item in operations.values() if item.key_field)),
        idempotency_header=", ".join(sorted(headers)),
        rate_limit=_convention(config.wait),
        has_jobs=bool(jobs),
        max_open_jobs=min((job.max_open for job in jobs), default=10),
        discovery=frozenset({Discovery.FIELDS} if described.fields is not None or described.discover else ()),
    )


def _convention(wait: Wait) -> str:
    """How the destination says how long to wait, in words."""
    match wait.kind:
        case WaitKind.RESET_EPOCH:
            return f"the header {wait.header} names the time from which calls are taken again"
        case WaitKind.RESET_SECONDS:
            return f"the header {wait.header} names the seconds to wait"
        case WaitKind.BODY_SECONDS:
            return f"the answer names the seconds to wait at {wait.path}"
        case WaitKind.NONE:
            return "it names no time; Redrive waits longer each time"
    return f"the header {wait.header or 'Retry-After'} names seconds or a date"
