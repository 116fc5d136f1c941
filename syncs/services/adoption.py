"""What earlier workers left open, taken over by the run at hand: calls without an answer, and jobs whose end is not known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Max, Q
from django.utils import timezone

from syncs.choices import STEP_OPEN, StepKind, StepStatus
from syncs.engine.ports import Send
from syncs.models import Run, Step
from syncs.records import Job, Operation
from syncs.services import targets
from syncs.services.job_batches import JobBatches

_REPEATS = "Repeats a call whose answer was never recorded."
_ASKS = "Asks how a job ended that an earlier worker began."
_ELSEWHERE = "The sync writes elsewhere now, so nobody asks how its job ended."


@dataclass(slots=True)
class Adopted:
    """``attempts``: of steps of this run that simply go on, by number."""

    sends: list[Send] = field(default_factory=list)
    attempts: dict[int, list[dict[str, Any]]] = field(default_factory=dict)


def take_over(*, run_id: int, sync_id: int, reads_all: bool, batches: JobBatches) -> Adopted:
    """Inside a transaction that proved the run to be ours.

    A step of this run that waits for one job goes on as it is; everything else becomes a new step of this run. Of earlier runs
    their jobs are always taken over, so that what they carry is never overtaken; their lost calls only where ``reads_all``,
    because only then all of their rows come by again.
    """
    adopted, moved, now = Adopted(), [], timezone.now()
    run = Run.objects.select_related("version").get(pk=run_id)
    for step in _open_steps(sync_id):
        sends = [_send(data, run) for data in step.sends]
        is_ours = step.run_id == run_id
        batches.read(sends)
        if is_ours and len(sends) == 1 and sends[0].job is not None:
            sends[0].step_number, sends[0].started_at = step.number, step.started_at
            adopted.sends += sends
            adopted.attempts[step.number] = step.attempts
            continue
        left = [] if is_ours or reads_all else [send for send in sends if send.job is None]
        taken = [send for send in sends if send.job is not None] if left else sends
        if left and not taken:
            continue
        is_elsewhere = not is_ours and not _has_same_target(step.run, run)
        _leave(step, left, _ELSEWHERE if is_elsewhere else _asked_by(run_id), now)
        if is_elsewhere:
            taken = [send for send in taken if send.job is None]  # nobody there knows the job
        for send in taken:
            send.is_read_again = is_ours or reads_all
        moved += taken
    _begin(moved, run_id, now)
    adopted.sends += moved
    batches.take_over(adopted.sends)
    if reads_all:
        batches.forget_others()
    return adopted


def _open_steps(sync_id: int) -> list[Step]:
    steps = Step.objects.filter(Q(run__sync_id=sync_id), status__in=STEP_OPEN)
    return list(steps.select_related("run__version").order_by("run_id", "number"))


def _asked_by(run_id: int) -> str:
    return f"Run {run_id} asks how its job ended."


def _leave(step: Step, left: Sequence[Send], about_job: str, now: datetime) -> None:
    """The step keeps what nobody took over, or is closed."""
    if left:
        Step.objects.filter(pk=step.pk).update(status=StepStatus.INFLIGHT, sends=[send_data(send) for send in left])
        return
    is_job = any(data.get("job") for data in step.sends)
    message = about_job if is_job else "The worker stopped before the answer came."
    Step.objects.filter(pk=step.pk).update(status=StepStatus.INTERRUPTED, finished_at=now, sends=[], message=message)


def _begin(sends: Sequence[Send], run_id: int, now: datetime) -> None:
    number = Step.objects.filter(run_id=run_id).aggregate(newest=Max("number"))["newest"] or 0
    steps = []
    for offset, send in enumerate(sends, 1):
        send.step_number, send.started_at = number + offset, now if send.job is not None else None
        steps.append(
            Step(
                run_id=run_id,
                number=send.step_number,
                kind=StepKind.UPLOAD,
                status=StepStatus.INFLIGHT if send.job is None else StepStatus.CONFIRMING,
                started_at=now,
                row_count=len(send.keys),
                sends=[send_data(send)],
                message=_REPEATS if send.job is None else _ASKS,
            )
        )
    Step.objects.bulk_create(steps)


def _has_same_target(before: Run, run: Run) -> bool:
    if before.version is None or run.version is None:
        return False
    return targets.target(before.version.snapshot) == targets.target(run.version.snapshot)


def send_data(send: Send) -> dict[str, Any]:
    """As stored in ``Step.sends``."""
    data: dict[str, Any] = {
        "operation": send.operation.value,
        "keys": send.keys,
        "idempotency_key": send.idempotency_key,
        "attempt": send.attempt,
        "crash_count": send.crash_count,
        "is_under_way": send.is_under_way,
        "may_have_landed": send.may_have_landed,
    }
    job = send.job
    if job is not None:
        data["job"] = {
            "id": job.id, "started_at": job.started_at, "data": dict(job.data), "at_most_seconds": job.at_most_seconds,
        }  # fmt: skip
    return data


def _send(data: dict[str, Any], run: Run) -> Send:
    crashed = 1 if run.crash_count > 0 and data["is_under_way"] else 0
    return Send(
        step_number=0,
        operation=Operation(data["operation"]),
        keys=list(data["keys"]),
        idempotency_key=data["idempotency_key"],
        attempt=data["attempt"],
        crash_count=data["crash_count"] + crashed,
        is_under_way=data["is_under_way"],
        may_have_landed=data.get("may_have_landed", True),
        job=Job(**data["job"]) if data.get("job") else None,
    )
