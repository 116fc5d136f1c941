"""Reading the filter of the dead letter list from an address, strictly.

A value that cannot be understood is a problem with a sentence, never a filter that is silently left away: a selection with
problems matches nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from django.utils.dateparse import parse_date, parse_datetime

from dlq.choices import EntryStatus, RowState
from dlq.services import known
from dlq.services.entry_filter import (
    AGES,
    ANY,
    BETWEEN,
    ME,
    NO_RESPONSE,
    NOBODY,
    TEXT_GROUPS_MAX,
    UNKNOWN_ROW,
    WINDOWS,
    EntryFilter,
    Parsed,
)
from syncs.connectors import Issue
from syncs.errors import ErrorType
from syncs.services import access

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

__all__ = ["AGES", "ANY", "BETWEEN", "NO_RESPONSE", "PARAMETERS", "WINDOWS", "EntryFilter", "Parsed", "parse"]

PARAMETERS = (
    "status", "sync", "connection", "error_type", "error_code", "field", "code", "failed", "from", "to", "age", "key", "group",
    "run", "owner", "attempts", "row", "q",
)  # fmt: skip
_SETTLED = ("q_groups", "q_deep", "nothing")  # written by a filter that was made absolute
_KEY_MAX = 255
_CODE_MAX = 120
_TEXT_MAX = 200
_ATTEMPTS_MAX = 1_000_000
_TIME_HELP = "write it as 2026-11-23 or 2026-11-23T09:30 (UTC)"


@dataclass(slots=True)
class _Reader:
    given: Mapping[str, Sequence[str]]
    problems: list[Issue] = field(default_factory=list)
    there: Mapping[str, Collection[int]] = field(default_factory=dict)  # see ``known``

    def values(self, name: str) -> list[str]:
        return list(dict.fromkeys(value for value in (text.strip() for text in self.given.get(name, ())) if value))

    def one(self, name: str) -> str:
        values = self.values(name)
        if len(values) > 1:
            self.refuse(name, f"takes one value, but has {len(values)}")
        return values[0] if values else ""

    def refuse(self, name: str, sentence: str) -> None:
        self.problems.append(Issue(name, sentence))


def parse(
    given: Mapping[str, Sequence[str]],
    *,
    ignore: Sequence[str] = (),
    user: User | AnonymousUser | None = None,
) -> Parsed:
    """Read a filter from address parameters (name -> values). Without a status it is the open ones; ``any`` is all.

    ``user`` is whom ``owner=me`` means, and whose syncs it keeps to; None: a filter that was signed when it kept to them. Never
    raises: what is unknown or malformed, a parameter's name included (apart from those to ``ignore``), becomes a problem.
    """
    reader = _Reader(given)
    reader.there = known.there({name: _numbers(reader.values(name)) for name in known.NAMES}, user)
    for name in given:
        if name not in PARAMETERS and name not in _SETTLED and name not in ignore:
            reader.refuse(name, f"is no filter of this list; there are {', '.join(PARAMETERS)}")
    window, since, until = _times(reader)
    age, older_than = _age(reader)
    text = _text(reader, "q", _TEXT_MAX, "a text to search for")
    text_group_ids, is_text_deep = _settled_text(reader, text)
    found = EntryFilter(
        statuses=_statuses(reader),
        sync_ids=_several(reader, "sync", "no sync; choose one from the list"),
        connection_ids=_several(reader, "connection", "no connection; choose one from the list"),
        error_types=_members(reader, "error_type", ErrorType),
        error_codes=_error_codes(reader),
        field_names=_field_names(reader),
        codes=_codes(reader),
        window=window,
        since=since,
        until=until,
        age=age,
        older_than=older_than,
        row_key=_text(reader, "key", _KEY_MAX, "a row key"),
        group_id=_one_of(reader, "group", "no error group; open one from the list of error groups"),
        run_id=_one_of(reader, "run", "no run; open one from the list of runs"),
        owner=_owner(reader, user),
        min_attempts=_attempts(reader),
        row_states=_row_states(reader),
        text=text,
        me=user.pk if user is not None else None,
        reach=None if user is None else access.visible_sync_ids(user),
        text_group_ids=text_group_ids,
        is_text_deep=is_text_deep,
        is_nothing=_nothing(reader),
    )
    return Parsed(found, tuple(reader.problems))


def _members(reader: _Reader, name: str, enum: Any) -> tuple[Any, ...]:
    return tuple(_chosen(reader, name, {member.value: member for member in enum}))


def _statuses(reader: _Reader) -> tuple[EntryStatus, ...]:
    values = reader.values("status")
    if ANY in values:
        others = _Reader({"status": [value for value in values if value != ANY]}, reader.problems)
        _members(others, "status", EntryStatus)
        return ()
    return _members(reader, "status", EntryStatus) or (EntryStatus.OPEN,)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def _numbers(values: Iterable[str]) -> list[int]:
    return [number for number in map(_number, values) if number is not None]


def _several(reader: _Reader, name: str, remedy: str) -> tuple[int, ...]:
    wanted = {value: _number(value) for value in reader.values(name)}
    for value, pk in wanted.items():
        if pk not in reader.there[name]:
            reader.refuse(name, f"“{_short(value)}” is {remedy}")
    return tuple(sorted(pk for pk in set(wanted.values()) if pk is not None and pk in reader.there[name]))


def _one_of(reader: _Reader, name: str, remedy: str) -> int | None:
    value = reader.one(name)
    if not value:
        return None
    pk = _number(value)
    if pk is None or pk not in reader.there[name]:
        reader.refuse(name, f"“{_short(value)}” is {remedy}")
        return None
    return pk


def _codes(reader: _Reader) -> tuple[int | None, ...]:
    codes: list[int | None] = []
    for value in reader.values("code"):
        for part in value.replace(",", " ").split():
            number = _number(part)
            if part == NO_RESPONSE:
                codes.append(None)
            elif number is not None and 100 <= number <= 599:
                codes.append(number)
            else:
                reader.refuse("code", f"“{_short(part)}” is no HTTP status; write 100 to 599, or none for no response")
    return tuple(dict.fromkeys(codes))


def _text(reader: _Reader, name: str, longest: int, what: str) -> str:
    return _checked(reader, name, reader.one(name), longest, what)


def _checked(reader: _Reader, name: str, text: str, longest: int, what: str) -> str:
    if len(text) > longest:
        reader.refuse(name, f"has {len(text)} characters, but {what} has at most {longest}")
    elif "\0" in text:
        reader.refuse(name, "holds a NUL character")
    elif not _is_storable(text):
        reader.refuse(name, "holds a character that is no valid Unicode")
    else:
        return text
    return ""


def _is_storable(text: str) -> bool:
    """Half a surrogate pair can be in an address, but in no database."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _error_codes(reader: _Reader) -> tuple[str, ...]:
    codes = (_checked(reader, "error_code", code, _CODE_MAX, "an error code") for code in reader.values("error_code"))
    return tuple(code for code in codes if code)


def _field_names(reader: _Reader) -> tuple[str, ...]:
    names = (_checked(reader, "field", name, _KEY_MAX, "a field") for name in reader.values("field"))
    return tuple(name for name in names if name)


def _owner(reader: _Reader, user: User | AnonymousUser | None) -> str:
    value = reader.one("owner")
    if value == ME and (user is None or user.pk is None):
        reader.refuse("owner", "“me” needs somebody who is logged in; write the number of a user")
    elif value in ("", ME, NOBODY):
        return value
    else:
        found = _one_of(reader, "owner", "no user; write me, none or a user's number")
        return str(found) if found is not None else ""
    return ""


def _attempts(reader: _Reader) -> int | None:
    value = reader.one("attempts")
    number = _number(value)
    if value and (number is None or not 1 <= number <= _ATTEMPTS_MAX):
        reader.refuse("attempts", f"“{_short(value)}” is no number of attempts; write the least, 1 to {_ATTEMPTS_MAX}")
        return None
    return number if value else None


def _row_states(reader: _Reader) -> tuple[RowState, ...]:
    words = {state.value or UNKNOWN_ROW: state for state in RowState}
    return tuple(_chosen(reader, "row", words))


def _chosen(reader: _Reader, name: str, words: Mapping[str, Any]) -> Iterable[Any]:
    for value in reader.values(name):
        if value in words:
            yield words[value]
        else:
            reader.refuse(name, f"“{_short(value)}” is none of {', '.join(words)}")


def _age(reader: _Reader) -> tuple[str, datetime | None]:
    """A span, or the moment it stood for when the filter was made absolute."""
    value = reader.one("age")
    if not value or value in AGES:
        return value, None
    return "", _moment(reader, "age", f"neither {', '.join(AGES)} nor a time")


def _settled_text(reader: _Reader, text: str) -> tuple[tuple[int, ...] | None, bool | None]:
    """What ``EntryFilter.at`` resolved the text to; (None, None) when it has not been."""
    groups, deep = reader.one("q_groups"), reader.one("q_deep")
    if not groups and not deep:
        return None, None
    numbers = [] if groups == NOBODY else [_number(part) for part in groups.split(",")]
    if not text or not groups or deep not in ("0", "1") or None in numbers or len(numbers) > TEXT_GROUPS_MAX:
        reader.refuse("q_groups" if groups else "q_deep", "belongs to a search that cannot be read; search again")
        return None, None
    return tuple(sorted({number for number in numbers if number is not None})), deep == "1"


def _nothing(reader: _Reader) -> bool:
    value = reader.one("nothing")
    if value not in ("", "1"):
        reader.refuse("nothing", "is 1 or not there")
    return value == "1"


def _times(reader: _Reader) -> tuple[str, datetime | None, datetime | None]:
    choice = reader.one("failed")
    since, until = _moment(reader, "from"), _moment(reader, "to")
    has_times = bool(reader.values("from") or reader.values("to"))
    if choice and choice not in WINDOWS and choice != BETWEEN:
        reader.refuse("failed", f"“{_short(choice)}” is none of {', '.join((*WINDOWS, BETWEEN))}")
    elif choice in WINDOWS and has_times:
        reader.refuse("failed", "has both a span and times of your own; choose “Between” to use the times, or clear them")
    elif choice == BETWEEN and not has_times:
        reader.refuse("failed", "is set to “Between”, but neither time is given")
    if since and until and since >= until:
        reader.refuse("from", "is not before the end; swap the two times")
    return (choice if choice in WINDOWS else ""), since, until


def _moment(reader: _Reader, name: str, what: str = "no time") -> datetime | None:
    """A date means its whole day: its start for ``from``, the next midnight for ``to``."""
    text = reader.one(name)
    if not text:
        return None
    try:
        day = parse_date(text)
        if day is not None:
            start = datetime.combine(day, time.min, tzinfo=UTC)
            return start + timedelta(days=1) if name == "to" else start
        moment = parse_datetime(text)
        if moment is not None:
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    reader.refuse(name, f"“{_short(text)}” is {what}; {_TIME_HELP}")
    return None


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"
