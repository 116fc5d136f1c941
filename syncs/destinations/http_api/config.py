"""What a connection of kind ``http`` may say. Every key is explained with examples in docs/http-destination.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from syncs.destinations.http_api.job_config import JobConfig
from syncs.destinations.http_api.parts import Answers as Answers
from syncs.destinations.http_api.parts import Body as Body
from syncs.destinations.http_api.parts import BodyKind as BodyKind
from syncs.destinations.http_api.parts import ErrorPaths as ErrorPaths
from syncs.destinations.http_api.parts import Flag as Flag
from syncs.destinations.http_api.parts import between as between
from syncs.errors import ErrorType
from syncs.records import Operation, Signal


class AuthKind(StrEnum):
    NONE = "none"
    BEARER = "bearer"
    API_KEY = "api_key"
    BASIC = "basic"
    SESSION = "session"
    CLIENT_CREDENTIALS = "oauth2_client_credentials"
    REFRESH_TOKEN = "oauth2_refresh"  # noqa: S105 - a kind, not a password
    AUTHORIZATION_CODE = "oauth2_authorization_code"


class Place(StrEnum):
    HEADER = "header"
    QUERY = "query"
    COOKIE = "cookie"
    BODY = "body"
    PATH = "path"


@dataclass(frozen=True, slots=True)
class Token:
    """Where the login's answer holds the token, and how later calls carry it."""

    take_from: Place = Place.BODY
    path: str = "token"  # path in the body, or the name of the cookie or header
    send_as: Place = Place.HEADER
    name: str = "Authorization"
    prefix: str = "Bearer "


@dataclass(frozen=True, slots=True)
class Login:
    path: str
    method: str = "POST"
    body: dict[str, Any] = field(default_factory=lambda: {"username": "{username}", "password": "{password}"})
    is_form: bool = False


class ClientStyle(StrEnum):
    BODY = "body"
    BASIC = "basic"


@dataclass(frozen=True, slots=True)
class TokenCall:
    """A token endpoint with ways of its own. The defaults are RFC 6749's."""

    is_json: bool = False  # asked with a JSON object instead of a form
    has_client: bool = True  # client id and secret go along
    answer_at: str = ""  # path in the answer of what holds the tokens
    lifetime: str = "expires_in"  # path in that: how long the access token lives
    is_milliseconds: bool = False  # that time
    error: str = "error"  # path in a refusal: its code
    ended: tuple[str, ...] = ("invalid_grant",)  # codes that say the login is over


@dataclass(frozen=True, slots=True)
class Auth:
    kind: AuthKind = AuthKind.NONE
    place: Place = Place.HEADER  # api_key; path: the key is the end of every address (webhooks)
    name: str = "Authorization"  # api_key: header or query parameter
    prefix: str = ""  # api_key
    username: str = ""  # basic, session
    login: Login | None = None  # session
    token: Token = field(default_factory=Token)  # session
    token_url: str = ""  # oauth2
    scope: str = ""
    parameters: dict[str, str] = field(default_factory=dict)  # oauth2: more form fields, such as audience
    client_style: ClientStyle = ClientStyle.BODY
    token_call: TokenCall = field(default_factory=TokenCall)  # oauth2
    authorize_url: str = ""  # oauth2_authorization_code: where a person logs in
    authorize_parameters: dict[str, str] = field(default_factory=dict)  # more of its query, such as access_type


@dataclass(frozen=True, slots=True)
class Limits:
    max_records: int = between(100, 1, 100_000)
    max_bytes: int = between(1_000_000, 100, 200_000_000)
    max_record_bytes: int = between(1_000_000, 10, 200_000_000)
    concurrency: int = between(4, 1, 64)
    requests_per_window: int = between(0, 0, 1_000_000)
    window_seconds: float = between(1.0, 0.01, 86_400)
    deadline_seconds: float = between(30.0, 0.05, 600)
    max_answer_bytes: int = between(1_000_000, 1_000, 20_000_000)


class WaitKind(StrEnum):
    RETRY_AFTER = "retry_after"
    RESET_EPOCH = "reset_epoch"
    RESET_SECONDS = "reset_seconds"
    BODY_SECONDS = "body_seconds"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Wait:
    kind: WaitKind = WaitKind.RETRY_AFTER
    header: str = ""
    path: str = ""
    max_seconds: float = between(3600.0, 0, 86_400)


@dataclass(frozen=True, slots=True)
class Check:
    path: str = "/"
    method: str = "GET"
    expect: tuple[int, ...] = ()  # empty: any 2xx


@dataclass(frozen=True, slots=True)
class Rule:
    """The first rule whose conditions all hold decides."""

    status: tuple[int, ...] = ()
    code: tuple[str, ...] = ()
    text: str = ""  # regular expression; a group named field names the field
    is_json: bool | None = None  # the answer's body is JSON, or is not (a gateway's page)
    type: ErrorType | None = None
    is_permanent: bool | None = None
    signal: Signal | None = None


class PerCall(StrEnum):
    BATCH = "batch"
    RECORD = "record"


class Nulls(StrEnum):
    NULL = "null"
    OMIT = "omit"
    EMPTY_TEXT = "empty_text"


@dataclass(frozen=True, slots=True)
class Envelope:
    properties_at: str = ""
    id_at: str = ""
    id_from: str = ""  # payload field; empty: the row key
    omit: tuple[str, ...] = ()  # payload fields that are not sent, such as a key that stands in the path
    keeps_id: bool = False  # the id field stays among the properties too
    correlation_at: str = ""
    constants: dict[str, Any] = field(default_factory=dict)
    values_as_strings: bool = False
    nulls: Nulls = Nulls.NULL
    value_of: str = ""  # the record is this one value: “key” or a payload field


@dataclass(frozen=True, slots=True)
class Success:
    status: tuple[int, ...] = ()  # empty: any 2xx
    flag: Flag | None = None
    present: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    count: str = ""  # a number, or a list whose length, equals the records sent
    ignores_body: bool = False


class LocatorKind(StrEnum):
    NONE = "none"
    POSITION = "position"
    INDEX = "index"
    CORRELATION = "correlation"
    KEY = "key"
    KEY_LISTS = "key_lists"


@dataclass(frozen=True, slots=True)
class KeyList:
    type: ErrorType = ErrorType.VALIDATION
    message: str = ""
    code: str = ""
    field: str = ""
    key: str = ""  # payload field whose values the list holds; empty: the operation's key


@dataclass(frozen=True, slots=True)
class Locator:
    """How one knows which record failed. ``results``: one item per record; ``errors``: one item per failure."""

    kind: LocatorKind = LocatorKind.NONE
    results: str | None = None
    more_results: tuple[str, ...] = ()  # further lists of results, where created and updated ones stand apart
    errors: str | None = None
    result_id: str = ""  # in a result: the correlation id, or the key
    ok: Flag | None = None  # in a result: it was written; without it, a result that shows no error was
    error_at: str = ""  # in a result: the error, when there is one
    id: str = ""  # in an error: the correlation id(s)
    key: tuple[str, ...] = ()  # in an error: the record's key value(s); of several paths the first that leads to something
    index: str = "index"  # in an error
    base: int = between(0, 0, 1)
    pattern: str = ""  # instead of index: a regular expression with a group named index, over the error's text
    pattern_at: str = ""  # in an error: where the pattern looks, instead of its message
    only: Flag | None = None  # in an error: it is about our list
    lists: dict[str, KeyList] = field(default_factory=dict)
    code: tuple[str, ...] = ()  # of several paths the first that leads to something; so for message and field
    message: tuple[str, ...] = ()
    field: tuple[str, ...] = ()
    status: str = ""
    written_count: str = ""
    failed_count: str = ""
    least_count: str = ""  # a number that may not be below the records that did not fail


@dataclass(frozen=True, slots=True)
class Detail:
    path: str = ""
    values: dict[str, str] = field(default_factory=lambda: {"created": "created", "updated": "updated"})
    status: dict[str, str] = field(default_factory=dict)


class IdempotencyKind(StrEnum):
    NATURAL = "natural"
    HEADER = "header"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Idempotency:
    kind: IdempotencyKind = IdempotencyKind.NATURAL
    header: str = "Idempotency-Key"


class AcceptedAs(StrEnum):
    UNKNOWN = "unknown"
    WRITTEN = "written"


@dataclass(frozen=True, slots=True)
class AcceptedOnly:
    status: tuple[int, ...] = (202,)
    outcome: AcceptedAs = AcceptedAs.UNKNOWN


class IfMissing(StrEnum):
    REJECT = "reject"
    INSERT = "insert"
    WRITTEN = "written"


@dataclass(frozen=True, slots=True)
class Lookup:
    """A read before the write: finds the record's id or version. ``take``: name -> path, or ``header:NAME``."""

    path: str
    take: dict[str, str]
    missing_status: tuple[int, ...] = (404, 410)
    if_missing: IfMissing = IfMissing.REJECT


@dataclass(frozen=True, slots=True)
class OperationConfig:
    path: str = ""
    method: str = "POST"
    per_call: PerCall = PerCall.RECORD
    headers: dict[str, str] = field(default_factory=dict)
    body: Body = field(default_factory=Body)
    record: Envelope = field(default_factory=Envelope)
    key_field: str = ""  # payload field that identifies a record; empty: the row key
    unique_keys_in_batch: bool = False
    max_records: int = between(0, 0, 100_000)  # where this call takes fewer than limits.max_records; 0: as many
    answers: Answers = Answers.JSON
    is_atomic: bool | None = None  # None: as the locator implies
    success: Success = field(default_factory=Success)
    locator: Locator = field(default_factory=Locator)
    error: ErrorPaths = field(default_factory=ErrorPaths)
    id: str = ""
    detail: Detail = field(default_factory=Detail)
    idempotency: Idempotency | None = None  # None: natural, but none for insert
    accepted_only: AcceptedOnly | None = None
    job: JobConfig | None = None
    lookup: Lookup | None = None

    @property
    def atomic(self) -> bool:
        return self.locator.kind is LocatorKind.NONE if self.is_atomic is None else self.is_atomic

    def idempotency_of(self, operation: Operation) -> Idempotency:
        default = IdempotencyKind.NONE if operation is Operation.INSERT else IdempotencyKind.NATURAL
        return self.idempotency or Idempotency(default)


@dataclass(frozen=True, slots=True)
class FieldConfig:
    name: str
    label: str = ""
    type: str = ""
    is_required: bool = False
    is_key: bool = False
    max_length: int | None = None
    options: tuple[str, ...] = ()
    is_writable: bool = True


@dataclass(frozen=True, slots=True)
class Discover:
    """Where the API describes the object's fields. ``fields``: path to the list, or to an object of name -> description; the
    others are paths in one description. A flag stands when all its conditions hold."""

    path: str
    fields: str = ""
    name: str = ""  # empty: the name in the object
    label: str = ""
    type: str = ""
    required: tuple[Flag, ...] = ()
    key: tuple[Flag, ...] = ()
    writable: tuple[Flag, ...] = ()  # empty: all are
    only: tuple[Flag, ...] = ()  # descriptions that count; empty: all do
    max_length: str = ""
    options: str = ""  # for example options[].value


@dataclass(frozen=True, slots=True)
class ObjectConfig:
    operations: dict[Operation, OperationConfig]
    limits: Limits
    fields: tuple[FieldConfig, ...] | None = None
    discover: Discover | None = None


@dataclass(frozen=True, slots=True)
class HttpConfig:
    base_url: str
    objects: dict[str, ObjectConfig]
    auth: Auth = field(default_factory=Auth)
    headers: dict[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    wait: Wait = field(default_factory=Wait)
    check: Check = field(default_factory=Check)
    error_rules: tuple[Rule, ...] = ()
    request_id_header: str = ""
