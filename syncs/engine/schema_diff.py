"""What differs between two descriptions of a destination object, and whether rows that were taken before may be refused now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from syncs.choices import SchemaChangeKind as Kind
from syncs.destinations.base import Field
from syncs.engine.schema_fields import family


@dataclass(frozen=True, slots=True)
class Change:
    """``before``, ``after``: the value of what changed, as JSON; None where it does not apply."""

    kind: Kind
    field: str
    is_breaking: bool
    before: Any = None
    after: Any = None


def differences(before: Iterable[Field], after: Iterable[Field]) -> list[Change]:
    """Breaking ones first, then by field."""
    old, new = ({field.name: field for field in fields} for fields in (before, after))
    changes = [Change(Kind.FIELD_REMOVED, name, True, before=old[name].type) for name in old if name not in new]
    for name, field in new.items():
        changes += _of_field(old[name], field) if name in old else [_added(field)]
    return sorted(changes, key=lambda change: (not change.is_breaking, change.field, change.kind))


def _added(field: Field) -> Change:
    is_required = field.is_required and field.is_writable
    return Change(Kind.REQUIRED_ADDED if is_required else Kind.FIELD_ADDED, field.name, is_required, after=field.type)


def _of_field(old: Field, new: Field) -> Iterator[Change]:
    name = new.name
    if old.is_required != new.is_required:
        yield Change(Kind.BECAME_REQUIRED if new.is_required else Kind.BECAME_OPTIONAL, name, new.is_required)
    if old.is_writable != new.is_writable:
        yield Change(Kind.BECAME_WRITABLE if new.is_writable else Kind.BECAME_READ_ONLY, name, not new.is_writable)
    if old.type != new.type:
        yield Change(Kind.TYPE_CHANGED, name, _is_other_type(old.type, new.type), old.type, new.type)
    if old.max_length != new.max_length:
        is_narrower = new.max_length is not None and (old.max_length is None or new.max_length < old.max_length)
        yield Change(Kind.LENGTH_CHANGED, name, is_narrower, old.max_length, new.max_length)
    if set(old.options) != set(new.options):
        # No list at all: anything goes. A first list, or one that lost words, may refuse what was taken.
        is_narrower = bool(new.options) and (not old.options or bool(set(old.options) - set(new.options)))
        yield Change(Kind.OPTIONS_CHANGED, name, is_narrower, sorted(old.options), sorted(new.options))
    if old.is_key != new.is_key:
        yield Change(Kind.KEY_CHANGED, name, old.is_key, old.is_key, new.is_key)


def _is_other_type(old: str, new: str) -> bool:
    """``varchar(50)`` and ``text`` take the same values. Where a word is not known, any other word counts as another type."""
    families = (family(old), family(new))
    return families[0] != families[1] or families[0] == "any"
