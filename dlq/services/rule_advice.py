"""The advice of the error rules that decided: on the page of a dead letter and of a group.

The number of the rule stays on the entry, and its words are looked up when they are shown: an advice that was made better is
better everywhere at once, and a rule that has been deleted says nothing any more. Matching again at that moment would instead
name a rule that had no part in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dlq.choices import EntryStatus
from dlq.models import DLQEntry, ErrorGroup
from syncs.models import ErrorRule

_LOOKED_AT = 50  # newest open entries of a group
_SHOWN = 3


def of_entry(entry: DLQEntry) -> ErrorRule | None:
    """The rule that decided, as it is now."""
    return ErrorRule.objects.filter(pk=entry.error_rule_id).first() if entry.error_rule_id else None


def of_group(group: ErrorGroup) -> Sequence[ErrorRule]:
    """Those that decided its newest open entries, most entries first."""
    open_ = DLQEntry.objects.filter(group_id=group.pk, status=EntryStatus.OPEN).order_by("-last_failed_at")
    ids = Counter(pk for pk in open_.values_list("error_rule_id", flat=True)[:_LOOKED_AT] if pk)
    rules = ErrorRule.objects.in_bulk(list(ids)) if ids else {}
    return [rules[pk] for pk, _count in ids.most_common(_SHOWN) if pk in rules]
