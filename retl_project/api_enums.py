"""Names of enums in the API's document: those they have in the code."""

from __future__ import annotations

from enum import StrEnum
from types import ModuleType

import dlq.choices
import monitoring.choices
import syncs.choices
import syncs.errors
import syncs.records
from monitoring.channels.registry import CHANNEL_KINDS
from syncs.destinations.ruled import ASSIGNABLE

OTHERWISE = {"Operation": "RowOperation", "Trigger": "RunTrigger"}  # where a shape has the name already
MODULES: tuple[ModuleType, ...] = (syncs.choices, syncs.errors, syncs.records, dlq.choices, monitoring.choices)


def names() -> dict[str, list[str]]:
    """Name -> values. Of two enums with the same values the document cannot tell which is meant: the first one names both."""
    found: dict[str, list[str]] = {}
    known: set[frozenset[str]] = set()
    for module in MODULES:
        for name, enum in vars(module).items():
            if isinstance(enum, type) and issubclass(enum, StrEnum) and enum is not StrEnum:
                values = [member.value for member in enum if member.value]
                if frozenset(values) not in known:
                    known.add(frozenset(values))
                    app = module.__name__.partition(".")[0].capitalize()
                    found[OTHERWISE.get(name, name if name not in found else f"{app}{name}")] = values
    unsaid = {"RowStateOrUnknown": ["unknown", *(state.value for state in dlq.choices.RowState if state.value)]}
    unsaid["AssignableErrorType"] = [one.value for one in ASSIGNABLE]
    unsaid["ChannelKind"] = list(CHANNEL_KINDS)
    return found | unsaid  # an enum with an empty member, which has a word in the API
