"""Outgoing HTTP: one session type with address guard, total deadline, response cap and redaction.

Every call of the product to the outside goes through ``Session``: destinations, token endpoints, connection tests, webhooks.
"""

from syncs.http.guard import AddressGuard, Target, parse_url, system_resolver
from syncs.http.redaction import EXCERPT_LIMIT, MASK, Redactor, clean
from syncs.http.requests_session import CallFailedError, GuardedAdapter, guarded_requests_session, set_cookies
from syncs.http.retry_after import parse_retry_after
from syncs.http.session import Failure, FailureKind, Headers, Response, Session
from syncs.http.wire import timed

__all__ = [
    "EXCERPT_LIMIT",
    "MASK",
    "AddressGuard",
    "CallFailedError",
    "Failure",
    "FailureKind",
    "GuardedAdapter",
    "Headers",
    "Redactor",
    "Response",
    "Session",
    "Target",
    "clean",
    "guarded_requests_session",
    "parse_retry_after",
    "parse_url",
    "set_cookies",
    "system_resolver",
    "timed",
]
