"""Which changes of a destination object touch a mapping: where a line, or the lack of one, makes rows fail that did not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from syncs.choices import SchemaChangeKind as Kind
from syncs.destinations.base import Field
from syncs.engine.mapping import MappingField
from syncs.engine.schema_fit import Misfit, MisfitKind, matching, misfits, plain


class AnyChange(Protocol):
    """A ``schema_diff.Change``, or the row that keeps one."""

    @property
    def kind(self) -> str: ...
    @property
    def field(self) -> str: ...
    @property
    def is_breaking(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Touch:
    """``misfits``: what of the mapping does not fit on account of this change; empty where only a preview can tell.
    ``lines``: indexes of the mapping lines that write the field."""

    change: AnyChange
    misfits: tuple[Misfit, ...]
    lines: tuple[int, ...]

    @property
    def is_certain(self) -> bool:
        return any(misfit.is_certain for misfit in self.misfits)


_BECAUSE: dict[str, tuple[MisfitKind, ...]] = {
    Kind.REQUIRED_ADDED: (MisfitKind.MISSING, MisfitKind.NULLABLE),
    Kind.BECAME_REQUIRED: (MisfitKind.MISSING, MisfitKind.NULLABLE),
    Kind.FIELD_REMOVED: (MisfitKind.UNKNOWN,),
    Kind.BECAME_READ_ONLY: (MisfitKind.READ_ONLY,),
    Kind.LENGTH_CHANGED: (MisfitKind.LENGTH,),
    Kind.OPTIONS_CHANGED: (MisfitKind.OPTIONS,),
    Kind.TYPE_CHANGED: (MisfitKind.TYPE,),
    Kind.KEY_CHANGED: (MisfitKind.KEY,),
}


def touches(
    changes: Iterable[AnyChange], mapping: Sequence[MappingField], fields: Sequence[Field], *, mode: str
) -> list[Touch]:
    """The breaking changes that concern this mapping, as the fields are now, in the order of the changes."""
    found = misfits(mapping, fields, mode=mode)
    known = {field.name: field for field in fields}
    writers: dict[str, list[int]] = {}
    for index, line in enumerate(mapping):
        for name in {plain(line.destination_field), *(field.name for field in matching(line.destination_field, known))}:
            writers.setdefault(name, []).append(index)
    touched = []
    for change in changes:
        if not change.is_breaking:
            continue
        kinds = _BECAUSE.get(change.kind, ())
        because = tuple(misfit for misfit in found if misfit.kind in kinds and _is_about(misfit.field, change))
        lines = tuple(writers.get(change.field, ()))
        is_other_type = change.kind == Kind.TYPE_CHANGED and bool(lines)
        if because or is_other_type:
            touched.append(Touch(change, because, lines))
    return touched


def _is_about(name: str, change: AnyChange) -> bool:
    """A field that went takes along what is mapped below it."""
    is_below = change.kind == Kind.FIELD_REMOVED and name.startswith(f"{change.field}.")
    return name == change.field or is_below


_SAID = {
    Kind.REQUIRED_ADDED: "the new field “{}” is required",
    Kind.BECAME_REQUIRED: "“{}” is required now",
    Kind.FIELD_REMOVED: "the field “{}” is gone",
    Kind.BECAME_READ_ONLY: "“{}” may not be written any more",
    Kind.LENGTH_CHANGED: "“{}” takes shorter texts only",
    Kind.OPTIONS_CHANGED: "“{}” allows fewer values",
    Kind.TYPE_CHANGED: "“{}” is of another type",
    Kind.KEY_CHANGED: "“{}” is no key any more",
}
_SAID_MAX = 4


def sentence(touched: Sequence[Touch]) -> str:
    """``the new field “tier” is required; “name” takes shorter texts only``; the first few, then a number."""
    said = list(dict.fromkeys(_SAID[Kind(touch.change.kind)].format(touch.change.field[:60]) for touch in touched))
    more = f"; and {len(said) - _SAID_MAX} more" if len(said) > _SAID_MAX else ""
    return "; ".join(said[:_SAID_MAX]) + more
