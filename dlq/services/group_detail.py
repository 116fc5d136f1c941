"""One error group with what its dead letters have in common, as its page and other programs show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dlq.models import ErrorGroup
from dlq.services import field_stats, group_list, sight
from dlq.services.field_stats import FieldStats
from dlq.services.group_sample import SHOWN, Sample, Sampled

if TYPE_CHECKING:
    from django.contrib.auth.models import User

_LOADED = ("sync", "owner", "rule", "first_run__version", "last_run__version")


@dataclass(frozen=True, slots=True)
class OfEntries:
    """``stats``: None where the error names no field. ``newest``: a few live dead letters, their messages masked."""

    stats: FieldStats | None
    newest: list[Sampled]


def find(pk: int, user: User) -> ErrorGroup | None:
    """With all that its page names; None: it is not there, or of a sync that the user may not see."""
    return group_list.visible(user).select_related(*_LOADED).filter(pk=pk).first()


def of_entries(group: ErrorGroup) -> OfEntries:
    """From a sample of its newest live dead letters; values masked."""
    masker = sight.masker()
    sample = Sample(group, masker=masker) if group.field.strip() else Sample(group, size=SHOWN, masker=masker)
    snapshot = group.last_run.version.snapshot if group.last_run and group.last_run.version else {}
    column = field_stats.column_of(snapshot.get("mappings", ()), group.field)
    stats = field_stats.field_stats(group, sample, column=column, masker=masker)
    if stats is None:
        for _entry in sample:  # only to be shown
            pass
    return OfEntries(stats, sample.newest)
