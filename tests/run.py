"""The whole suite, once on each database; the last line adds both up in pytest's form. ``make test`` calls this.

python -m tests.run [--db sqlite|postgresql] [pytest arguments]
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import Counter

DATABASES = ("sqlite", "postgresql")
_SUMMARY = re.compile(r"^=* ?(?P<counts>\d+ [a-z]+(?:, \d+ [a-z]+)*) in [\d.]+s(?: \([\d:]+\))? ?=*$")
_COUNT = re.compile(r"(\d+) ([a-z]+)")
_ORDER = ("failed", "passed", "skipped", "deselected", "xfailed", "xpassed", "warnings", "errors")


def counts(line: str) -> Counter[str]:
    """What pytest's closing line says; empty for any other line."""
    match = _SUMMARY.match(line.strip())
    found: Counter[str] = Counter()
    for number, word in _COUNT.findall(match["counts"]) if match else ():
        found[{"error": "errors", "warning": "warnings"}.get(word, word)] += int(number)
    return found


def closing_line(total: Counter[str], seconds: float) -> str:
    parts = []
    for word in _ORDER:
        if total[word]:
            singular = word[:-1] if total[word] == 1 and word in ("errors", "warnings") else word
            parts.append(f"{total[word]} {singular}")
    text = f" {', '.join(parts) or 'no tests ran'} in {seconds:.2f}s "
    return text.center(80, "=")


def run(database: str, arguments: list[str]) -> tuple[int, Counter[str]]:
    """One pytest; its output passes through. Returns its exit code and its counts."""
    # One more than the cores of the usual machine: many tests wait for a process or a timer.
    workers = ["-n", os.environ.get("REDRIVE_TEST_WORKERS", "3"), "--dist", "worksteal"]
    command = [sys.executable, "-m", "pytest", "-q", "--color=no", *workers, *arguments]
    environment = {**os.environ, "REDRIVE_TEST_DB": database, "PYTHONUNBUFFERED": "1"}
    # Containers often forbid it. Without, each worker and each process that a test starts compiles everything anew.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.stdout.write(f"--- tests on {database}\n")
    sys.stdout.flush()
    found: Counter[str] = Counter()
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdout is not None
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            found = counts(line) or found
    return process.returncode, found


def main(arguments: list[str]) -> int:
    databases: tuple[str, ...] = DATABASES
    if arguments[:1] == ["--db"]:
        databases, arguments = (arguments[1],), arguments[2:]
    started = time.monotonic()
    total: Counter[str] = Counter()
    worst = 0
    for database in databases:
        code, found = run(database, arguments)
        total += found
        worst = worst or code
        if code and not found["failed"] and not found["errors"]:
            total["errors"] += 1  # pytest itself stopped: never a green line
    print(closing_line(total, time.monotonic() - started))
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
