"""What django-q2 calls, by name. Arguments are ids only; a lost, doubled or late call is harmless."""

from __future__ import annotations

from dlq.services import exports, operations, regrouping
from dlq.services import reclassify as error_rules


def advance(operation_id: int) -> None:
    operations.work(operation_id)


def regroup(sync_id: int) -> None:
    regrouping.WALK.work(sync_id)


def reclassify(job_id: int) -> None:
    error_rules.WALK.work(job_id)


def write_export(export_id: int) -> None:
    exports.work(export_id)
