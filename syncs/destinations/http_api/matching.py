"""Success tests that no answer can pass: every record would be refused or unknown, so it is said on saving."""

from __future__ import annotations

from collections.abc import Iterator

from syncs.connectors import Issue
from syncs.destinations.http_api import paths
from syncs.destinations.http_api.config import AcceptedAs, Flag, LocatorKind, OperationConfig, PerCall

_BODILESS = frozenset({204, 205, 304})


def never_matches(operation: OperationConfig, path: str) -> Iterator[Issue]:
    success, where = operation.success, f"{path}.success"
    if bad := [status for status in success.status if not 100 <= status <= 599]:
        yield Issue(f"{where}.status", f"{bad[0]} is no HTTP status, so no answer has it.")
    yield from _statuses(operation, where)
    locator = f"{path}.locator"
    flags = {f"{where}.flag": success.flag, f"{locator}.ok": operation.locator.ok, f"{locator}.only": operation.locator.only}
    for name, flag in flags.items():
        if flag is not None:
            yield from _flag(flag, name)
    for item in sorted(set(success.present) & set(success.absent)):
        yield Issue(f"{where}.absent", f"“{item}” must be present and absent, so no answer passes. Take it out of one.")
    if success.flag is not None and success.flag.path in success.absent and success.flag.equals not in (False, None, "", 0, []):
        text = f"“{success.flag.path}” must be absent and equal something, so no answer passes. Take it out of one."
        yield Issue(f"{where}.absent", text)
    if success.ignores_body and (told := _about_the_body(operation)):
        yield Issue(f"{where}.ignores_body", f"The body is ignored, yet {told} must be found in it. Take one of them out.")


def _statuses(operation: OperationConfig, where: str) -> Iterator[Issue]:
    statuses = set(operation.success.status)
    if not statuses:
        return
    told = _about_the_body(operation)
    if told and statuses <= _BODILESS:
        listed = ", ".join(map(str, sorted(statuses)))
        yield Issue(f"{where}.status", f"An answer of status {listed} has no body, and {told} must be found in one.")
    accepted = operation.accepted_only
    if accepted is not None and accepted.outcome is AcceptedAs.UNKNOWN and statuses <= set(accepted.status):
        yield Issue(f"{where}.status", "accepted_only takes all of these for “queued”, so no answer counts as written.")


def _flag(flag: Flag, path: str) -> Iterator[Issue]:
    try:
        paths.parse(flag.path)
    except ValueError:
        yield Issue(f"{path}.path", f"“{flag.path[:80]}” is not a path. Write it like errors[].context.id.")
    if flag.equals == []:
        yield Issue(f"{path}.equals", "An empty list means: any of none, so no answer passes. Write the wanted values.")


def _about_the_body(operation: OperationConfig) -> str:
    """What the success test or the locator wants to find in the body, in words."""
    success = operation.success
    if success.flag is not None:
        return "success.flag"
    if success.present or success.count:
        return "success.present" if success.present else "success.count"
    is_located = operation.per_call is PerCall.BATCH and operation.locator.kind is not LocatorKind.NONE
    return "what the locator names" if is_located else ""
