"""Errors. Rows that fail are values (``records.RowError``); runs that fail are these exceptions, typed by what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class ErrorTypeInfo:
    label: str
    is_permanent: bool
    meaning: str
    remedy: str


class ErrorType(StrEnum):
    """Why a row or a run failed, in the words support staff filter by."""

    VALIDATION = "validation"
    MISSING_REQUIRED = "missing_required"
    DUPLICATE_KEY = "duplicate_key"
    REFERENCE_NOT_FOUND = "reference_not_found"
    FIELD_PERMISSION = "field_permission"
    MAPPING = "mapping"
    INVALID_KEY = "invalid_key"
    TOO_LARGE = "too_large"
    RATE_LIMITED = "rate_limited"
    TIMEOUT = "timeout"
    DESTINATION_UNAVAILABLE = "destination_unavailable"
    AUTH = "auth"
    SCHEMA_DRIFT = "schema_drift"
    UNKNOWN_OUTCOME = "unknown_outcome"
    WORKER_CRASH = "worker_crash"
    UNKNOWN = "unknown"

    @property
    def info(self) -> ErrorTypeInfo:
        return ERROR_TYPES[self]


ERROR_TYPES: dict[ErrorType, ErrorTypeInfo] = {
    ErrorType.VALIDATION: ErrorTypeInfo(
        "Validation",
        True,
        "The destination refused a value: wrong format, not in its list, too long or out of range.",
        "Correct the value in the warehouse or the mapping, then reprocess.",
    ),
    ErrorType.MISSING_REQUIRED: ErrorTypeInfo(
        "Missing required field",
        True,
        "The destination demands a field that this row leaves empty.",
        "Fill the column in the warehouse, or give the field a default in the mapping, then reprocess.",
    ),
    ErrorType.DUPLICATE_KEY: ErrorTypeInfo(
        "Duplicate key",
        True,
        "Another record at the destination already has this unique value.",
        "Find the other record at the destination; merge the two or correct the value, then reprocess.",
    ),
    ErrorType.REFERENCE_NOT_FOUND: ErrorTypeInfo(
        "Reference not found",
        True,
        "The row points at a record that does not exist at the destination.",
        "Sync the record it points at first, or correct the reference, then reprocess.",
    ),
    ErrorType.FIELD_PERMISSION: ErrorTypeInfo(
        "Field permission",
        True,
        "The connection's user may not write this field.",
        "Ask the destination's administrator for write access to the field, or take it out of the mapping, then reprocess.",
    ),
    ErrorType.MAPPING: ErrorTypeInfo(
        "Mapping",
        True,
        "The warehouse value could not be turned into the type that the mapping asks for. Nothing was sent.",
        "Correct the value in the warehouse or the field's type in the mapping, then reprocess.",
    ),
    ErrorType.INVALID_KEY: ErrorTypeInfo(
        "Invalid key",
        True,
        "The row key is empty, too long, or shared by several rows, so nobody can say which row is meant. Nothing was sent.",
        "Make the key unique and non-empty in the warehouse; the next run delivers the row and closes this entry.",
    ),
    ErrorType.TOO_LARGE: ErrorTypeInfo(
        "Too large",
        True,
        "The row is bigger than the destination takes in one record.",
        "Shorten the longest values in the warehouse or the mapping, then reprocess.",
    ),
    ErrorType.RATE_LIMITED: ErrorTypeInfo(
        "Rate limited",
        False,
        "The destination asked us to slow down. No row is lost: it is sent again.",
        "Usually nothing. If it lasts, lower the connection's request limit or ask the vendor for more.",
    ),
    ErrorType.TIMEOUT: ErrorTypeInfo(
        "Timeout",
        False,
        "The destination did not answer in time.",
        "Wait for the next run. If it lasts, lower the batch size or raise the connection's deadline.",
    ),
    ErrorType.DESTINATION_UNAVAILABLE: ErrorTypeInfo(
        "Destination unavailable",
        False,
        "The destination could not be reached or answered with a server error.",
        "Check the vendor's status page; the next run tries again.",
    ),
    ErrorType.AUTH: ErrorTypeInfo(
        "Authentication",
        False,
        "The destination did not accept the connection's credentials.",
        "Renew the credentials on the connection page; the next run goes on.",
    ),
    ErrorType.SCHEMA_DRIFT: ErrorTypeInfo(
        "Schema drift",
        True,
        "The destination no longer knows a field or object that the mapping names.",
        "Compare the mapping with the destination's fields, correct it, then reprocess.",
    ),
    ErrorType.UNKNOWN_OUTCOME: ErrorTypeInfo(
        "Unknown outcome",
        True,
        "The answer was lost or left this row out, and sending it again could create it twice.",
        "Look the row up at the destination: if it is there, discard this entry; if not, reprocess.",
    ),
    ErrorType.WORKER_CRASH: ErrorTypeInfo(
        "Worker crash",
        True,
        "Sending this row stopped the worker several times, so it was set aside.",
        "Look for an extreme value in the row and report it with the evidence; reprocess after the fix.",
    ),
    ErrorType.UNKNOWN: ErrorTypeInfo(
        "Unknown error",
        True,
        "The destination refused the row in a way no rule recognises.",
        "Read the answer below; if it recurs, add an error rule to the connection so that it gets its right type.",
    ),
}


class RedriveError(Exception):
    """Base of what stops a run or an act. ``str()`` is a sentence for people: what happened, where, and the way out."""

    error_type: ErrorType = ErrorType.UNKNOWN

    def __init__(self, message: str, *, field: str = "", code: str = "", error_type: ErrorType | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.code = code
        if error_type is not None:
            self.error_type = error_type


class TransientError(RedriveError):
    """Wait and try again. ``retry_after``: seconds, where somebody named a time."""

    error_type = ErrorType.DESTINATION_UNAVAILABLE

    def __init__(self, message: str, *, retry_after: float | None = None, **kwargs: object) -> None:
        super().__init__(message, **kwargs)  # type: ignore[arg-type]
        self.retry_after = retry_after


class FatalError(RedriveError):
    """The run cannot go on until a person changes something."""


class ConfigError(FatalError):
    """The sync, the mapping or the connection is set up wrongly; ``field`` names the setting."""


class CredentialsError(FatalError):
    """The other side refused our credentials."""

    error_type = ErrorType.AUTH


class LoginNeededError(CredentialsError):
    """The destination has ended the login, or nobody has logged in yet: only a person can mend it."""


class SourceError(FatalError):
    """The warehouse refused the query or could not be reached."""


class UnsafeQueryError(SourceError):
    """The query would write, or holds more than one statement."""


class AddressRefusedError(ConfigError):
    """The address guard does not allow a connection to this host."""


class FenceLostError(RedriveError):
    """Another worker owns the run now; this one must stop without writing anything more."""
