"""The runner behind ``make test``: its closing line must tell the truth."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.run import closing_line, counts


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("= 3 failed, 120 passed, 2 skipped in 12.34s =", {"failed": 3, "passed": 120, "skipped": 2}),
        ("1 passed, 1 error in 0.10s", {"passed": 1, "errors": 1}),
        ("900 passed, 1 warning in 301.20s (0:05:01)", {"passed": 900, "warnings": 1}),
        ("SKIPPED [1] tests/x.py:3: 2 passed in review", {}),
        ("PASSED", {}),
    ],
)
def test_closing_line_of_pytest_is_understood(line: str, found: dict[str, int]):
    assert counts(line) == Counter(found)


def test_closing_line_adds_up_in_pytests_form():
    total = counts("1 failed, 10 passed in 1.00s") + counts("12 passed, 1 skipped, 1 error in 2.00s")
    assert closing_line(total, 3.456).strip("= ") == "1 failed, 22 passed, 1 skipped, 1 error in 3.46s"
    assert counts(closing_line(total, 3.456)) == total
