"""From the connection's JSON to ``HttpConfig``, with every fault named by its path."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from syncs.connectors import Issue
from syncs.destinations.http_api import paths
from syncs.destinations.http_api.config import (
    Auth,
    AuthKind,
    BodyKind,
    Check,
    Discover,
    FieldConfig,
    HttpConfig,
    IfMissing,
    Limits,
    Locator,
    LocatorKind,
    ObjectConfig,
    OperationConfig,
    PerCall,
    Place,
    Rule,
    Wait,
    WaitKind,
)
from syncs.destinations.http_api.job_checks import is_carried, job_issues
from syncs.destinations.http_api.matching import never_matches
from syncs.destinations.http_api.patterns import pattern_issue
from syncs.destinations.http_api.reader import join, read
from syncs.errors import ConfigError
from syncs.http import parse_url
from syncs.records import Operation

METHODS = ("POST", "PUT", "PATCH", "DELETE", "GET")
PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
SECRETS: dict[AuthKind, tuple[str, ...]] = {
    AuthKind.NONE: (),
    AuthKind.BEARER: ("token",),
    AuthKind.API_KEY: ("api_key",),
    AuthKind.BASIC: ("password",),
    AuthKind.SESSION: ("password",),
    AuthKind.CLIENT_CREDENTIALS: ("client_id", "client_secret"),
    AuthKind.REFRESH_TOKEN: ("client_id", "refresh_token"),
    AuthKind.AUTHORIZATION_CODE: ("client_id",),
}

_OURS = {"response_type", "client_id", "redirect_uri", "state", "scope", "code_challenge", "code_challenge_method"}


@dataclass(frozen=True, slots=True)
class _Top:
    """The top level; parts whose reading needs another part stay raw here."""

    base_url: str
    objects: dict[str, Any]
    auth: Auth = field(default_factory=Auth)
    headers: dict[str, str] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)
    wait: Wait = field(default_factory=Wait)
    check: Check = field(default_factory=Check)
    error_rules: tuple[Rule, ...] = ()
    request_id_header: str = ""
    defaults: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Object:
    operations: dict[str, Any]
    limits: dict[str, Any] = field(default_factory=dict)
    fields: tuple[FieldConfig, ...] | None = None
    discover: Discover | None = None


def load(config: Mapping[str, Any]) -> tuple[HttpConfig | None, list[Issue]]:
    issues: list[Issue] = []
    given = {key: value for key, value in config.items() if value is not None}
    top = read(_Top, given, "", issues)
    if top is None:
        return None, issues
    limits = read(Limits, top.limits, "limits", issues)
    read(OperationConfig, top.defaults, "defaults", issues)
    objects = {}
    if not issues:
        for name, data in top.objects.items():
            loaded = _object(data, f"objects.{name}", top, issues)
            if loaded is not None:
                objects[name] = loaded
        if not top.objects:
            issues.append(Issue("objects", "Name at least one object that can be written."))
    _check_top(top, issues)
    if issues or limits is None:
        return None, issues
    return (
        HttpConfig(
            base_url=top.base_url.rstrip("/"),
            objects=objects,
            auth=top.auth,
            headers=top.headers,
            limits=limits,
            wait=top.wait,
            check=top.check,
            error_rules=top.error_rules,
            request_id_header=top.request_id_header,
        ),
        [],
    )


def _object(data: Any, path: str, top: _Top, issues: list[Issue]) -> ObjectConfig | None:
    raw = read(_Object, data, path, issues)
    if raw is None:
        return None
    limits = read(Limits, {**top.limits, **raw.limits}, f"{path}.limits", issues)
    operations = {}
    for name, operation_data in raw.operations.items():
        where = f"{path}.operations.{name}"
        if name not in list(Operation):
            known = ", ".join(Operation)
            issues.append(Issue(where, f"There is no operation “{name[:40]}”. Known: {known}."))
            continue
        operation = _operation(operation_data, where, top.defaults, issues)
        if operation is not None:
            operations[Operation(name)] = operation
            _check_operation(operation, where, issues)
    if not raw.operations:
        issues.append(Issue(f"{path}.operations", "Describe at least one operation: upsert, insert, update or delete."))
    _check_inserts(operations, path, issues)
    if raw.discover is not None:
        _check_discover(raw.discover, f"{path}.discover", issues)
    return ObjectConfig(operations, limits, raw.fields, raw.discover) if limits is not None else None


def _check_discover(discover: Discover, path: str, issues: list[Issue]) -> None:
    if not discover.path.startswith("/"):
        issues.append(Issue(f"{path}.path", "Must begin with a slash; it is added to base_url."))
    flags = {name: getattr(discover, name) for name in ("required", "key", "writable", "only")}
    named = {f"{path}.{name}": getattr(discover, name) for name in ("fields", "name", "label", "type", "max_length", "options")}
    named |= {f"{path}.{name}[{n}].path": flag.path for name, found in flags.items() for n, flag in enumerate(found)}
    _check_paths(named, issues)


def _operation(data: Any, path: str, defaults: Mapping[str, Any], issues: list[Issue]) -> OperationConfig | None:
    if not isinstance(data, Mapping):
        return read(OperationConfig, data, path, issues)
    return read(OperationConfig, {**defaults, **data}, path, issues)


def _check_top(top: _Top, issues: list[Issue]) -> None:
    _check_url(top.base_url, "base_url", issues)
    if "?" in top.base_url or "#" in top.base_url:
        issues.append(Issue("base_url", "Must not hold a query or fragment; put those into the operations' paths."))
    for number, rule in enumerate(top.error_rules):
        _check_rule(rule, f"error_rules[{number}]", issues)
    _check_auth(top.auth, issues)
    if top.wait.kind in (WaitKind.RESET_EPOCH, WaitKind.RESET_SECONDS) and not top.wait.header:
        issues.append(Issue("wait.header", "Name the header that tells when the limit resets."))
    if top.wait.kind is WaitKind.BODY_SECONDS and not top.wait.path:
        issues.append(Issue("wait.path", "Name the path in the answer that tells how many seconds to wait."))
    _check_paths({"wait.path": top.wait.path}, issues)
    if top.check.method not in ("GET", "HEAD"):
        issues.append(Issue("check.method", "The connection test only reads: use GET or HEAD."))
    if not top.check.path.startswith("/"):
        issues.append(Issue("check.path", "Must begin with a slash; it is added to base_url."))


def _check_auth(auth: Auth, issues: list[Issue]) -> None:
    if auth.kind in (AuthKind.CLIENT_CREDENTIALS, AuthKind.REFRESH_TOKEN, AuthKind.AUTHORIZATION_CODE):
        _check_url(auth.token_url, "auth.token_url", issues)
        call = auth.token_call
        named = {"answer_at": call.answer_at, "lifetime": call.lifetime, "error": call.error}
        _check_paths({f"auth.token_call.{name}": path for name, path in named.items()}, issues)
    if auth.kind is AuthKind.AUTHORIZATION_CODE:
        _check_url(auth.authorize_url, "auth.authorize_url", issues)
        ours = sorted(_OURS & auth.authorize_parameters.keys())
        issues += [Issue(f"auth.authorize_parameters.{name}", "Is set by Redrive; take it out.") for name in ours]
    if auth.kind is AuthKind.SESSION:
        if auth.login is None:
            issues.append(Issue("auth.login", 'Say where to log in, for example {"path": "/login"}.'))
        elif not auth.login.path.startswith("/"):
            issues.append(Issue("auth.login.path", "Must begin with a slash; it is added to base_url."))
    if Place.PATH in (auth.token.take_from, auth.token.send_as):
        issues.append(Issue("auth.token", "A token of a login stands in a header, a cookie, the query or the body."))
    if auth.kind in (AuthKind.BASIC, AuthKind.SESSION) and not auth.username:
        issues.append(Issue("auth.username", "Is required for this kind of authentication."))


def _check_url(url: str, path: str, issues: list[Issue]) -> None:
    try:
        parse_url(url, field=path)
    except ConfigError as error:
        issues.append(Issue(path, error.message))


def _check_rule(rule: Rule, path: str, issues: list[Issue]) -> None:
    if not (rule.status or rule.code or rule.text or rule.is_json is not None):
        issues.append(Issue(path, "Give at least one condition: status, code, text or is_json."))
    if rule.type is None and rule.signal is None and rule.is_permanent is None:
        issues.append(Issue(path, "Give an effect: type, is_permanent or signal."))
    if rule.text and (problem := pattern_issue(rule.text)):
        issues.append(Issue(f"{path}.text", problem))


def _check_operation(operation: OperationConfig, path: str, issues: list[Issue]) -> None:
    if not operation.path.startswith("/"):
        issues.append(Issue(f"{path}.path", "Is required and must begin with a slash; it is added to base_url."))
    if operation.method not in METHODS:
        issues.append(Issue(f"{path}.method", f"Use one of {', '.join(METHODS)}."))
    names = PLACEHOLDER.findall(operation.path)
    if "{" in PLACEHOLDER.sub("", operation.path) or "" in names:
        issues.append(
            Issue(f"{path}.path", "Has an unfinished placeholder. Write {key}, {field}, {options.name} or {found.name}.")
        )
    if operation.per_call is PerCall.BATCH:
        _check_batch(operation, names, path, issues)
    elif operation.locator.kind is not LocatorKind.NONE:
        issues.append(
            Issue(f"{path}.locator", "With one record per call the call itself says who failed; take the locator out.")
        )
    if operation.lookup is None and any(name.startswith("found.") for name in names):
        issues.append(Issue(f"{path}.path", "{found.…} needs a lookup that takes it."))
    if operation.per_call is PerCall.RECORD and (operation.body.list_at or operation.body.constants):
        issues.append(Issue(f"{path}.body", "list_at and constants are for per_call “batch”; here use record.constants."))
    _check_locator(operation, path, issues)
    issues += job_issues(operation, path, methods=METHODS)
    issues += never_matches(operation, path)


def _check_batch(operation: OperationConfig, names: Iterable[str], path: str, issues: list[Issue]) -> None:
    if any(not name.startswith("options.") for name in names):
        issues.append(
            Issue(f"{path}.path", "A call with several records cannot name one of them in its path. Use per_call “record”.")
        )
    if operation.body.kind is BodyKind.NONE and not is_carried(operation):
        issues.append(Issue(f"{path}.body.kind", "A call with several records needs a body."))
    if operation.body.kind is BodyKind.JSON and not operation.body.list_at and operation.body.constants:
        issues.append(Issue(f"{path}.body.list_at", "Is required when there are constants beside the list."))
    if operation.lookup is not None:
        issues.append(Issue(f"{path}.lookup", "Looks up one record; use per_call “record”."))


def _check_locator(operation: OperationConfig, path: str, issues: list[Issue]) -> None:
    locator, where = operation.locator, f"{path}.locator"
    wanted: dict[LocatorKind, tuple[tuple[str, bool], ...]] = {
        LocatorKind.NONE: (),
        LocatorKind.POSITION: (("results", locator.results is not None),),
        LocatorKind.INDEX: (("errors", locator.errors is not None),),
        LocatorKind.CORRELATION: (
            ("errors", locator.errors is not None or locator.results is not None),
            ("id", bool(locator.id) or locator.errors is None),
        ),
        LocatorKind.KEY: (
            ("errors", locator.errors is not None or locator.results is not None),
            ("key", bool(locator.key) or locator.errors is None),
        ),
        LocatorKind.KEY_LISTS: (("lists", bool(locator.lists)),),
    }
    for name, is_given in wanted[locator.kind]:
        if not is_given:
            issues.append(Issue(f"{where}.{name}", f"Is required for the locator “{locator.kind}”."))
    if locator.kind is LocatorKind.CORRELATION and not operation.record.correlation_at:
        issues.append(Issue(f"{path}.record.correlation_at", "Say where each record carries its correlation id."))
    if locator.pattern:
        problem = pattern_issue(locator.pattern)
        if not problem and "(?P<index>" not in locator.pattern:
            problem = "Needs a group named index, such as Row (?P<index>\\d+)."
        if problem:
            issues.append(Issue(f"{where}.pattern", problem))
    _check_paths([*_locator_paths(locator, where), *_answer_paths(operation, path)], issues)


def _locator_paths(locator: Locator, where: str) -> Iterator[tuple[str, str]]:
    yield from ((f"{where}.{name}", getattr(locator, name) or "") for name in _LOCATOR_PATHS)
    yield from ((f"{where}.lists", name) for name in locator.lists)
    for several in ("more_results", "key", "code", "message", "field"):
        yield from ((f"{where}.{several}", item) for item in getattr(locator, several))


def _answer_paths(operation: OperationConfig, path: str) -> Iterator[tuple[str, str]]:
    for name in ("code", "message", "field"):
        yield from ((f"{path}.error.{name}", item) for item in getattr(operation.error, name))
    for name in ("present", "absent"):
        yield from ((f"{path}.success.{name}", item) for item in getattr(operation.success, name))
    yield f"{path}.success.count", operation.success.count
    yield f"{path}.id", operation.id
    yield f"{path}.detail.path", operation.detail.path


_LOCATOR_PATHS = (
    "results", "errors", "result_id", "error_at", "id", "index", "pattern_at", "status", "written_count", "failed_count",
    "least_count",
)  # fmt: skip


def _check_paths(named: Mapping[str, str] | Iterable[tuple[str, str]], issues: list[Issue]) -> None:
    for where, path in named.items() if isinstance(named, Mapping) else named:
        try:
            paths.parse(path)
        except ValueError:
            issues.append(Issue(where, f"“{path[:80]}” is not a path. Write it like errors[].context.id."))


def _check_inserts(operations: Mapping[Operation, OperationConfig], path: str, issues: list[Issue]) -> None:
    for name, operation in operations.items():
        if operation.lookup and operation.lookup.if_missing is IfMissing.INSERT:
            insert = operations.get(Operation.INSERT)
            if insert is None or insert.per_call is not PerCall.RECORD:
                where = join(path, f"operations.{name}.lookup.if_missing")
                issues.append(Issue(where, "“insert” needs an insert operation with one record per call."))
