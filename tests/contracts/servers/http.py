"""Emulators of the classes A to H in which APIs answer, one behind each preset of the kind ``http``.

They follow the documented answers of the APIs that the preset names; no code or document of a vendor is copied.
"""

from __future__ import annotations

import copy
from typing import Any, ClassVar
from urllib.parse import unquote

from syncs.destinations import presets
from tests.contracts.harness import Change, HttpHarness
from tests.contracts.servers.base import TOKEN, ContractServer, fault_of
from tests.servers import Answer, Request


class _Server(ContractServer):
    def answer(self, request: Request) -> Answer:
        if request.path == "/me":
            return Answer.json({"name": "emulator"})
        return self.write(request)

    def write(self, request: Request) -> Answer:
        raise NotImplementedError


class Atomic(_Server):
    """A: one error for all, nothing written."""

    def write(self, request: Request) -> Answer:
        rows = request.json()["rows"]
        for row in rows:
            if fault := fault_of(row):
                return Answer.json({"ok": False, "error": fault.message}, 400)
        for row in rows:
            self.keep(row["external_id"], row)
        return Answer.json({"ok": True, "rows": rows})


class AtomicLocated(Atomic):
    """B: one error for all, with the lines that are to blame, counted from one."""

    def write(self, request: Request) -> Answer:
        rows = request.json()["rows"]
        faults = [f"Row {number}: {fault.message}" for number, row in enumerate(rows, 1) if (fault := fault_of(row))]
        return Answer.json({"ok": False, "error": faults[0], "errors": faults}, 400) if faults else super().write(request)


class Position(_Server):
    """C: one result per record, in order."""

    def write(self, request: Request) -> Answer:
        results: list[dict[str, Any]] = []
        for record in request.json()["records"]:
            if fault := fault_of(record):
                error = {"code": fault.kind.upper(), "message": fault.message, "fields": [fault.field]}
                results.append({"success": False, "errors": [error]})
            else:
                is_new = self.keep(record["external_id"], record)
                results.append({"id": f"id-{record['external_id']}", "success": True, "created": is_new})
        return Answer.json({"results": results})


class Correlation(_Server):
    """D: errors name records by an id of ours, in an order of their own."""

    def write(self, request: Request) -> Answer:
        results, errors, seen = [], [], set()
        for item in request.json()["inputs"]:
            assert item["id"] not in seen, "a key came twice in one batch"
            seen.add(item["id"])
            if fault := fault_of(item["properties"]):
                context = {"trace_id": [item["trace_id"]], "field": fault.field}
                errors.append({"category": fault.kind.upper(), "message": fault.message, "context": context})
            else:
                self.keep(item["id"], item["properties"])
                results.append({"id": f"id-{item['id']}"})
        return Answer.json({"results": results, "errors": errors[::-1]}, 207 if errors else 200)


class KeyLists(_Server):
    """E: counts, and lists of keys that failed."""

    lists: ClassVar = {"invalid": "invalidUserIds", "duplicate": "conflictUserIds", "required": "incompleteUserIds"}

    def is_known(self, request: Request) -> bool:
        return request.headers.get("api-key") == self.token

    def write(self, request: Request) -> Answer:
        failed: dict[str, list[str]] = {name: [] for name in self.lists.values()}
        users = request.json()["users"]
        for user in users:
            if fault := fault_of(user["dataFields"]):
                failed[self.lists[fault.kind]].append(user["userId"])
            else:
                self.keep(user["userId"], user["dataFields"])
        count = sum(map(len, failed.values()))
        return Answer.json({"successCount": len(users) - count, "failCount": count, "failedUpdates": failed})


class Index(_Server):
    """F: an error names an array and a place in it; 400 when every record is bad."""

    def write(self, request: Request) -> Answer:
        errors, items = [], request.json()["attributes"]
        for index, item in enumerate(items):
            if fault := fault_of(item):
                errors.append({"type": fault.message, "input_array": "attributes", "index": index})
            else:
                self.keep(item["external_id"], item)
        if len(errors) == len(items):
            return Answer.json({"message": "No valid objects", "errors": errors}, 400)
        return Answer.json({"message": "success", **({"errors": errors} if errors else {})}, 201)


class Jobs(_Server):
    """G: the batch becomes a job, which works for one look; its errors stand in two pages, in an order of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[str, dict[str, Any]] = {}

    def tells_of_a_write(self, request: Request) -> bool:
        return request.path.count("/") == 2

    def answer(self, request: Request) -> Answer:
        _, _, *parts = request.path.split("/")
        if request.method == "GET" and parts:
            job = self.jobs[parts[0]]
            return self._errors(request, job) if parts[1:] else self._look(job)
        return super().answer(request)

    def write(self, request: Request) -> Answer:
        job: dict[str, Any] = {"id": f"job-{len(self.jobs)}", "status": "queued"}
        self.jobs[job["id"]] = {**job, "rows": request.json()["rows"]}
        return Answer.json(job, 202)

    def _look(self, job: dict[str, Any]) -> Answer:
        if job["status"] == "processing":
            self._work(job)
        elif job["status"] == "queued":
            job["status"] = "processing"
        return Answer.json({name: value for name, value in job.items() if name not in ("rows", "errors")})

    def _work(self, job: dict[str, Any]) -> None:
        errors = []
        for row in job["rows"]:
            if fault := fault_of(row):
                told = {"code": fault.kind.upper(), "message": fault.message, "field": fault.field}
                errors.append({"external_id": row["external_id"], **told})
            else:
                self.keep(row["external_id"], row)
        job["errors"] = errors[::-1]
        job |= {"status": "complete", "failed_count": len(errors), "completed_count": len(job["rows"]) - len(errors)}

    def _errors(self, request: Request, job: dict[str, Any]) -> Answer:
        assert job["errors"], "nothing is read where nothing failed"
        if "page" in request.query:
            return Answer.json({"data": job["errors"][1:]})
        return Answer.json({"data": job["errors"][:1], "next": f"{request.path}?page=2"})


class OnePerCall(_Server):
    """H: the call says it."""

    def write(self, request: Request) -> Answer:
        key = unquote(request.path.rpartition("/")[2])
        if request.method == "DELETE":
            return Answer(204 if self.stored.pop(key, None) is not None else 404)
        assert request.headers["idempotency-key"]
        record = request.json()
        if fault := fault_of(record):
            error = {"code": fault.kind.upper(), "message": fault.message, "field": fault.field}
            return Answer.json({"errors": [error]}, 409 if fault.kind == "duplicate" else 422)
        return Answer.json({"id": f"id-{key}"}, 201 if self.keep(key, record) else 200)


def _without_last(name: str) -> Change:
    return lambda data: {**data, name: data[name][:-1]}


_SERVERS: dict[str, tuple[type[ContractServer], Change | None]] = {
    "A": (Atomic, _without_last("rows")),
    "B": (AtomicLocated, _without_last("rows")),
    "C": (Position, _without_last("results")),
    "D": (Correlation, _without_last("results")),
    "E": (KeyLists, lambda data: {**data, "successCount": data["successCount"] - 1}),
    "F": (Index, None),
    "G": (Jobs, lambda data: {**data, "completed_count": data["completed_count"] - 1} if "completed_count" in data else data),
    "H": (OnePerCall, lambda data: {}),
}


def _hurried(config: dict[str, Any], seconds: float) -> dict[str, Any]:
    return {**config, "limits": {**config["limits"], "deadline_seconds": seconds}}


def harness_of(preset: presets.Preset) -> HttpHarness:
    """The preset as it is shipped, with another address; a job is asked after without waiting."""
    name = next(iter(preset.config["objects"]))
    given: dict[str, Any] = copy.deepcopy(dict(preset.config))
    if job := given["objects"][name]["operations"]["upsert"].get("job"):
        job["poll"]["every_seconds"] = 0.01
    server, drop = _SERVERS[preset.answer_class]
    return HttpHarness(
        id=f"http-{preset.name}",
        kind="http",
        server=server,
        config=lambda url: {**given, "base_url": url},
        secrets={"api_key" if preset.answer_class == "E" else "token": TOKEN},
        object_name=name,
        drop=drop,
        hurried=_hurried,
    )


HARNESS = tuple(harness_of(preset) for preset in presets.shipped())
