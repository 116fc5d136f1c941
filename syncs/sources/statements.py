"""Reads the user's SQL as a tokenizer does, to say early and in words why a query is refused.

This is a lint, not the barrier: what really stops a write is the read-only transaction (or file), the driver's refusal of a
second statement and the role's own grants. For warehouses that have no read-only transactions the single-statement rule here
matters more, so their profile errs on the side of refusing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise

from syncs.errors import SourceError, UnsafeQueryError

STARTS = frozenset({"SELECT", "WITH", "VALUES", "TABLE", "FROM"})
WRITES = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "TRUNCATE"})


@dataclass(frozen=True, slots=True)
class Profile:
    """How a database reads SQL text. ``starts``: words a query may begin with. ``refused``: functions (upper case, a regular
    expression) that change something even in a read-only transaction. ``quotes``: characters that quote identifiers."""

    backslashes: bool = False
    escape_strings: bool = False
    dollar_quotes: bool = False
    nested_comments: bool = False
    line_comments: tuple[str, ...] = ("--",)
    quotes: str = '"'
    triple_quotes: bool = False
    refused: str = ""
    starts: frozenset[str] = field(default=STARTS)


@dataclass(frozen=True, slots=True)
class Token:
    kind: str  # word, name (a quoted identifier), string, mark
    text: str  # upper case for words, unquoted for names
    start: int


POSTGRESQL = Profile(
    escape_strings=True,
    dollar_quotes=True,
    nested_comments=True,
    refused=r"SET_CONFIG|PG_NOTIFY|DBLINK\w*|LO_\w+|LOWRITE|PG_READ_(?:BINARY_)?FILE|PG_LS_\w+|PG_STAT_FILE|PG_FILE_\w+"
    r"|PG_(?:TERMINATE|CANCEL)_BACKEND|PG_RELOAD_CONF|PG_ROTATE_LOGFILE|PG_(?:TRY_)?ADVISORY_\w+|PG_SWITCH_WAL|PG_PROMOTE"
    r"|PG_(?:CREATE|DROP|COPY)_\w+|PG_LOGICAL_\w+|PG_REPLICATION_\w+|PG_WAL_REPLAY_\w+|PG_STAT_RESET\w*",
)
SQLITE = Profile(quotes='"`[', refused=r"LOAD_EXTENSION|WRITEFILE|READFILE|EDIT|FTS3_TOKENIZER")
DUCKDB = Profile(escape_strings=True, dollar_quotes=True, nested_comments=True)
SNOWFLAKE = Profile(backslashes=True, dollar_quotes=True, line_comments=("--", "//"), refused=r"SYSTEM\$\w+")
MYSQL = Profile(backslashes=True, line_comments=("--", "#"), quotes="`", refused="LOAD_FILE|GET_LOCK|RELEASE_LOCK")
BIGQUERY = Profile(backslashes=True, line_comments=("--", "#"), quotes="`", triple_quotes=True)
DATABRICKS = Profile(backslashes=True, nested_comments=True, quotes="`")
STANDARD = Profile(escape_strings=True, nested_comments=True, quotes='"`[')
STANDARD_BACKSLASHES = replace(STANDARD, backslashes=True)
REDSHIFT = Profile(backslashes=True, nested_comments=True)


@lru_cache(maxsize=16)
def _pattern(profile: Profile) -> re.Pattern[str]:
    body = r"(?:[^'\\]|\\.|'')*+" if profile.backslashes else r"(?:[^']|'')*+"
    parts = [r"(?P<space>\s+)"]
    parts.append("(?P<comment>" + "|".join(re.escape(mark) + r"[^\n]*" for mark in profile.line_comments) + ")")
    if profile.triple_quotes:
        parts.append(r'(?P<triple>"""(?:[^\\]|\\.)*?"""|' + r"'''(?:[^\\]|\\.)*?''')")
    if profile.escape_strings:
        parts.append(r"(?P<escaped>[eE]'(?:[^'\\]|\\.|'')*+')")
    if profile.dollar_quotes:
        parts.append(r"(?P<dollar>\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$)")
    parts.append(rf"(?P<string>'{body}')")
    if '"' in profile.quotes:
        parts.append(r'(?P<quoted>"(?:[^"]|"")*+")')
    else:
        parts.append(r'(?P<double>"(?:[^"\\]|\\.|"")*+")')
    if "`" in profile.quotes:
        parts.append(r"(?P<backtick>`(?:[^`]|``)*+`)")
    if "[" in profile.quotes:
        parts.append(r"(?P<bracket>(?<![\w\])\"])\[[^\]\[]*\])")
    parts += [r"(?P<word>[^\W\d][\w$]*)", r"(?P<number>\d[\w.]*)", r"(?P<mark>.)"]
    return re.compile("|".join(parts), re.DOTALL)


NAMES = frozenset({"quoted", "backtick", "bracket"})
STRINGS = frozenset({"string", "escaped", "dollar", "triple", "double"})


def tokens(sql: str, profile: Profile) -> Iterator[Token]:
    """Tokens of the text without blanks and comments. Raises ``UnsafeQueryError`` where a string or comment does not end."""
    pattern = _pattern(profile)
    at = 0
    while at < len(sql):
        if sql.startswith("/*", at):
            at = _comment_end(sql, at, profile)
            continue
        match = pattern.match(sql, at)
        if match is None:  # cannot be: the last alternative takes any character
            raise UnsafeQueryError("The query cannot be read.", field="query")
        kind, text = match.lastgroup or "mark", match.group()
        if kind == "tag":
            kind = "dollar"
        if kind == "mark" and (text in "'\"" or (text in profile.quotes and text != "[")):
            raise UnsafeQueryError(f"A string or name that starts with {text} in the query has no end.", field="query")
        if kind == "word":
            yield Token("word", text.upper(), at)
        elif kind in NAMES:
            yield Token("name", text[1:-1], at)
        elif kind in STRINGS:
            yield Token("string", "", at)
        elif kind in ("mark", "number"):
            yield Token("mark", text, at)
        at = match.end()


def _comment_end(sql: str, at: int, profile: Profile) -> int:
    if profile is MYSQL and sql.startswith(("/*!", "/*M!"), at):
        raise UnsafeQueryError("The query holds a /*! comment, which the server would execute. Take it out.", field="query")
    depth, here = 1, at + 2
    while depth:
        close, inner = sql.find("*/", here), sql.find("/*", here)
        if close < 0:
            raise UnsafeQueryError("A comment that starts with /* in the query has no end.", field="query")
        if profile.nested_comments and 0 <= inner < close:
            depth, here = depth + 1, inner + 2
        else:
            depth, here = depth - 1, close + 2
    return here


def checked(sql: str, profile: Profile) -> str:
    """The query without a semicolon at its end, ready to be wrapped.

    Raises ``UnsafeQueryError`` for a second statement, for what is not a query, and for what would leave the wrapping; a
    ``SourceError`` for an empty one. ``field`` is always ``query``.
    """
    if "\x00" in sql or (not sql.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in sql)):
        raise UnsafeQueryError("The query holds a character that no text may hold (NUL or half of a pair).", field="query")
    found = list(tokens(sql, profile))
    first_end = next((i for i, token in enumerate(found) if token.text == ";" and token.kind == "mark"), None)
    if first_end is not None:
        if any(token.text != ";" for token in found[first_end:]):
            raise UnsafeQueryError(
                "The query holds more than one statement. Keep the one SELECT whose rows are to be synced.", field="query"
            )
        sql = sql[: found[first_end].start]
        found = found[:first_end]
    if not found:
        raise SourceError("The query is empty. Write the SELECT whose rows are to be synced.", field="query")
    _check_start(found, profile)
    _check_parentheses(found)
    _check_writes(found)
    _check_functions(found, profile)
    return sql


def _check_start(found: list[Token], profile: Profile) -> None:
    first = next((token for token in found if token.text != "("), found[0])
    if first.kind != "word" or first.text not in profile.starts:
        raise UnsafeQueryError(
            f"The query must be one SELECT; this one starts with “{first.text[:40]}”. Redrive reads the warehouse and never "
            "writes to it.",
            field="query",
        )


def _check_parentheses(found: list[Token]) -> None:
    depth = 0
    for token in found:
        if token.kind == "mark" and token.text in "()":
            depth += 1 if token.text == "(" else -1
            if depth < 0:
                raise UnsafeQueryError("The query closes a parenthesis that it never opened.", field="query")
    if depth:
        raise UnsafeQueryError("The query opens a parenthesis that it never closes.", field="query")


def _check_writes(found: list[Token]) -> None:
    """INSERT, UPDATE ... as a statement stand behind a parenthesis: inside a WITH, or after its last part."""
    for before, token, after in zip(found, found[1:], [*found[2:], Token("mark", "", 0)], strict=False):
        if token.kind != "word" or before.text == ".":
            continue
        is_statement = token.text in WRITES and before.text in ("(", ")") and after.kind in ("word", "name")
        if is_statement or (token.text == "INTO" and before.text != "AS"):
            word = "SELECT ... INTO" if token.text == "INTO" else token.text
            raise UnsafeQueryError(f"The query would write ({word}). Redrive only reads the warehouse.", field="query")


def _check_functions(found: list[Token], profile: Profile) -> None:
    if not profile.refused:
        return
    refused = re.compile(profile.refused)
    for token, after in pairwise(found):
        if token.kind in ("word", "name") and after.text == "(" and refused.fullmatch(token.text.upper()):
            raise UnsafeQueryError(
                f"The query calls {token.text.lower()}(), which does more than read. Take it out of the query.", field="query"
            )
