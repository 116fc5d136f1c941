"""What each threshold of a sync means, in which bounds it lies, and what stands for it by default, in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from monitoring.choices import Condition
from monitoring.judging import timing
from monitoring.judging.facts import Facts, Level
from monitoring.services import policies

C = Condition


@dataclass(frozen=True, slots=True)
class Threshold:
    """``off``: what 0 means; "" where 0 is not allowed. ``places``: after the point."""

    name: str
    label: str
    unit: str
    meaning: str
    condition: Condition
    least: int = 0
    most: int = 100_000
    places: int = 0
    off: str = ""
    default: Callable[[Facts], str] | None = None  # in words, where it follows from the sync
    level: Level | None = Level.WARN  # that it leads to; None: it leads to none by itself


def _lateness(sync: Facts) -> str:
    limit = timing.lateness(sync, policies.defaults())
    return f"15 minutes, or a tenth of the time between two slots: {timing.span(limit)}" if limit else ""


def _freshness(sync: Facts) -> str:
    if sync.period_seconds is None:
        return "never: it has no schedule"
    return f"{timing.STALE_SLOTS} slots of its schedule, at most {timing.span(timedelta(seconds=3 * sync.period_seconds))}"


def _duration(sync: Facts) -> str:
    return "four times the usual of its own runs, and at least 10 minutes"


GROUPS: tuple[tuple[str, tuple[Threshold, ...]], ...] = (
    (
        "Runs",
        (
            Threshold("failures_to_fail", "Failed runs in a row", "runs", "So many make it failing; fewer make it degraded.",
                      C.RUN_FAILED, least=1, most=100, level=Level.FAIL),
            Threshold("good_runs_to_recover", "Good runs to recover", "runs",
                      "A better status is shown after so many good runs in a row. More keep a status from flapping.",
                      C.RECOVERY, least=1, most=100, level=None),
            Threshold("lateness_minutes", "Late after", "minutes", "From its slot until a run counts as late.", C.LATE,
                      most=525_600, off="never late", default=_lateness),
            Threshold("freshness_minutes", "Stale after", "minutes", "Since the last run that ended well.", C.FRESHNESS,
                      most=525_600, off="never stale", default=_freshness),
            Threshold("duration_minutes", "Slow after", "minutes", "That a run takes.", C.DURATION, most=525_600,
                      off="any duration is normal", default=_duration),
        ),
    ),
    (
        "Rows that are refused",
        (
            Threshold("window_hours", "Window of the error rate", "hours", "The newest run always counts.", C.ERROR_RATE,
                      least=1, most=720, level=None),
            Threshold("error_rate_warn_percent", "Error rate, degraded", "% of rows",
                      "Dead-lettered, of the rows that were to be written: accepted and dead-lettered. Fewer than 20 rows tell "
                      "nothing.", C.ERROR_RATE, most=100, places=3, off="no warning"),
            Threshold("error_rate_fail_percent", "Error rate, failing", "% of rows", "The same, for failing.", C.ERROR_RATE,
                      most=100, places=3, off="never failing by it", level=Level.FAIL),
            Threshold("error_budget_percent", "Error budget", "% of rows",
                      "Of the rows of 30 days, so many may be refused. The status follows it where it is set here.",
                      C.ERROR_BUDGET, most=100, places=3, off="no budget"),
            Threshold("dlq_depth_warn", "Open dead letters, degraded", "dead letters", "So many are open.", C.DLQ_DEPTH,
                      most=100_000_000, off="no warning"),
            Threshold("dlq_depth_fail", "Open dead letters, failing", "dead letters", "The same, for failing.", C.DLQ_DEPTH,
                      most=100_000_000, off="never failing by it", level=Level.FAIL),
            Threshold("dlq_age_hours", "Oldest dead letter", "hours", "That it has waited.", C.DLQ_AGE, most=87_600,
                      off="may wait for ever"),
        ),
    ),
    (
        "Rows that are read",
        (
            Threshold("zero_row_runs", "Runs that read nothing", "runs", "In a row, where there used to be rows.", C.ZERO_ROWS,
                      most=1_000, off="reading nothing is normal"),
            Threshold("volume_band_percent", "Volume band", "%",
                      "Rows read, away from the median of its own history at this time of the week.", C.VOLUME, most=10_000,
                      off="any volume is normal"),
        ),
    ),
)  # fmt: skip
THRESHOLDS = {one.name: one for _title, group in GROUPS for one in group}
