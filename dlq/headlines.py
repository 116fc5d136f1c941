"""What is wrong with the rows of an error group, in a few words: "email is not a valid email address". Plain Python.

Made from error type, field and message by tables: a message that no line knows is quoted as it is, never guessed at.
"""

from __future__ import annotations

import re

from syncs.errors import ErrorType

MAX_HEADLINE = 160

_NOT_A = r"\b(invalid|malformed|valid|not an?|unknown|known|expected|must be an?)\b[^.;]{0,25}\b"
_NOT_THE = r"(not|expected|must be|parse|invalid).{0,20}\b"

# What is said of a field <- what messages complain of. The first that is found wins: the special stand before the common.
_SAID: dict[str, tuple[str, ...]] = {
    "is not valid text": (r"lone surrogate|invalid unicode|not valid utf",),
    "is too long": (
        r"too[ _]long|max(imum)?[ _-]?length|length (must be|exceeds|is greater)",
        r"exceeds .{0,40}(characters|length|limit)",
        r"at most .{0,12}characters|has .{0,12}characters; the field takes",
    ),
    "is too short": (r"too[ _]short|min(imum)?[ _-]?length|at least .{0,12}characters",),
    "is not one of the allowed values": (
        r"not (one )?of the allowed|not (one )?in the list|not a valid (choice|option)|invalid[ _](option|choice|enum)",
        r"not an? (allowed|accepted|permitted)|allowed (values|options)|must be one of|picklist|not_allowed|\benum\b",
    ),
    "is not a valid email address": (_NOT_A + r"e-?mail",),
    "is not a valid phone number": (_NOT_A + r"(phone|mobile|telephone|E\.?164)",),
    "is not a valid web address": (_NOT_A + r"(url|uri|web address|hyperlink)\b",),
    "is not a valid IBAN": (_NOT_A + r"iban\b",),
    "is not a valid postal code": (_NOT_A + r"(post(al)? ?code|zip ?code)",),
    "is not a known time zone": (_NOT_A + r"time ?zone",),
    "is not a known currency": (_NOT_A + r"currency",),
    "is not a valid date or time": (
        r"(not|invalid|expected|must be|parse).{0,30}\b(date|datetime|timestamp|time)\b",
        r"\b(date|time)\w* .{0,20}(invalid|malformed)",
    ),
    "is not a whole number": (_NOT_THE + r"integer\b", r"\binteger\b.{0,20}(expected|required)"),
    "is not a number": (_NOT_THE + r"(number|numeric|decimal|float)\b",),
    "is neither true nor false": (_NOT_THE + r"boolean\b",),
    "is not a list": (_NOT_THE + r"(list|array)\b",),
    "is not a valid UUID": (_NOT_THE + r"(uuid|guid)\b",),
    "is not valid JSON": (_NOT_THE + r"json\b",),
    "has too many digits after the point": (r"(has|with|more than) .{0,20}digits? after the point|fraction",),
    "is out of range": (
        r"out[ _]of[ _]range|is (less|greater|smaller|larger|lower|higher) than|too (small|large|big|low|high)\b",
        r"must be (less|greater|at (least|most)|between|>|<)|(min|max)imum value|must not be negative",
    ),
    "is missing": (
        r"(may|must|can) ?not be (empty|blank|null)|is (empty|blank|null|missing|required)",
        r"required|not[ _]null|missing",
    ),
    "is already used by another record": (
        r"already (exists|has|taken|in use|used)|duplicate|must be unique|not unique|conflict",
    ),
    "may not be written by this connection": (r"(read|write)[ -]?only|not writ(e?able)|permission|not allowed to|forbidden",),
    "points at a record that does not exist": (
        r"(does|did) not exist|not found|no such|unknown (id|reference|record)|foreign key",
    ),
    "has the wrong format": (r"pattern|format|malformed|regular expression",),
    "has the wrong type": (r"wrong[ _]type|type mismatch|must be a string|invalid[ _]type",),
}
_COMPLAINTS = tuple((re.compile("|".join(patterns), re.IGNORECASE), said) for said, patterns in _SAID.items())

# Types whose meaning does not depend on the message.
_OF_FIELD = {
    ErrorType.MISSING_REQUIRED: "is missing",
    ErrorType.DUPLICATE_KEY: "is already used by another record",
    ErrorType.REFERENCE_NOT_FOUND: "points at a record that does not exist",
    ErrorType.FIELD_PERMISSION: "may not be written by this connection",
    ErrorType.SCHEMA_DRIFT: "is no longer known to the destination",
    ErrorType.TOO_LARGE: "is too large",
}
_OF_ROW = {
    ErrorType.TOO_LARGE: "The row is larger than the destination takes",
    ErrorType.RATE_LIMITED: "The destination asked to slow down",
    ErrorType.TIMEOUT: "The destination did not answer in time",
    ErrorType.DESTINATION_UNAVAILABLE: "The destination could not be reached",
    ErrorType.AUTH: "The destination did not accept the credentials",
    ErrorType.UNKNOWN_OUTCOME: "The answer was lost: nobody knows whether the row was written",
    ErrorType.WORKER_CRASH: "Sending the row stopped the worker several times",
}
_CODES = {"doubled_key": "Several rows have the same key", "null_key": "The row key is empty"}
# "Not valid" and no more: the field's name says what it was to be.
_NAMES = (
    (re.compile(r"\be-?mail\b", re.IGNORECASE), "is not a valid email address"),
    (re.compile(r"\b(tele)?phone\b|\bmobile\b", re.IGNORECASE), "is not a valid phone number"),
    (re.compile(r"\b(url|website)\b", re.IGNORECASE), "is not a valid web address"),
)
_INVALID = re.compile(r"not valid|invalid|malformed|not an? (legal )?(value|address)", re.IGNORECASE)
_EXPECTED = re.compile(r"\s*\(expected: [^()]*\)\.?$")
_WORD_BOUNDARIES = re.compile(r"[_\-.]+|(?<=[a-z])(?=[A-Z])")


def headline(error_type: str, code: str, field: str, message: str) -> str:
    """At most ``MAX_HEADLINE`` characters, never empty. ``message`` is the masked one; values of rows do not appear."""
    kind = ErrorType(error_type)
    code, name = _one_line(code), _one_line(field)
    if name:
        said = _of_field(kind, code, name, message)
        if said:
            return _cut(f"{name} {said}", MAX_HEADLINE)
    return _cut(_of_row(kind, code, name, message), MAX_HEADLINE)


def _of_field(kind: ErrorType, code: str, name: str, message: str) -> str:
    if kind in _OF_FIELD:
        return _OF_FIELD[kind]
    if kind not in (ErrorType.VALIDATION, ErrorType.MAPPING, ErrorType.UNKNOWN):
        return ""
    text = _EXPECTED.sub("", _one_line(message))  # the mapping names the type last, whatever went wrong
    code_words = _WORD_BOUNDARIES.sub(" ", code)
    for known in (text, code_words, code):
        for pattern, words in _COMPLAINTS:
            if known and pattern.search(known):
                return words
    if kind != ErrorType.UNKNOWN and _INVALID.search(f"{text} {code_words}"):
        of_name = _WORD_BOUNDARIES.sub(" ", name)
        return next((words for pattern, words in _NAMES if pattern.search(of_name)), "is not valid")
    return ""


def _of_row(kind: ErrorType, code: str, name: str, message: str) -> str:
    text = _one_line(message).rstrip(" .")
    if kind in _OF_ROW:
        return _OF_ROW[kind]
    if kind == ErrorType.INVALID_KEY and code in _CODES:
        return _CODES[code]
    if not any(character.isalpha() for character in text):
        return f"{kind.info.label}: {code}" if code else kind.info.label
    if name and name.casefold() not in text.casefold():
        return f"{name}: {text}"
    return text[0].upper() + text[1:]


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _cut(text: str, most: int) -> str:
    """At a word's end where there is one near."""
    if len(text) <= most:
        return text
    head = text[: most - 1]
    space = head.rfind(" ", most * 2 // 3)
    return f"{head[:space] if space > 0 else head}…"
