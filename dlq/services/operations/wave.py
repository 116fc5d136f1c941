"""One wave of a reprocess, as the operation keeps it, and the rule by which an operation halts by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from dlq.models import BulkOperation

# So many answers before "is anything fixed at all?" is decided: with one row in ten fixed, a sample of 100 that holds none of
# them comes once in 40,000 times. A share below 100 percent expects most rows to be fixed, so that ten answers tell.
SAMPLE = 100
SAMPLE_OF_A_SHARE = 10


@dataclass(slots=True)
class Wave:
    """Counts of rows. ``same``: of the refused, with the fingerprint they had. ``returned``: put back unsent, and pending
    again. ``at``, ``ended_at``: ISO times; ``ended_at`` is empty while its runs are under way."""

    number: int
    sent: int
    at: str
    runs: list[int] = field(default_factory=list)
    ended_at: str = ""
    done: int = 0
    refused: int = 0
    same: int = 0
    gone: int = 0
    left_out: int = 0
    returned: int = 0

    @classmethod
    def of(cls, operation: BulkOperation) -> list[Wave]:
        return [cls(**values) for values in operation.waves]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def started_at(self) -> datetime:
        return datetime.fromisoformat(self.at)

    @property
    def finished_at(self) -> datetime | None:
        return datetime.fromisoformat(self.ended_at) if self.ended_at else None

    @property
    def answered(self) -> int:
        return self.done + self.refused + self.gone


def halt_reason(waves: Sequence[Wave], *, after: int, percent: int) -> str:
    """Why the operation should halt now that the last of these waves has come back; "" to go on.

    Waves up to number ``after`` were decided on before the last halt. Waves are judged together until they hold a sample.
    """
    needed = SAMPLE if percent >= 100 else SAMPLE_OF_A_SHARE
    sample: list[Wave] = []
    for wave in waves:
        if wave.number <= after:
            continue
        if sum(one.answered for one in sample) >= needed:
            sample = []
        sample.append(wave)
    answered = sum(wave.answered for wave in sample)
    if answered < needed:
        return ""
    refused, same = sum(wave.refused for wave in sample), sum(wave.same for wave in sample)
    if same * 100 >= percent * answered:
        return f"{_name(sample)}: {same:,} of {answered:,} were refused again with the same error. {_WAY_OUT}"
    if refused == answered:
        others = f"{refused - same:,} with another error than before"
        return f"{_name(sample)}: all {refused:,} were refused again, {others}. {_WAY_OUT}"
    return ""


_WAY_OUT = "Repair the cause and resume, or cancel."


def _name(sample: Sequence[Wave]) -> str:
    first, last = sample[0].number, sample[-1].number
    return f"Wave {last}" if first == last else f"Waves {first} to {last}"
