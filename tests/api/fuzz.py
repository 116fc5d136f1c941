"""schemathesis over the whole document, against a real server on a throwaway installation: ``python -m tests.api.fuzz``.

For each role a key of its own: every operation, with examples, edge cases and random input, valid and not, then sequences of
calls that feed each other (``stateful``). It fails on any 5xx, any status, type, header or body that the document does not
name, on invalid input that is taken, and on what can be had without a key.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.installation import ROOT, Installation, Started, until

CONFIG = Path(__file__).with_name("schemathesis.toml")
ROLES = ("anonymous", "viewer", "support", "operator", "admin")
PHASES = "examples,coverage,fuzzing,stateful"
# What is valid by the document alone may be refused for what the database holds: a cursor, a foreign id, a state.
LEFT_OUT = "positive_data_acceptance"
# These would end the very key that asks; they are tried with a key that nothing else needs.
ENDS_KEYS = "^(keys|service_accounts)_(delete|revoke|rotate)"


@dataclass(frozen=True)
class Outcome:
    role: str
    code: int
    report: str
    statuses: Counter[int]


class Api:
    """A served installation with a world in it, and a key for each role."""

    def __init__(self, kind: str) -> None:
        self.redrive = Installation(kind, RETL_API_REQUESTS_PER_MINUTE="1000000", LOG_LEVEL="ERROR")
        self.keys: dict[str, list[str]] = self.redrive.json(
            "from tests.api import fuzz_world\nprint(json.dumps(fuzz_world.make()))"
        )
        self.document = self.redrive.folder / "openapi.json"
        done = self.redrive.manage("spectacular", "--format", "openapi-json", "--file", str(self.document))
        assert done.returncode == 0, done.stderr
        self.base = f"http://127.0.0.1:{_free_port()}"
        self.server = self._serve()

    def _serve(self) -> Started:
        command = [sys.executable, "-m", "gunicorn", "retl_project.wsgi", "--workers", "2", "--threads", "4"]
        command += [
            "--bind",
            self.base.removeprefix("http://"),
            "--timeout",
            "60",
            "--log-level",
            "error",
            "--limit-request-line",
            "0",
        ]
        started = Started(command, self.redrive.environment, self.redrive.folder / "server.log")
        self.redrive._started.append(started)
        until(lambda: _answers(f"{self.base}/api/v1/tags"), 30, "the server")
        return started

    def run(self, role: str, *, examples: int, phases: str, seed: int | None, seconds: int | None, only: str = "") -> Outcome:
        report = self.redrive.folder / f"{role}-{time.monotonic_ns()}"
        command = [
            sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run", str(self.document),
            "--url", self.base,
            "--phases", phases, "--max-examples", str(examples), "--exclude-checks", LEFT_OUT, "--continue-on-failure",
            "--workers", "1", "--no-color", "--no-shrink", "--warnings", "off", "--output-truncate", "true",
            "--suppress-health-check", "all", "--report", "ndjson", "--report-ndjson-path", str(report),
        ]  # fmt: skip
        command += ["--generation-deterministic"] if seed is None else ["--seed", str(seed), "--generation-database", "none"]
        command += ["--max-time", str(seconds)] if seconds else []
        command += ["--include-operation-id-regex", only] if only else ["--exclude-operation-id-regex", ENDS_KEYS]
        if role != "anonymous":
            key = self.keys[role][1 if only else 0]
            command += ["--header", f"Authorization: Bearer {key}"]
        environment = {**self.redrive.environment, "SCHEMATHESIS_HOOKS": "tests.api.fuzz_hooks", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=self.redrive.folder, env=environment, capture_output=True, text=True, check=False)
        text = done.stdout + done.stderr
        code = done.returncode or int("Traceback" in done.stderr)  # a phase that broke off is no failure to schemathesis
        return Outcome(role, code, text, _statuses(report))

    def still_good(self, role: str) -> bool:
        """The key that asked all along was not ended by what it asked."""
        if role == "anonymous":
            return True
        request = urllib.request.Request(f"{self.base}/api/v1/tags", headers={"Authorization": f"Bearer {self.keys[role][0]}"})
        return bool(urllib.request.urlopen(request, timeout=10).status == 200)

    def close(self) -> None:
        self.redrive.close()


def _statuses(report: Path) -> Counter[int]:
    found: Counter[int] = Counter()
    if not report.exists():
        return found
    for line in report.read_text().splitlines():
        for code in _codes(json.loads(line)):
            found[code] += 1
    return found


def _codes(value: object) -> list[int]:
    found: list[int] = []
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if isinstance(one.get("status_code"), int):
                found.append(one["status_code"])
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return found


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=2)
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--examples", type=int, default=25)
    parser.add_argument("--phases", default=PHASES)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3)))
    parser.add_argument("--seconds", type=int, help="time for each role")
    parser.add_argument("--only", default="", help="a pattern of operation ids")
    parser.add_argument("--roles", default=",".join(ROLES))
    asked = parser.parse_args()
    api, failed = Api(asked.database), False
    try:
        for role in asked.roles.split(","):
            begun = time.monotonic()
            found = api.run(
                role, examples=asked.examples, phases=asked.phases, seed=asked.seed, seconds=asked.seconds, only=asked.only
            )
            is_bad = found.code != 0 or not api.still_good(role)
            failed |= is_bad
            word, seconds = "FAILED" if is_bad else "passed", time.monotonic() - begun
            print(f"{role}: {word} in {seconds:.0f} s, seed {asked.seed}; {dict(found.statuses)}")
            print(found.report if is_bad else found.report[-1200:])
            if is_bad:
                print(api.server.text[-3000:])
    finally:
        api.close()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
