"""Which dead letters: the filter of their list, or numbers, in the body of a request."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qs

from django.core.validators import RegexValidator
from rest_framework import serializers

from dlq.choices import EntryStatus, RowState
from dlq.services import selection, snapshots
from dlq.services.entry_filter import ANY, BETWEEN, UNKNOWN_ROW, WINDOWS, time_text
from dlq.services.selection import EntryFilter
from dlq.services.snapshots import MAX_TICKED, BulkKind, Snapshot
from syncs.connectors import Issue
from syncs.errors import ErrorType
from syncs.rest.problems import InvalidError
from syncs.rest.shapes import Id, Shape, StrictInteger, StrictText

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SEVERAL = 10_000  # values of one condition
_NUMBERS = ("sync", "connection", "group", "run", "attempts")
_LISTS = ("status", "sync", "connection", "error_type", "error_code", "field", "code", "row")


def _words(pattern: str, **about: Any) -> StrictText:
    return StrictText(validators=[RegexValidator(pattern)], **about)


def _several(child: serializers.Field[Any, Any, Any, Any], text: str) -> serializers.ListField:
    return serializers.ListField(child=child, required=False, min_length=1, max_length=SEVERAL, help_text=text)


class EntryFilterShape(Shape):
    """The conditions of the list of dead letters, under the names that its address has."""

    status = _several(
        serializers.ChoiceField([*EntryStatus, ANY]), "Without it the open ones are meant; `any`: whatever their status."
    )
    sync = _several(Id(), "Ids of syncs.")
    connection = _several(Id(), "Ids of connections: source or destination of the sync.")
    error_type = _several(serializers.ChoiceField(list(ErrorType)), "Error types.")
    error_code = _several(StrictText(max_length=120), "Codes that the destination gave.")
    field = _several(StrictText(max_length=255), "Destination fields that the errors name.")
    code = _several(_words(r"^(none|[1-5][0-9][0-9])$"), "HTTP statuses, `none` for no response.")
    failed = serializers.ChoiceField([*WINDOWS, BETWEEN], required=False, help_text="When they failed last, until now.")
    to = serializers.DateTimeField(required=False, help_text="They failed last before this moment.")
    age = StrictText(max_length=40, required=False, help_text="First failed longer ago: `1d`, `7d`, `30d`; or before a moment.")
    key = StrictText(max_length=255, required=False, help_text="The row key, exactly.")
    group = Id(required=False, help_text="An error group.")
    run = Id(required=False, help_text="The run that refused them last.")
    owner = _words(r"^(me|none|[1-9][0-9]{0,17})$", required=False, help_text="`me`, `none`, or the id of a person.")
    attempts = StrictInteger(min_value=1, max_value=1_000_000, required=False, help_text="At least so many.")
    row = _several(
        serializers.ChoiceField([state.value or UNKNOWN_ROW for state in RowState]),
        "What the last look into the warehouse said.",
    )
    q = StrictText(max_length=200, required=False, help_text="A text in keys, groups, messages and payloads.")

    def get_fields(self) -> dict[str, Any]:
        since = serializers.DateTimeField(required=False, help_text="They failed last at this moment or after it.")
        return {**super().get_fields(), "from": since}  # a word that Python keeps for itself


class ChosenShape(Shape):
    """Give one of the two."""

    NAMES: ClassVar[tuple[str, ...]] = ("filter", "ids")

    filter = EntryFilterShape(required=False, help_text="All that match; `{}`: every open one.")
    ids = serializers.ListField(
        child=Id(), required=False, min_length=1, max_length=MAX_TICKED, help_text="These dead letters, by their ids."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if sum(name in attrs for name in self.NAMES) != 1:
            raise serializers.ValidationError({"filter": f"Give one of {', '.join(f'`{name}`' for name in self.NAMES)}."})
        return attrs


def take(kind: BulkKind, given: Mapping[str, Any], *, user: User) -> Snapshot:
    """What ``ChosenShape`` asks for, frozen. Raises ``InvalidError`` for what is not there, or not theirs to see."""
    ids = tuple(sorted(set(given["ids"]))) if "ids" in given else None
    snapshot = snapshots.take(kind, read(given.get("filter", {}), user=user), user=user, ids=ids)
    if ids is not None and snapshot.ids is not None and len(snapshot.ids) < len(ids):
        lost = sorted(set(ids) - set(snapshot.ids))
        named = ", ".join(map(str, lost[:5])) + (f" and {len(lost) - 5:,} more" if len(lost) > 5 else "")
        raise InvalidError([Issue("ids", f"There are no dead letters {named} that you may see.")])
    return snapshot


def read(given: Mapping[str, Any], *, user: User) -> EntryFilter:
    """A filter from a body, by the parser of the list. Raises ``InvalidError``."""
    parsed = selection.parse(_texts(given), user=user)
    if parsed.problems:
        raise InvalidError(
            [Issue(f"filter.{one.field}", f"{one.message[:1].upper()}{one.message[1:]}.") for one in parsed.problems]
        )
    return parsed.filter


def _texts(given: Mapping[str, Any]) -> dict[str, list[str]]:
    return {name: [_text(one) for one in (value if isinstance(value, list) else [value])] for name, value in given.items()}


def _text(value: Any) -> str:
    return time_text(value) if isinstance(value, datetime) else str(value)


def shown(query: str) -> dict[str, Any]:
    """A stored filter as ``EntryFilterShape`` writes it, without how a text search was settled."""
    given = parse_qs(query)
    found: dict[str, Any] = {}
    for name in selection.PARAMETERS:
        if name not in given:
            continue
        values: list[Any] = [int(text) for text in given[name]] if name in _NUMBERS else given[name]
        found[name] = values if name in _LISTS else _moment(name, values[-1])
    return found


def _moment(name: str, value: Any) -> Any:
    return datetime.fromisoformat(f"{value}+00:00") if name in ("from", "to") else value
