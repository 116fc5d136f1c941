"""The limits that conditions compare with, and their defaults: forms, checks and documentation follow from these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True)
class Limits:
    """Named like the columns of ``SyncPolicy`` and the keys of ``AlertRule.limits``. Percentages are of rows."""

    window_hours: int = 24
    error_rate_warn_percent: float = 1.0
    error_rate_fail_percent: float = 20.0
    error_budget_percent: float = 0.5
    failures_to_fail: int = 1
    good_runs_to_recover: int = 1
    freshness_minutes: int | None = None  # None: three slots of the schedule; without one never
    lateness_minutes: int | None = None  # None: 15 minutes, or a tenth of the time between two slots where that is more
    zero_row_runs: int = 2
    volume_band_percent: int = 60
    duration_minutes: int | None = None  # None: four times the median of its own history, and at least ten minutes
    dlq_depth_warn: int = 1
    dlq_depth_fail: int = 0
    dlq_age_hours: int = 168
    credential_days: int = 14  # before the known end of a credential; of the installation, RETL["CREDENTIAL_WARNING_DAYS"]

    def but(self, values: Mapping[str, Any]) -> Limits:
        """With those of ``values`` that are named here and not None."""
        known = {one.name for one in fields(self)}
        chosen = {name: _number(value) for name, value in values.items() if name in known and value is not None}
        return replace(self, **chosen)


DEFAULTS = Limits()


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value
