"""Batches that used up their attempts while nothing else got through: either one row of each is the cause, or the destination
is gone. Later answers tell which."""

from __future__ import annotations

from syncs.engine.sending import Sending
from syncs.errors import ErrorType, RedriveError, TransientError
from syncs.records import BatchResult

_NEVER = float("-inf")


class Parked:
    """``most``: so many of them open the breaker. Times are monotonic seconds."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._batches: list[tuple[Sending, BatchResult]] = []

    def __len__(self) -> int:
        return len(self._batches)

    def add(self, sending: Sending, result: BatchResult) -> None:
        self._batches.append((sending, result))

    @property
    def is_full(self) -> bool:
        return len(self._batches) >= self._most

    def can_be_taken_apart(self, *, is_last: bool, last_success: float) -> bool:
        """Once something succeeded after them, or when nothing else is left to tell (``is_last``) and the destination took
        anything at all in this run, or all their rows are dead letters already."""
        if last_success > max(sending.first_failed_at or 0.0 for sending, _ in self._batches):
            return True
        are_known = all(record.had_entry for sending, _ in self._batches for record in sending.records)
        return is_last and (are_known or last_success > _NEVER)

    def take(self) -> list[tuple[Sending, BatchResult]]:
        taken, self._batches = self._batches, []
        return taken

    def rest(self) -> list[Sending]:
        return [sending for sending, _ in self._batches]

    def error(self) -> RedriveError:
        """Why the run stops: the destination is gone."""
        result = self._batches[-1][1]
        reason = result.error.message if result.error else "no answer"
        text = (
            f"The destination kept failing ({reason}): {len(self._batches)} batches in a row used up their attempts, so the "
            f"run stopped. Its remaining rows stay pending; the next run sends them."
        )
        error_type = result.error.type if result.error else ErrorType.DESTINATION_UNAVAILABLE
        return TransientError(text, code="breaker", error_type=error_type)
