from __future__ import annotations

import threading

import pytest

from syncs.sources.faults import first_line, place, redacted
from syncs.sources.watchdog import Watchdog


@pytest.mark.parametrize(
    ("text", "secrets", "expected"),
    [
        ("login with p@ss:w failed", ["p@ss:w"], "login with ••• failed"),
        ("url p%40ss%3Aw here", ["p@ss:w"], "url ••• here"),
        ("postgresql://joe:hunter2@host/db", [], "postgresql://joe:•••@host/db"),
        ("connection string password=hunter2 host=x", [], "connection string password=••• host=x"),
        ("PWD='a b' x", [], "PWD=••• x"),
        ("table t has no column ab", ["ab"], "table t has no column •••"),
        ("tables abc", ["ab"], "tables abc"),
        ("nothing secret", [""], "nothing secret"),
    ],
)
def test_secrets_are_masked(text: str, secrets: list[str], expected: str) -> None:
    assert redacted(text, secrets) == expected


def test_first_line_is_one_short_sentence() -> None:
    assert first_line("ERROR:  boom\nLINE 1: select\nDETAIL: more") == "boom."
    assert first_line(ValueError("")) == "ValueError."
    assert first_line(ValueError(1064, "You have an error\nin it")) == "You have an error."
    assert len(first_line("x" * 9999)) == 500


@pytest.mark.parametrize(
    ("position", "expected"), [(1, "line 1, column 1"), (8, "line 2, column 1"), (10, "line 2, column 3"), (0, ""), (99, "")]
)
def test_place_counts_lines_and_columns(position: int, expected: str) -> None:
    assert place("select\n  nope", position) == expected


def test_the_watchdog_interrupts_a_long_step_and_only_that() -> None:
    interrupted = threading.Event()
    dog = Watchdog(0.05, interrupted.set)
    with dog.step():
        assert interrupted.wait(10)
    assert dog.is_expired
    interrupted.clear()
    with dog.step():
        assert interrupted.wait(10)  # it also watches the steps after
    dog.close()
    assert not dog._thread.is_alive()


def test_the_watchdog_leaves_short_steps_alone() -> None:
    interrupted = threading.Event()
    dog = Watchdog(60, interrupted.set)
    for _ in range(1000):
        with dog.step():
            pass
    dog.close()
    assert not interrupted.is_set()
    assert not dog.is_expired
