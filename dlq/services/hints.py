"""What to do next about a dead letter, step by step, in the words of its error type."""

from __future__ import annotations

from collections.abc import Sequence

from syncs.errors import ErrorType

_LOOK = "Look at the field named first in the table: what was sent, and what the warehouse holds now."
_AGAIN = "Reprocess this one. When it is delivered, reprocess the others with the same error."
STEPS: dict[ErrorType, Sequence[str]] = {
    ErrorType.VALIDATION: (
        _LOOK,
        "Correct the value in the warehouse, or the type or template of the field in the mapping.",
        "If the customer cannot wait, edit the payload and send that; it stands until the row changes.",
        _AGAIN,
    ),
    ErrorType.MISSING_REQUIRED: (
        "Find out whether the column is empty in the warehouse, or the mapping leaves the field out.",
        "Fill the column, or give the field a default in the mapping.",
        _AGAIN,
    ),
    ErrorType.DUPLICATE_KEY: (
        "Search the destination for the unique value in the answer below.",
        "Merge the two records there, or correct the value in the warehouse if it belongs to the other one.",
        _AGAIN,
    ),
    ErrorType.REFERENCE_NOT_FOUND: (
        "See which record the row points at, and whether a sync of its own delivers it.",
        "Run that sync first, or work off its dead letters.",
        _AGAIN,
    ),
    ErrorType.FIELD_PERMISSION: (
        "Ask the destination's administrator to let the connection's user write the field; attach the evidence.",
        "If it is not to be written, take the field out of the mapping.",
        _AGAIN,
    ),
    ErrorType.MAPPING: (
        _LOOK,
        "Correct the value in the warehouse, or the field's type or its handling of NULL in the mapping.",
        "Look at the row now: the last column shows what today's mapping makes of it.",
        _AGAIN,
    ),
    ErrorType.INVALID_KEY: (
        "Find the rows with this key in the warehouse: the key is empty, too long, or shared.",
        "Make the key unique and non-empty there.",
        "Run the sync; it delivers the row and closes this entry by itself.",
    ),
    ErrorType.TOO_LARGE: (
        "Find the longest value in the table below.",
        "Shorten it in the warehouse or in a template of the mapping, or leave the field out.",
        _AGAIN,
    ),
    ErrorType.RATE_LIMITED: (
        "Wait for the next run; it tries the row again by itself.",
        "If it lasts, lower the request limit of the connection, or ask the vendor for more.",
    ),
    ErrorType.TIMEOUT: (
        "Wait for the next run; it tries the row again by itself.",
        "If it lasts, lower the batch size of the sync or raise the deadline of the connection.",
    ),
    ErrorType.DESTINATION_UNAVAILABLE: (
        "Check the vendor's status page.",
        "Wait for the next run; it tries the row again by itself.",
    ),
    ErrorType.AUTH: (
        "Renew the credentials on the connection page and test the connection.",
        "Wait for the next run, or reprocess at once.",
    ),
    ErrorType.SCHEMA_DRIFT: (
        "Compare the mapping with the fields that the destination has today.",
        "Correct the mapping and look at its preview.",
        _AGAIN,
    ),
    ErrorType.UNKNOWN_OUTCOME: (
        "Look the row up at the destination before anything else: sending it again could create it twice.",
        "If it is there as it should be, discard this entry and say so in the reason.",
        "If it is not there, reprocess.",
    ),
    ErrorType.WORKER_CRASH: (
        "Look for an extreme value in the row.",
        "Report it with the evidence of the run; do not reprocess many of these at once.",
        "Reprocess after the fix.",
    ),
    ErrorType.UNKNOWN: (
        "Read the answer of the destination below.",
        "Ask the vendor with the request id and the time, or take the evidence of the run to them.",
        "If it recurs, add an error rule to the connection, so that it gets its right type.",
    ),
}
GONE = (
    "The row has left the warehouse. Find out whether that is right.",
    "If it is, discard this entry, or delete the record at the destination.",
    "If it is not, bring the row back and reprocess.",
)


def steps(error_type: str, *, is_gone: bool) -> Sequence[str]:
    """In the order in which to take them."""
    return GONE if is_gone else STEPS[ErrorType(error_type)]
