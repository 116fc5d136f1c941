"""A run as a log that can be followed: lines of the run, its steps and their calls, none left out and none twice.

Steps are written while they go on, several at a time and not always in the order of their numbers. So a place in the log is no
time and no number: it says how far each step that was not over has been told, and which numbers had not been written yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.utils.dateparse import parse_datetime

from syncs.choices import STEP_OPEN, RunStatus, StepKind, StepStatus
from syncs.models import Run, Step
from syncs.services import following
from syncs.services.run_sight import RunSight

_END = 10**9  # the last line of a step
_SAME = 64  # calls of one step that may bear the same number
_GAPS_MOST = 200  # a cursor goes into an address, which most servers cut at 4 KB


class LogEvent(StrEnum):
    QUEUED = "queued"
    STARTED = "started"
    CANCEL_REQUESTED = "cancel_requested"
    STEP_STARTED = "step_started"
    ATTEMPT = "attempt"
    WAITING = "waiting"
    STEP_ENDED = "step_ended"
    STEP_LEFT = "step_left"  # how it ended was not recorded
    ENDED = "ended"


class LogLevel(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Line:
    """``id`` stays the same whoever reads it, and when. ``attempt``: its number within the step."""

    id: str
    at: datetime
    event: LogEvent
    message: str
    level: LogLevel = LogLevel.INFO
    step: int | None = None
    attempt: int | None = None
    http_status: int | None = None
    request_id: str = ""
    milliseconds: float | None = None
    row_count: int | None = None


@dataclass(slots=True)
class Place:
    """``head``: lines of the run told so far. ``newest``: the highest step told of. ``told``: step -> its last line that was
    told, of steps that are not over. ``gaps``: numbers below that were not written yet."""

    head: int = 0
    newest: int = 0
    told: dict[int, int] = field(default_factory=dict)
    gaps: list[int] = field(default_factory=list)

    def values(self) -> dict[str, Any]:
        """As JSON, for a cursor."""
        told = [[number, last] for number, last in sorted(self.told.items())]
        return {"head": self.head, "newest": self.newest, "told": told, "gaps": self.gaps}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Place:
        return cls(values["head"], values["newest"], dict(values["told"]), list(values["gaps"]))


@dataclass(frozen=True, slots=True)
class Part:
    """``next``: where the lines after these begin; None: the run has ended, and all of it was told."""

    lines: list[Line]
    next: Place | None


def read(run: Run, place: Place, limit: int) -> Part:
    """At most ``limit`` lines from there on. ``run``: read before this is called, so that all steps of one that has ended are
    there. Two queries."""
    return _Reader(run, place, limit).part()


class _Reader:
    def __init__(self, run: Run, place: Place, limit: int) -> None:
        self._run = run
        self._place = Place(place.head, place.newest, dict(place.told), list(place.gaps))
        self._limit = limit
        self._sight = RunSight()

    def part(self) -> Part:
        head = list(_head(self._run))[self._place.head :][: self._limit]
        self._place.head += len(head)
        middle: list[Line] = []
        is_over = self._steps(middle, self._limit - len(head)) and not self._run.is_active
        middle.sort(key=lambda line: line.at)
        lines = head + middle
        if not is_over:
            return Part(lines, self._place)
        return Part([*lines, _ended(self._run, self._sight)], None)

    def _steps(self, lines: list[Line], room: int) -> bool:
        """Whether all that there is was told."""
        for step in self._found(room):
            if room - len(lines) <= 0:
                return False
            if step.number > self._place.newest:
                self._advance(step.number)
            elif step.number in self._place.gaps:
                self._place.gaps.remove(step.number)
            if not self._tell(step, lines, room):
                return False
        return room - len(lines) > 0

    def _found(self, room: int) -> list[Step]:
        steps = Step.objects.filter(run=self._run).defer("sends").order_by("number")
        known = [*self._place.told, *self._place.gaps]
        again = list(steps.filter(number__in=known)) if known else []
        return again + list(steps.filter(number__gt=self._place.newest)[: max(room, 0) + 1])

    def _advance(self, number: int) -> None:
        if self._run.is_active:
            gaps = [*self._place.gaps, *range(self._place.newest + 1, number)]
            self._place.gaps = gaps[-_GAPS_MOST:]
        self._place.newest = number

    def _tell(self, step: Step, lines: list[Line], room: int) -> bool:
        last = self._place.told.pop(step.number, -1)
        for mark, line in _of_step(self._run, step, self._sight):
            if mark <= last:
                continue
            if len(lines) == room:
                self._place.told[step.number] = last
                return False
            lines.append(line)
            last = mark
        if last < _END:
            self._place.told[step.number] = last
        return True


def _head(run: Run) -> Iterator[Line]:
    who = f"{run.requested_by}, " if run.requested_by else ""
    detail = f": {run.trigger_detail}" if run.trigger_detail else ""
    yield Line("queued", run.queued_at, LogEvent.QUEUED, f"Queued ({who}{run.trigger}){detail}.")
    if run.started_at is not None:
        yield Line("started", run.started_at, LogEvent.STARTED, f"Started by {run.worker or 'a worker'}.")
        if run.cancel_requested_at is not None:
            asked = f"{run.cancel_requested_by or 'Somebody'} asked it to stop."
            yield Line("cancel", run.cancel_requested_at, LogEvent.CANCEL_REQUESTED, asked, LogLevel.WARNING)


_LEVELS = {RunStatus.FAILED: LogLevel.ERROR, RunStatus.PARTIAL: LogLevel.WARNING, RunStatus.CANCELLED: LogLevel.WARNING}


def _ended(run: Run, sight: RunSight) -> Line:
    level = _LEVELS.get(RunStatus(run.status), LogLevel.INFO)
    return Line("ended", run.finished_at or run.queued_at, LogEvent.ENDED, sight.text(following.outcome(run)), level)


def _of_step(run: Run, step: Step, sight: RunSight) -> Iterable[tuple[int, Line]]:
    """Each with its mark, ascending; the last one of a step that is over has ``_END``."""
    if step.kind == StepKind.WAIT:
        event, text = LogEvent.WAITING, sight.text(step.message) or "Waits."
        return [(_END, Line(f"{step.number}", step.started_at, event, text, LogLevel.WARNING, step.number))]
    lines = [(0, _began(step)), *_calls(step, sight)]
    if step.status not in STEP_OPEN:
        lines.append((_END, _over(step, sight)))
    elif not run.is_active:
        text = sight.text(step.message) or "How it ended was not recorded."
        at = run.finished_at or step.started_at
        lines.append((_END, Line(f"{step.number}.end", at, LogEvent.STEP_LEFT, text, LogLevel.WARNING, step.number)))
    return lines


def _began(step: Step) -> Line:
    """What it says never changes: how many rows were read or sent is told at its end."""
    text = {
        StepKind.QUERY: "Reads the warehouse.",
        StepKind.UPLOAD: "Sends a batch.",
        StepKind.FINISH: "Finishes.",
    }.get(StepKind(step.kind), "Began.")
    return Line(f"{step.number}", step.started_at, LogEvent.STEP_STARTED, text, step=step.number)


def _calls(step: Step, sight: RunSight) -> Iterator[tuple[int, Line]]:
    before: list[int] = []
    for one in step.attempts:
        number = int(one.get("number") or 0)
        same = min(before.count(number), _SAME - 1)
        before.append(number)
        yield number * _SAME + same + 1, _call(step, sight.attempt(one), number, same)


def _call(step: Step, one: Mapping[str, Any], number: int, same: int) -> Line:
    milliseconds = float(one.get("milliseconds") or 0.0)
    began = parse_datetime(str(one.get("started_at") or "")) or step.started_at
    status, signal, wait = one.get("http_status"), str(one.get("signal") or ""), one.get("wait_seconds")
    is_well = signal in ("", "ok") and (status is None or status < 400) and not wait
    said = [f"Call {number}: {_answer(status, signal)}."]
    said += [part for part in (one["message"], f"Waits {wait:g} s, then again." if wait else "") if part]
    return Line(
        f"{step.number}.{number}" + (f".{same + 1}" if same else ""),
        began + timedelta(milliseconds=milliseconds),
        LogEvent.ATTEMPT,
        " ".join(said),
        LogLevel.INFO if is_well else LogLevel.WARNING,
        step.number,
        number,
        status,
        str(one.get("request_id") or ""),
        milliseconds,
        one.get("row_count"),
    )


def _answer(status: int | None, signal: str) -> str:
    words = signal.replace("_", " ")
    if status is None:
        return words if words not in ("", "ok") else "done"
    return f"HTTP {status}" + (f", {words}" if words not in ("", "ok") else "")


_STEP_LEVELS: Mapping[str, LogLevel] = {
    StepStatus.FAILED: LogLevel.ERROR,
    StepStatus.PARTIAL: LogLevel.WARNING,
    StepStatus.INTERRUPTED: LogLevel.WARNING,
}


def _over(step: Step, sight: RunSight) -> Line:
    said: Sequence[str] = ()
    if step.kind == StepKind.UPLOAD:
        refused = f", {step.dead_lettered_count:,} dead-lettered" if step.dead_lettered_count else ""
        said = (f"{step.accepted_count:,} of {step.row_count:,} rows accepted{refused}.",)
    elif step.kind == StepKind.QUERY:
        said = (f"{step.row_count:,} rows read.",) if step.row_count else ()
    parts = (f"{step.get_status_display()}.", *said, sight.text(step.message))
    level = _STEP_LEVELS.get(step.status, LogLevel.INFO)
    at = step.finished_at or step.started_at
    text = " ".join(part for part in parts if part)
    return Line(f"{step.number}.end", at, LogEvent.STEP_ENDED, text, level, step.number, row_count=step.row_count)
