"""The newest live entries of an error group, streamed: what their documents hold is looked at, a few are kept to be shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from django.db.models import QuerySet
from django.db.models.functions import Substr

from dlq.choices import LIVE, EntryStatus
from dlq.models import DLQEntry, ErrorGroup
from dlq.services import sight
from dlq.services.masking import DOCUMENTS, Masker

SIZE = 1_000  # entries
SHOWN = 10
TEXT_CAP = 65_536  # characters of a document that are read; what is longer counts as unreadable
_MESSAGE_CAP = 400
_SORTED_WHOLE = 5_000  # live entries of a group that are sorted, whatever their status


@dataclass(frozen=True, slots=True)
class Sampled:
    """``payload`` and ``source_row``: JSON text, cut one character above TEXT_CAP. Empty in those that are kept."""

    pk: int
    row_key: str
    status: str
    message: str
    http_status: int | None
    failed_at: datetime
    payload: str
    source_row: str

    def get_status_display(self) -> str:
        return EntryStatus(self.status).value.capitalize()


class Sample:
    """Iterate once; then ``newest`` holds the first ``SHOWN`` and ``count`` how many there were. At most two queries."""

    def __init__(self, group: ErrorGroup, *, size: int = SIZE, masker: Masker | None = None) -> None:
        """``masker``: hides values in the messages of ``newest``."""
        self._group = group
        self._size = size
        self._masker = masker
        self.newest: list[Sampled] = []
        self.count = 0

    def __iter__(self) -> Iterator[Sampled]:
        for chosen in self._parts():
            left = self._size - self.count
            if left <= 0:
                return
            for row in _columns(chosen[:left]).iterator(chunk_size=100):
                entry = Sampled(*row)
                self.count += 1
                if len(self.newest) < SHOWN:
                    self.newest.append(replace(entry, message=self._message(entry), payload="", source_row=""))
                yield entry

    def _message(self, entry: Sampled) -> str:
        if self._masker is None:
            return entry.message
        texts = {name: text for name in DOCUMENTS if 0 < len(text := getattr(entry, name)) <= TEXT_CAP}
        said = sight.message(entry.message, is_known=bool(texts))
        return self._masker.parsed({**texts, "message": said})[0]["message"]

    def _parts(self) -> Iterator[QuerySet[DLQEntry]]:
        """A small group is sorted whole. Of a big one the open entries come in order from an index, and then, where they are
        few, any of those that are under way: to sort a million of them would take a second."""
        mine = DLQEntry.objects.filter(group_id=self._group.pk)
        if self._group.open_count <= _SORTED_WHOLE:
            yield mine.filter(status__in=LIVE).order_by("-last_failed_at", "-id")
            return
        yield mine.filter(status=EntryStatus.OPEN).order_by("-last_failed_at")
        yield mine.filter(status__in=(EntryStatus.QUEUED, EntryStatus.INFLIGHT)).order_by()


def _columns(chosen: QuerySet[DLQEntry]) -> QuerySet[DLQEntry, tuple[int, str, str, str, int | None, datetime, str, str]]:
    return chosen.values_list(
        "pk",
        "row_key",
        "status",
        Substr("message", 1, _MESSAGE_CAP),
        "http_status",
        "last_failed_at",
        Substr("payload", 1, TEXT_CAP + 1),
        Substr("source_row", 1, TEXT_CAP + 1),
    )
