"""The calls of the kind ``http`` as a person may see them, before they go out and after; and how an answer was read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from syncs.destinations.http_api import paths
from syncs.destinations.http_api.answers import Reply, is_there
from syncs.destinations.http_api.config import Flag, LocatorKind, OperationConfig, PerCall, Rule
from syncs.destinations.http_api.locating import Finder, holds
from syncs.destinations.http_api.rules import Ruling
from syncs.destinations.trials import SHOWN_BYTES, Call, Finding, WithheldError
from syncs.http import Failure, Redactor, Response, Session, parse_url
from syncs.records import Record

_READS = ("GET", "HEAD")
_MATTER = re.compile(
    r"content-type|retry-after|location|link|www-authenticate|.*(rate-?limit|request-?id|correlation-?id).*|etag"
)


class Tap:
    """Stands between a caller and its session. Shows what would write only once, and then nothing more is sent."""

    def __init__(self, calls: list[Call], session: Session, *, may_write: bool) -> None:
        self._calls = calls
        self._session = session
        self._may_write = may_write

    def send(self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None) -> Response | Failure:
        """Raises ``WithheldError`` for a call that is not a read, unless writing is allowed."""
        call = self._shown(method, url, headers, body)
        self._calls.append(call)
        if method not in _READS and not self._may_write:
            call.is_withheld = True
            raise WithheldError
        answer = self._session.send(method, url, headers=headers, body=body)
        self._take(call, answer)
        return answer

    def _shown(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Call:
        redactor = self._session.redactor
        size = len(body or b"")
        own = {"Host": parse_url(url).host_header, "Content-Length": str(size)} if body is not None else {}
        lines = [(name, masked(redactor, name, value)) for name, value in {**own, **headers}.items()]
        return Call(
            redactor.request_line(method, url), lines, redactor.excerpt(body or b"", limit=SHOWN_BYTES), body_bytes=size
        )

    def _take(self, call: Call, answer: Response | Failure) -> None:
        redactor = self._session.redactor
        call.milliseconds, call.status = answer.milliseconds, answer.status
        if isinstance(answer, Failure):
            call.failure = answer.message
            return
        matter = [(name, value) for name, value in answer.headers.items() if _MATTER.fullmatch(name)]
        call.answer_headers = [(name, masked(redactor, name, value)) for name, value in matter]
        call.answer_body, call.answer_bytes = redactor.excerpt(answer.body, limit=SHOWN_BYTES), len(answer.body)


def masked(redactor: Redactor, name: str, value: str) -> str:
    return redactor.excerpt(f"{name}: {value}", limit=1000).partition(": ")[2]


Seen = tuple[OperationConfig, Reply, Sequence[Record]]


def explain(rules: Sequence[Rule], rulings: Sequence[Ruling], seen: Sequence[Seen], redactor: Redactor) -> list[Finding]:
    """What was asked of the last answer that was read, in the order in which it is asked; nothing where none was.

    ``rulings``: what the rules were asked meanwhile.
    """
    if not seen:
        return []
    config, reply, records = seen[-1]
    found = [_status(config, reply)]
    data = reply.data if reply.is_readable else None
    found.append(_body(config, reply))
    if found[0].is_good:
        found += _tests(config, data, redactor)
    found += _located(config, data, records)
    found += [
        Finding(f"Error {name}", f"{path} gives “{redactor.message(text, limit=200)}”" if text else f"{path} is not there")
        for name in ("code", "message", "field")
        for path in _listed(getattr(config.error, name))
        if rulings
        for text in [paths.text(data, path)]
    ]
    return [*found, *_ruled(rules, rulings, redactor)]


def _listed(found: str | tuple[str, ...]) -> tuple[str, ...]:
    return (found,) if isinstance(found, str) and found else tuple(found or ())


def _status(config: OperationConfig, reply: Reply) -> Finding:
    status, wanted = reply.response.status, config.success.status
    is_good = status in wanted if wanted else 200 <= status < 300
    return Finding("Status", f"{status}; success is {', '.join(map(str, wanted)) or 'any 2xx'}", is_good)


def _body(config: OperationConfig, reply: Reply) -> Finding:
    if config.success.ignores_body:
        return Finding("Body", "is not looked at")
    if reply.data is None:
        return Finding("Body", "is empty")
    return Finding("Body", "was read" if reply.is_readable else "cannot be read", None if reply.is_readable else False)


def _tests(config: OperationConfig, data: object, redactor: Redactor) -> list[Finding]:
    success = config.success
    found = []
    if success.flag is not None:
        text = f"{success.flag.path} is {_value(data, success.flag, redactor)}; success is {success.flag.equals!r}"
        found.append(Finding("Flag", text, holds(success.flag, data)))
    for path in success.present:
        there = is_there(data, path)
        found.append(Finding("Must be there", f"{path} {'is there' if there else 'is missing or empty'}", there))
    for path in success.absent:
        there = is_there(data, path)
        found.append(Finding("Must not be there", f"{path} {'is there' if there else 'is not there'}", not there))
    if success.count:
        value = paths.first(data, success.count)
        number = len(value) if isinstance(value, list) else value
        shown = "missing" if number is paths.MISSING else redactor.message(str(number), limit=60)
        found.append(Finding("Count", f"{success.count} is {shown}; one record was sent", number == 1))
    return found


def _value(data: object, flag: Flag, redactor: Redactor) -> str:
    value = paths.first(data, flag.path)
    return "missing" if value is paths.MISSING else redactor.message(repr(value), limit=120)


def _located(config: OperationConfig, data: object, records: Sequence[Record]) -> list[Finding]:
    locator = config.locator
    if config.per_call is PerCall.RECORD:
        return [Finding("Which record", "the call: it carries one")]
    if locator.kind is LocatorKind.NONE:
        return [Finding("Which record", "the answer cannot tell (locator none)")]
    found = Finder(locator, config.key_field, records).find(data)
    if found.failed:
        text, is_good = "the answer names the record as failed", False
    elif not found.is_sure:
        text, is_good = "something in the answer could not be placed: an unknown id, or counts that do not fit", False
    elif found.has_results and not found.written:
        text, is_good = "the answer lists results, but none of the record", False
    else:
        text, is_good = "the answer names no error of the record", True
    return [Finding("Which record", f"{text} (locator {locator.kind.value})", is_good)]


def _ruled(rules: Sequence[Rule], rulings: Sequence[Ruling], redactor: Redactor) -> list[Finding]:
    if not rulings:
        return []
    ruling = rulings[-1]
    said = redactor.message(ruling.text, limit=200)
    if ruling.rule is None:
        none = "none of the settings' rules fits" if rules else "the settings have none"
        return [Finding("Error rule", f"{none}; status and words decide: “{said}”")]
    rule = rules[ruling.rule]
    effects = [rule.type and rule.type.value, rule.signal and f"signal {rule.signal.value}"]
    effects.append(None if rule.is_permanent is None else "permanent" if rule.is_permanent else "not permanent")
    return [Finding("Error rule", f"error_rules[{ruling.rule}] fits “{said}”: {', '.join(filter(None, effects))}")]
