"""What django-q2 calls, by name. Arguments are ids only; a lost, doubled or late call is harmless."""

from __future__ import annotations

from monitoring.services import deliveries
from monitoring.services.retention import passes


def purge(purge_id: int) -> None:
    passes.answer(purge_id)


def deliver(delivery_id: int) -> None:
    deliveries.work(delivery_id)
