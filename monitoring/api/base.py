"""What the endpoints of monitoring share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from rest_framework import serializers
from rest_framework.request import Request

from dlq.services.moves import ActRefusedError
from monitoring.services import mutes
from syncs.connectors import Issue
from syncs.models import Sync
from syncs.rest.problems import InvalidError, NotFoundError
from syncs.rest.resources import user_of
from syncs.rest.shapes import Shape, StrictText
from syncs.services import access

DOOR = "api"
NUMBER = "[1-9][0-9]{0,17}"


class Word(serializers.ChoiceField):
    """One of the words of an enum, as they are stored."""

    def __init__(self, known: type[StrEnum], **kwargs: object) -> None:
        super().__init__(choices=[one.value for one in known], **kwargs)  # type: ignore[arg-type]


class MuteShape(Shape):
    """Exactly one of the two says until when."""

    span = serializers.ChoiceField(choices=list(mutes.SPANS), required=False, help_text="How long from now on.")
    until = serializers.DateTimeField(required=False, help_text="Within 30 days. Give this or `span`.")
    reason = StrictText(max_length=255, help_text="Others read it.")

    def validate(self, attrs: dict[str, object]) -> dict[str, object]:
        if ("span" in attrs) == ("until" in attrs):
            raise serializers.ValidationError({"until": ["Give either span or until."]})
        return attrs

    @staticmethod
    def end(given: dict[str, object]) -> str:
        """As ``mutes.end`` reads it."""
        until = given.get("until")
        return str(given["span"]) if until is None else until.isoformat()  # type: ignore[attr-defined]


@contextmanager
def naming(**names: str) -> Iterator[None]:
    """A service names an input as the console's form does; the API as its body does."""
    try:
        yield
    except ActRefusedError as refusal:
        if refusal.field in names:
            raise InvalidError([Issue(names[refusal.field], refusal.message)], refusal.message) from refusal
        raise


def sync_of(request: Request, sync_id: str) -> Sync:
    """The sync of the address, if the caller sees it."""
    rows = access.scoped(
        Sync.objects.select_related("source", "destination", "owner", "team", "watch"), user_of(request), by="pk"
    )
    found = rows.filter(pk=int(sync_id)).first()
    if found is None:
        raise NotFoundError("No sync of that number")
    return found
