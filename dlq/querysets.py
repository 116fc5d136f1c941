"""Which dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models

from dlq.choices import LIVE, EntryStatus

if TYPE_CHECKING:
    from dlq.models import DLQEntry  # noqa: F401


class DLQEntryQuerySet(models.QuerySet["DLQEntry"]):
    def live(self) -> DLQEntryQuerySet:
        return self.filter(status__in=LIVE)

    def open(self) -> DLQEntryQuerySet:
        return self.filter(status=EntryStatus.OPEN)
