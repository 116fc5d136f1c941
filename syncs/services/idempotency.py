"""The same POST sent twice is done once: what its first success answered is kept for a day and given again."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from syncs.models import IdempotentRequest

KEPT = timedelta(hours=24)
ABANDONED = timedelta(minutes=10)  # longer than a web process may work on one request


class Found(StrEnum):
    OTHER = "other"  # the key was used for another request
    UNDER_WAY = "under_way"


def begin(caller: str, key: str, fingerprint: str) -> IdempotentRequest | Found:
    """The record to work under; one that has an ``answer`` was finished, and the answer is to be given again."""
    now = timezone.now()
    mine = IdempotentRequest.objects.filter(caller=caller, key=key)
    mine.filter(created_at__lt=now - KEPT).delete()
    # A process that died has left its record behind: nobody works on it any more.
    mine.filter(finished_at=None, created_at__lt=now - ABANDONED).delete()
    try:
        with transaction.atomic():
            return IdempotentRequest.objects.create(caller=caller, key=key, fingerprint=fingerprint)
    except IntegrityError:
        found = mine.first()
    if found is None:  # it failed in this very moment, and its key is free again
        return Found.UNDER_WAY
    if found.fingerprint != fingerprint:
        return Found.OTHER
    return found if found.finished_at is not None else Found.UNDER_WAY


def finish(record: IdempotentRequest, answer: dict[str, Any]) -> None:
    record.answer, record.finished_at = answer, timezone.now()
    record.save(update_fields=["answer", "finished_at"])


def release(record: IdempotentRequest) -> None:
    """Nothing was done: the same key may be used again."""
    IdempotentRequest.objects.filter(pk=record.pk, finished_at=None).delete()


def sweep() -> int:
    """On the tick: forget what is older than a day. Returns how many."""
    return IdempotentRequest.objects.filter(created_at__lt=timezone.now() - KEPT).delete()[0]
