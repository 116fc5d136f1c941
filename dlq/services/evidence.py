"""What goes into an evidence bundle: of a run, a step, an error group or one dead letter. Bounded, whatever its size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.db.models import F, Q, QuerySet

from dlq.models import DLQEntry, ErrorGroup
from dlq.services.moves import ActRefusedError
from syncs.models import Run, Step, Sync
from syncs.services import access

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MAX_ENTRIES = 1_000
MAX_STEPS = 1_000
_CHUNK = 200
_PARAMETERS = ("run", "step", "group", "entry")


@dataclass(frozen=True, slots=True)
class Scope:
    """What the bundle is of. Exactly one of run, group and entry; ``step``: a number within the run."""

    run: Run | None = None
    step: Step | None = None
    group: ErrorGroup | None = None
    entry: DLQEntry | None = None

    @property
    def title(self) -> str:
        if self.step is not None and self.run is not None:
            return f"Step {self.step.number} of run {self.run.pk}"
        if self.run is not None:
            return f"Run {self.run.pk}"
        if self.group is not None:
            return f"Error group {self.group.pk}"
        return f"Dead letter {self.entry.pk}" if self.entry else ""

    @property
    def slug(self) -> str:
        return self.title.lower().replace(" of ", " ").replace(" ", "-")

    @property
    def sync(self) -> Sync:
        owner = self.run or self.group or self.entry
        assert owner is not None
        return owner.sync

    def parameters(self) -> dict[str, str]:
        """As address parameters, which ``parse`` reads back."""
        owners = (("run", self.run), ("group", self.group), ("entry", self.entry))
        found = {name: str(owner.pk) for name, owner in owners if owner is not None}
        return found if self.step is None else found | {"step": str(self.step.number)}


@dataclass(slots=True)
class Evidence:
    """``entry_total``, ``step_total``: how many there are; the bundle holds the first of them."""

    scope: Scope
    runs: list[Run] = field(default_factory=list)
    entry_total: int = 0
    step_total: int = 0
    entry_ids: list[int] = field(default_factory=list)
    step_ids: list[int] = field(default_factory=list)
    errors: list[tuple[str, int]] = field(default_factory=list)

    def entries(self) -> Iterable[DLQEntry]:
        """Oldest first, some at a time."""
        related = ("sync", "group", "version")
        for ids in _chunks(self.entry_ids):
            yield from DLQEntry.objects.filter(pk__in=ids).select_related(*related).order_by("pk")

    def steps(self) -> Iterable[Step]:
        for ids in _chunks(self.step_ids):
            yield from Step.objects.filter(pk__in=ids).order_by("run_id", "number")


def parse(given: Mapping[str, str], *, user: User) -> Scope:
    """Raises ``ActRefusedError`` for what is not there, or not theirs to see."""
    numbers = {}
    for name in _PARAMETERS:
        text = given.get(name, "")
        if not text:
            continue
        if not (text.isascii() and text.isdigit() and len(text) <= 18):
            raise ActRefusedError(f"“{text[:40]}” is no {name} number.", field=name)
        numbers[name] = int(text)
    owners = [name for name in ("run", "group", "entry") if name in numbers]
    if len(owners) != 1 or ("step" in numbers and owners != ["run"]):
        raise ActRefusedError("Evidence is of one run (or one of its steps), one error group or one dead letter.", field="run")
    name = owners[0]
    found: Any = {"run": Run.objects.select_related("sync__source", "sync__destination", "version"),
                  "group": ErrorGroup.objects.select_related("sync__source", "sync__destination"),
                  "entry": DLQEntry.objects.select_related("sync__source", "sync__destination", "group")}[name]  # fmt: skip
    owner = access.scoped(found.filter(pk=numbers[name]), user).first()
    if owner is None:
        raise ActRefusedError(f"There is no {_WORDS[name]} {numbers[name]} that you may see.", field=name)
    step = None
    if "step" in numbers:
        step = Step.objects.filter(run=owner, number=numbers["step"]).first()
        if step is None:
            raise ActRefusedError(f"Run {numbers['run']} has no step {numbers['step']}.", field="step")
    return Scope(step=step, **{name: owner})


_WORDS = {"run": "run", "group": "error group", "entry": "dead letter"}


def gather(scope: Scope) -> Evidence:
    """Ids and counts; texts are read as they are written."""
    chosen, result = _entries_of(scope), Evidence(scope)
    result.entry_ids = sorted(chosen.order_by("pk").values_list("pk", flat=True)[:MAX_ENTRIES])
    result.entry_total = len(result.entry_ids) if len(result.entry_ids) < MAX_ENTRIES else chosen.count()
    failed = list(DLQEntry.objects.filter(pk__in=result.entry_ids).values_list("run_id", "step_number", "group__title"))
    result.errors = Counter(title for _run, _step, title in failed).most_common(20)
    result.step_ids, result.step_total = _steps_of(scope, {(run, step) for run, step, _title in failed if step is not None})
    run_ids = {scope.run.pk} if scope.run else {run for run, _step, _title in failed}
    runs = Run.objects.filter(pk__in=sorted(run_ids)[-50:]).select_related("sync__source", "sync__destination", "version")
    result.runs = list(runs.order_by("pk"))
    return result


def _entries_of(scope: Scope) -> QuerySet[DLQEntry]:
    if scope.entry is not None:
        return DLQEntry.objects.filter(pk=scope.entry.pk)
    if scope.group is not None:
        return DLQEntry.objects.filter(group=scope.group)
    chosen = DLQEntry.objects.filter(run=scope.run)
    return chosen if scope.step is None else chosen.filter(step_number=scope.step.number)


def _steps_of(scope: Scope, failed: set[tuple[int, int]]) -> tuple[list[int], int]:
    """Those of a run with refused rows first; of a group or an entry, the steps that refused."""
    if scope.step is not None:
        return [scope.step.pk], 1
    if scope.run is not None:
        of_run = Step.objects.filter(run=scope.run)
        first = of_run.order_by(F("dead_lettered_count").desc(), "number").values_list("pk", "number")[:MAX_STEPS]
        return [pk for pk, _number in sorted(first, key=lambda pair: pair[1])], of_run.count()
    wanted = sorted(failed)[-MAX_STEPS:]
    found: list[int] = []
    for part in _chunks(wanted):
        match = Q()
        for run, number in part:
            match |= Q(run_id=run, number=number)
        found += Step.objects.filter(match).order_by("run_id", "number").values_list("pk", flat=True)
    return found, len(failed)


def _chunks(values: Sequence[Any]) -> Iterable[Sequence[Any]]:
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]
