"""32 clients on one served installation: ``python -m tests.api.storm``. They start runs, act on the same dead letters, edit the
same things, repeat their posts and page through everything, while a worker runs the syncs.

It fails on a 5xx, on an act that was done twice, on an edit that was lost, on a page that shows something twice or leaves out
what did not move, and on counts that do not agree afterwards.
"""

from __future__ import annotations

import argparse
import base64
import os
import random
import statistics
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import django
import requests

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "retl_project.settings")
django.setup()  # the loopback server of the fault tests stands beside models

from tests.api.fuzz import _answers, _free_port  # noqa: E402
from tests.api.storm_world import OPERATION, ROWS  # noqa: E402
from tests.faults.api import Api  # noqa: E402
from tests.installation import Installation, Started, until  # noqa: E402

CLIENTS, SYNCS, SHARED = 32, 4, 4
KEY = base64.urlsafe_b64encode(b"storm-storm-storm-storm-storm-st").decode()
PRODUCTION = {
    "DEBUG": "0", "SECRET_KEY": "storm" * 12, "RETL_ENCRYPTION_KEYS": KEY,
    "ALLOWED_HOSTS": "127.0.0.1", "SECURE_SSL_REDIRECT": "0", "RETL_ALLOWED_PRIVATE_NETWORKS": "127.0.0.0/8",
    "RETL_API_REQUESTS_PER_MINUTE": "1000000", "LOG_LEVEL": "ERROR",
}  # fmt: skip
BAD = {number: {"code": "refused", "message": "not this one", "field": "name"} for number in range(1, ROWS, 6)}


class Storm:
    def __init__(self, kind: str, seconds: float, seed: int) -> None:
        self.seconds, self.seed = seconds, seed
        self.api = Api()
        self.api.bad = dict(BAD)
        self.api.server.__enter__()
        self.redrive = Installation(kind, **PRODUCTION)
        call = f"storm_world.make({self.api.server.url!r}, {SYNCS}, {CLIENTS + SHARED})"
        world = self.redrive.json(f"from tests.api import storm_world\nprint(json.dumps({call}))")
        self.syncs, self.tags, self.keys = world["syncs"], world["tags"], world["keys"]
        self.base = f"http://127.0.0.1:{_free_port()}"
        self.server = self._serve()
        self.worker = self.redrive.start("retl_worker", "--workers", "2")
        self.worker.wait_for("started", 60)
        self.lock = threading.Lock()
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.times: dict[str, list[float]] = defaultdict(list)
        self.problems: list[str] = []
        self.done: Counter[str] = Counter()
        self.edits: Counter[tuple[str, int]] = Counter()
        self.once: dict[str, set[Any]] = defaultdict(set)
        self.entries: list[int] = []

    def _serve(self) -> Started:
        command = [sys.executable, "-m", "gunicorn", "retl_project.wsgi", "--workers", "2", "--threads", "8"]
        command += ["--bind", self.base.removeprefix("http://"), "--timeout", "60", "--log-level", "error"]
        started = Started(command, self.redrive.environment, self.redrive.folder / "server.log")
        self.redrive._started.append(started)
        try:
            until(lambda: _answers(f"{self.base}/api/v1/tags"), 60, "the server")
        except AssertionError:
            print(started.text[-3000:])
            raise
        return started

    def begin(self) -> None:
        """A run of each sync, so that there are dead letters to fight over."""
        client = Client(self, 0)
        for sync in self.syncs:
            run = client.post("run", f"/syncs/{sync}/runs", {}).json()["id"]
            until(lambda run=run: not client.get("run", f"/runs/{run}").json()["is_active"], 60, f"run {run}")
        found = client.get("page", "/dead-letters", {"status": "any", "limit": 500}).json()["data"]
        self.entries = [row["id"] for row in found]
        assert len(self.entries) == SYNCS * len(BAD), len(self.entries)

    def rage(self) -> None:
        end = time.monotonic() + self.seconds
        threads = [threading.Thread(target=Client(self, number).live, args=(end,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def settle(self) -> None:
        """Until no operation and no run is under way any more."""
        client = Client(self, 0)

        def is_quiet() -> bool:
            active = {"status": ["queued", "running"], "limit": 1}
            return not any(client.get("run", path, active).json()["data"] for path in ("/operations", "/runs"))

        until(is_quiet, 300, "the end of the runs")

    def judge(self) -> dict[str, Any]:
        found: dict[str, Any] = self.redrive.json("from tests.api import storm_world\nprint(json.dumps(storm_world.verdict()))")
        for name in ("wrong", "doubled", "unbalanced"):
            self.problems += [f"{name}: {one}" for one in found[name]]
        if found["recounted"]:
            self.problems.append(f"{found['recounted']} counts of error groups did not agree")
        history = found["events"]
        for act, event in (("discard", "discarded"), ("reopen", "reopened"), ("reprocess", "queued"), ("note", "noted")):
            if self.done[act] != history.get(event, 0):
                self.problems.append(f"{act}: {self.done[act]} were answered, {history.get(event, 0)} are in the history")
        for (what, pk), count in self.edits.items():
            text = found["syncs"][str(pk)] if what == "sync" else found["tags"][str(pk)].rpartition("-")[2]
            if text != str(count):
                self.problems.append(f"{what} {pk}: {count} edits were taken, and it stands at {text}")
        self.problems += [f"{key} made {sorted(made)}" for key, made in self.once.items() if len(made) > 1]
        keys: dict[tuple[int, str], set[str]] = defaultdict(set)
        for receipt in self.api.receipts:
            keys[receipt.id, receipt.body].add(receipt.key)
        return found

    def close(self) -> None:
        self.redrive.close()
        self.api.server.__exit__()


class Client:
    def __init__(self, storm: Storm, number: int) -> None:
        self.storm, self.number = storm, number
        self.dice = random.Random(storm.seed * 1_000 + number)
        self.session = requests.Session()
        # A few share a key: repeats of one caller meet each other.
        self.key = storm.keys[CLIENTS + number % SHARED] if number < 2 * SHARED else storm.keys[number]
        self.session.headers["Authorization"] = f"Bearer {self.key}"

    def live(self, end: float) -> None:
        acts: list[tuple[int, Callable[[], None]]] = [
            (2, self.run_sync), (8, self.act), (4, self.page), (3, self.edit_tag), (3, self.edit_sync), (3, self.repeat),
            (1, self.operate), (3, self.look),
        ]  # fmt: skip
        weights, works = [weight for weight, _ in acts], [work for _, work in acts]
        while time.monotonic() < end:
            try:
                self.dice.choices(works, weights)[0]()
            except Exception as error:
                with self.storm.lock:
                    self.storm.problems.append(f"client {self.number}: {type(error).__name__}: {error}")

    # --- calls

    def _call(self, what: str, method: str, path: str, **about: Any) -> requests.Response:
        begun = time.perf_counter()
        answer = self.session.request(method, f"{self.storm.base}/api/v1{path}", timeout=60, **about)
        with self.storm.lock:
            self.storm.times[what].append(time.perf_counter() - begun)
            self.storm.statuses[what, answer.status_code] += 1
            if answer.status_code >= 500:
                self.storm.problems.append(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer

    def get(self, what: str, path: str, query: Any = None) -> requests.Response:
        return self._call(what, "GET", path, params=query)

    def post(self, what: str, path: str, body: Any, **headers: str) -> requests.Response:
        return self._call(what, "POST", path, json=body, headers=headers)

    # --- what they do

    def run_sync(self) -> None:
        """Half of them twice under one key: the second is the first."""
        sync, key = self.dice.choice(self.storm.syncs), f"run-{self.number}-{self.dice.random()}"
        body = {"full": self.dice.random() < 0.3}
        for _ in range(self.dice.choice((1, 2))):
            answer = self.post("run", f"/syncs/{sync}/runs", body, **{"Idempotency-Key": key})
            if answer.status_code == 202:
                self.note_once(key, answer.json()["id"])

    def act(self) -> None:
        """On few of them, so that they collide."""
        entry = self.dice.choice(self.storm.entries[:: max(1, len(self.storm.entries) // 25)])
        act, body = self.dice.choice([("discard", {"reason": "storm"}), ("reopen", {}), ("reprocess", {}), ("note", {})])
        if act == "note":
            etag = self.get("look", f"/dead-letters/{entry}").headers["ETag"]
            note = {"note": f"{self.number} {self.dice.random()}"}
            answer = self._call(act, "PUT", f"/dead-letters/{entry}/note", json=note, headers={"If-Match": etag})
        else:
            answer = self.post(act, f"/dead-letters/{entry}/{act}", body)
        if answer.status_code in (200, 202):
            with self.storm.lock:
                self.storm.done[act] += 1
        elif answer.status_code not in (409, 412):
            raise AssertionError(f"{act}: {answer.status_code} {answer.text[:200]}")

    def page(self) -> None:
        """All of them: none twice, and none left out of those that did not move meanwhile."""
        before = self._all_moments()
        seen: list[int] = []
        query: dict[str, Any] = {"status": "any", "limit": 30}
        while True:
            answer = self.get("page", "/dead-letters", query).json()
            seen += [row["id"] for row in answer["data"]]
            if answer["meta"]["page"]["next"] is None:
                break
            query["cursor"] = answer["meta"]["page"]["next"]
        after = self._all_moments()
        stayed = {pk for pk, moment in before.items() if after.get(pk) == moment}
        if len(seen) != len(set(seen)):
            raise AssertionError(f"a walk through the pages showed {len(seen) - len(set(seen))} twice")
        if stayed - set(seen):
            raise AssertionError(f"a walk through the pages left out {sorted(stayed - set(seen))}")

    def _all_moments(self) -> dict[int, str]:
        rows = self.get("page", "/dead-letters", {"status": "any", "limit": 500, "fields": "id,last_failed_at"}).json()["data"]
        return {row["id"]: row["last_failed_at"] for row in rows}

    def edit_tag(self) -> None:
        tag = self.dice.choice(self.storm.tags)
        read = self.get("edit", f"/tags/{tag}")
        head, _, count = read.json()["name"].rpartition("-")
        self._edit("tag", tag, f"/tags/{tag}", {"name": f"{head}-{int(count) + 1}"}, read.headers["ETag"])

    def edit_sync(self) -> None:
        sync = self.dice.choice(self.storm.syncs)
        read = self.get("edit", f"/syncs/{sync}")
        body = {"description": str(int(read.json()["description"]) + 1)}
        self._edit("sync", sync, f"/syncs/{sync}", body, read.headers["ETag"])

    def _edit(self, what: str, pk: int, path: str, body: Any, etag: str) -> None:
        answer = self._call("edit", "PATCH", path, json=body, headers={"If-Match": etag})
        if answer.status_code == 200:
            with self.storm.lock:
                self.storm.edits[what, pk] += 1
        elif answer.status_code != 412:
            raise AssertionError(f"PATCH {path}: {answer.status_code} {answer.text[:200]}")

    def repeat(self) -> None:
        """Those who share a key post the same at the same time, under the same Idempotency-Key."""
        slot = int(time.time() * 2)
        key = f"slot-{slot}"
        answer = self.post("repeat", "/tags", {"name": f"slot-{slot}-{self.key[3:9]}"}, **{"Idempotency-Key": key})
        if answer.status_code == 201:
            self.note_once(f"{self.key[:15]} {key}", answer.json()["id"])
        elif answer.status_code != 409:
            raise AssertionError(f"POST /tags: {answer.status_code} {answer.text[:200]}")

    def operate(self) -> None:
        """One plan, confirmed twice: one operation."""
        sync = self.dice.choice(self.storm.syncs)
        plan = self.post("operate", "/operations/plan", {"kind": "reprocess", "filter": {"sync": [sync]}, "look": False})
        if plan.status_code != 200 or not plan.json()["count"]:
            return
        body = {"confirm": plan.json()["confirm"], "reason": OPERATION, "acknowledged": True, "mode": "current"}
        made = [self.post("operate", "/operations", body) for _ in range(2)]
        ids = {answer.json()["id"] for answer in made if answer.status_code == 202}
        if len(ids) > 1:
            raise AssertionError(f"one confirmation began the operations {ids}")

    def look(self) -> None:
        one = self.dice.choice(self.storm.entries)
        paths = ("/runs", "/syncs", "/error-groups", "/stats/dead-letters", "/operations", f"/dead-letters/{one}")
        self.get("look", self.dice.choice(paths))

    def note_once(self, key: str, made: Any) -> None:
        with self.storm.lock:
            self.storm.once[key].add(made)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="postgresql")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    asked = parser.parse_args()
    storm = Storm(asked.database, asked.seconds, asked.seed)
    try:
        storm.begin()
        storm.rage()
        storm.settle()
        found = storm.judge()
        report(storm, found, asked)
        if storm.problems:
            print(storm.server.text[-3000:])
    finally:
        storm.close()
    return int(bool(storm.problems))


def report(storm: Storm, found: dict[str, Any], asked: argparse.Namespace) -> None:
    total = sum(storm.statuses.values())
    print(f"{CLIENTS} clients, {asked.seconds:.0f} s on {asked.database}, seed {asked.seed}: {total:,} requests")
    for what in sorted(storm.times):
        times = sorted(storm.times[what])
        codes = {code: count for (name, code), count in sorted(storm.statuses.items()) if name == what}
        median, p95 = statistics.median(times) * 1000, times[int(len(times) * 0.95)] * 1000
        print(f"  {what:<10} {len(times):>7,}  median {median:.0f} ms, p95 {p95:.0f} ms  {codes}")
    print(f"  runs {found['runs']}; events {found['events']}")
    print(f"  edits {sum(storm.edits.values()):,}; rows sent {len(storm.api.receipts):,}")
    for problem, count in Counter(problem[:160] for problem in storm.problems).most_common(20):
        print(f"PROBLEM ({count}): {problem}")
    print("FAILED" if storm.problems else "passed: no 5xx, no act done twice, no edit lost")


if __name__ == "__main__":
    sys.exit(main())
