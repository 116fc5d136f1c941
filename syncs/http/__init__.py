"""Outgoing HTTP: one session type with address guard, total deadline, response cap and redaction.

Every call of the product to the outside goes through ``Session``: destinations, token endpoints, connection tests, webhooks.
"""

from syncs.http.guard import AddressGuard, Target, parse_url, system_resolver
from syncs.http.redaction import EXCERPT_LIMIT, MASK, Redactor, clean
from syncs.http.retry_after import parse_retry_after
from syncs.http.session import Failure, FailureKind, Headers, Response, Session

__all__ = [
    "EXCERPT_LIMIT",
    "MASK",
    "AddressGuard",
    "Failure",
    "FailureKind",
    "Headers",
    "Redactor",
    "Response",
    "Session",
    "Target",
    "clean",
    "parse_retry_after",
    "parse_url",
    "system_resolver",
]
