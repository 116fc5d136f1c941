"""What is wrong with the description of a job, beyond the form of its single keys."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from syncs.connectors import Issue
from syncs.destinations.http_api import paths
from syncs.destinations.http_api.config import LocatorKind, OperationConfig, PerCall
from syncs.destinations.http_api.job_config import JobConfig
from syncs.destinations.http_api.parts import Body, BodyKind
from syncs.destinations.http_api.placeholders import PLACEHOLDER

CARRIES = (BodyKind.JSON, BodyKind.CSV)


def is_carried(operation: OperationConfig) -> bool:
    """Whether some call of the operation carries the records."""
    steps = operation.job.steps if operation.job else ()
    return any(body.kind in CARRIES for body in (operation.body, *(step.body for step in steps)))


def job_issues(operation: OperationConfig, path: str, *, methods: tuple[str, ...]) -> Iterator[Issue]:
    """``path``: of the operation."""
    yield from _body_issues(operation.body, operation, f"{path}.body")
    job = operation.job
    if job is None:
        if operation.body.kind is BodyKind.CONSTANTS:
            yield Issue(f"{path}.body.kind", "“constants” leaves the records to a step of a job; describe the job.")
        return
    if operation.per_call is not PerCall.BATCH:
        yield Issue(f"{path}.job", "A job takes several records. Use per_call “batch”.")
    if operation.accepted_only is not None:
        yield Issue(f"{path}.accepted_only", "The job says what became of the records; take accepted_only out.")
    yield from _call_issues(operation, job, f"{path}.job", methods)
    yield from _state_issues(job, f"{path}.job")
    yield from _read_issues(operation, job, f"{path}.job")


def _body_issues(body: Body, operation: OperationConfig, path: str) -> Iterator[Issue]:
    if body.kind is not BodyKind.CSV:
        if body.null_text:
            yield Issue(f"{path}.null_text", "Is for bodies of kind “csv”.")
        return
    if operation.per_call is not PerCall.BATCH:
        yield Issue(f"{path}.kind", "“csv” carries several records. Use per_call “batch”.")
    if body.list_at or body.constants:
        yield Issue(path, "“csv” is the list itself; take list_at and constants out.")
    if operation.record.properties_at or operation.record.value_of:
        yield Issue(path, "“csv” has one column for each field; take record.properties_at and record.value_of out.")


def _call_issues(operation: OperationConfig, job: JobConfig, path: str, methods: tuple[str, ...]) -> Iterator[Issue]:
    known = {"id", *job.take}
    yield from _path_issues(job.poll.path, f"{path}.poll.path", known)
    if job.poll.method not in ("GET", "POST"):
        yield Issue(f"{path}.poll.method", "Use GET, or POST where the API asks for it.")
    every = job.poll.every_seconds
    if every is not None and every > job.poll.at_most_seconds:
        yield Issue(f"{path}.poll.every_seconds", "Is longer than at_most_seconds, so the job would be asked after too late.")
    for number, step in enumerate(job.steps):
        where = f"{path}.steps[{number}]"
        yield from _path_issues(step.path, f"{where}.path", known)
        yield from _body_issues(step.body, operation, f"{where}.body")
        if step.method not in methods:
            yield Issue(f"{where}.method", f"Use one of {', '.join(methods)}.")
    if not is_carried(operation):
        yield Issue(path, "No call carries the records. Give the first call or one of the steps a body of kind json or csv.")


def _path_issues(path: str, where: str, known: set[str]) -> Iterator[Issue]:
    names = PLACEHOLDER.findall(path)
    unknown = [name for name in names if not name.startswith("options.") and name.removeprefix("job.") not in known]
    unknown += [name for name in names if not name.startswith(("job.", "options.")) and name in known]
    if "{" in PLACEHOLDER.sub("", path) or unknown:
        listed = ", ".join(f"{{job.{name}}}" for name in sorted(known))
        yield Issue(where, f"May hold {listed} and {{options.name}}; what else a path needs is named in job.take.")
    alone = PLACEHOLDER.fullmatch(path)
    if not path.startswith("/") and not (alone and alone[1].startswith("job.")):
        yield Issue(where, "Must begin with a slash; it is added to base_url. Or it is one value alone, such as {job.url}.")


def _state_issues(job: JobConfig, path: str) -> Iterator[Issue]:
    if not job.state:
        yield Issue(f"{path}.state", "Name the path at which the answer says how far the job is.")
    if not job.done:
        yield Issue(f"{path}.done", "Name the states in which the results can be read.")
    lists = {"working": job.working, "done": job.done, "failed": job.failed}
    for (first, one), (second, other) in combinations(lists.items(), 2):
        if both := sorted(set(one) & set(other)):
            yield Issue(f"{path}.{second}", f"“{both[0]}” stands among {first} too; a state means one thing.")


def _read_issues(operation: OperationConfig, job: JobConfig, path: str) -> Iterator[Issue]:
    known = {"id", *job.take}
    names = [read.name for read in job.reads]
    for number, read in enumerate(job.reads):
        where = f"{path}.reads[{number}]"
        yield from _path_issues(read.path, f"{where}.path", known)
        if not read.name.isidentifier():
            yield Issue(f"{where}.name", "Give the list one word as its name; the locator finds it by that.")
        if names.index(read.name) != number:
            yield Issue(f"{where}.name", f"“{read.name}” is the name of another list already.")
        yield from _expressions({f"{where}.{name}": getattr(read, name) for name in ("items", "next", "unless_zero")})
    left = job.not_attempted
    if left is not None and operation.locator.kind not in (LocatorKind.KEY, LocatorKind.KEY_LISTS):
        yield Issue(f"{path}.not_attempted", "Finds records by their key, so the locator must be “key” or “key_lists”.")
    taken = {"id": job.id, **{f"take.{name}": where for name, where in job.take.items()}}
    yield from _expressions(
        {f"{path}.{name}": where for name, where in taken.items() if not where.startswith("header:")}
        | {f"{path}.state": job.state}
        | ({f"{path}.not_attempted.results": left.results, f"{path}.not_attempted.key": left.key} if left else {})
        | {f"{path}.error.{name}": item for name in ("code", "message", "field") for item in getattr(job.error, name)}
    )


def _expressions(named: dict[str, str]) -> Iterator[Issue]:
    for where, path in named.items():
        try:
            paths.parse(path)
        except ValueError:
            yield Issue(where, f"“{path[:80]}” is not a path. Write it like errors[].context.id.")
