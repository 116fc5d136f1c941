"""Jobs of the kind ``http`` by settings alone, over real HTTP: begun, asked after, read to the end, gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from syncs.destinations.http_api import validate
from syncs.errors import ErrorType
from syncs.records import Batch, BatchResult, Job, Record, Signal
from tests.contracts.http_tools import TOKEN, batch, destination, record, states
from tests.contracts.job_documents import import_errors, ingest, job_status
from tests.contracts.servers.jobs import ImportErrors, Ingest, JobServer, JobStatus
from tests.servers import Answer, Server

KINDS: dict[str, tuple[type[JobServer], Callable[[str], dict[str, Any]], str]] = {
    "status": (JobStatus, job_status, "users"),
    "errors": (ImportErrors, import_errors, "profiles"),
    "ingest": (Ingest, ingest, "Contact"),
}


class Case:
    def __init__(self, name: str) -> None:
        self.name = name
        made, self.document, self.object_name = KINDS[name]
        self.api = made(token=TOKEN)
        self.server = Server(self.api)

    def open(self, change: Callable[[dict[str, Any]], None] = lambda config: None) -> Any:
        self.api.base = self.server.url
        config = self.document(self.server.url)
        change(config["objects"][self.object_name]["operations"]["upsert"])
        return destination(config, object_name=self.object_name)


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    case = Case(request.param)
    with case.server:
        yield case


everywhere = pytest.mark.parametrize("case", KINDS, indirect=True)
status_only = pytest.mark.parametrize("case", ["status"], indirect=True)


def person(key: str, email: str | None = "", **values: Any) -> Record:
    return record(key, {"external_id": key, "email": f"{key}@ok.test" if email == "" else email, **values})


def people() -> list[Record]:
    return [person("a"), person("b", "bad"), person("c"), person("d", "dup@x.test"), person("e", None), person("f", name="Ü")]


def settled(opened: Any, sent: Batch, *, looks: int = 10) -> BatchResult:
    result = opened.write(sent)
    while result.signal is Signal.CONFIRMING and looks:
        job = Job(result.job.id, result.job.started_at, dict(result.job.data))  # as from another process
        looks, result = looks - 1, opened.confirm(sent, job)
    return result


@everywhere
def test_job_is_begun_asked_after_and_read_to_the_end(case):
    case.api.looks = 3
    opened = case.open()
    sent = batch(*people())
    begun = opened.write(sent)
    assert (begun.signal, list(begun.outcomes), begun.retry_after) == (Signal.CONFIRMING, [], 0.05)
    assert begun.exchange.http_status in (200, 202)
    assert case.api.stored == {}
    for _ in range(2):
        looked = opened.confirm(sent, begun.job)
        assert (looked.signal, looked.retry_after) == (Signal.CONFIRMING, 0.05)
        assert looked.exchange.request.startswith("GET ")
    result = opened.confirm(sent, begun.job)
    assert states(result) == ["written", "rejected", "written", "rejected", "rejected", "written"]
    assert [outcome.error.type for outcome in result.outcomes if outcome.error] == [
        ErrorType.VALIDATION,
        ErrorType.DUPLICATE_KEY,
        ErrorType.MISSING_REQUIRED,
    ]
    assert case.api.stored.keys() == {"a", "c", "f"}
    assert case.api.stored["f"]["name"] == "Ü"
    assert opened.capabilities.has_jobs


@everywhere
def test_job_that_is_gone_leaves_its_records_unknown(case):
    opened = case.open()
    sent = batch(*people())
    begun = opened.write(sent)
    case.api.forgets = True
    result = opened.confirm(sent, begun.job)
    assert (result.signal, set(states(result)), result.error.code) == (Signal.UNKNOWN, {"unknown"}, "job_gone")
    assert begun.job.id in result.error.message


@everywhere
@pytest.mark.parametrize(
    ("answer", "signal"),
    [
        (Answer.json({"error": "slow"}, 429, headers={"Retry-After": "7"}), Signal.RATE_LIMITED),
        (Answer.json({"error": "oops"}, 503), Signal.UNAVAILABLE),
        (Answer(200, {}, b"<html>proxy</html>"), Signal.UNAVAILABLE),
        (Answer(200, {}, b""), Signal.UNAVAILABLE),
        (Answer(200, {}, b"{}", fault="close"), Signal.UNAVAILABLE),
        (Answer.json({"error": "may not"}, 403), Signal.AUTH),
        (Answer.json({"error": "no such way"}, 400), Signal.CONFIG),
        (Answer.json({"state": "Dreaming"}), Signal.CONFIG),
    ],
    ids=["429", "503", "page", "empty", "closed", "403", "400", "state"],
)
def test_look_that_fails_says_nothing_of_the_records(case, answer, signal):
    opened = case.open()
    sent = batch(*people())
    begun = opened.write(sent)
    case.server.script(answer, answer)
    result = opened.confirm(sent, begun.job)
    assert result.signal is signal
    assert set(states(result)) <= {"not_attempted"}
    if signal is Signal.RATE_LIMITED:
        assert result.retry_after == 7
    assert opened.confirm(sent, begun.job).signal in (Signal.OK, signal)


@everywhere
def test_refused_beginning_is_read_as_any_refusal(case):
    opened = case.open()
    for answer, signal in (
        (Answer.json({"errors": []}, 401), Signal.AUTH),
        (Answer.json({}, 503), Signal.UNAVAILABLE),
        (Answer.json({"message": "first name is invalid"}, 400), Signal.REFUSED),
        (Answer.json({"unexpected": 1}), Signal.UNKNOWN),
    ):
        case.server.script(answer)
        assert opened.write(batch(*people())).signal is signal
    assert case.api.stored == {}


@status_only
def test_failed_job_is_unknown_unless_the_settings_say_that_nothing_was_written(case):
    case.api.ends_as = "failed"
    unknown = settled(case.open(), batch(*people()))
    assert (unknown.signal, unknown.error.code) == (Signal.UNKNOWN, "job_failed")
    assert "Completed" in unknown.error.message

    def change(upsert: dict[str, Any]) -> None:
        upsert["job"]["failed_means"] = "refused"
        upsert["locator"] = {"kind": "none"}

    opened = case.open(change)
    assert settled(opened, batch(*people())).signal is Signal.REFUSED
    single = settled(opened, batch(person("a")))
    assert (single.signal, states(single)) == (Signal.OK, ["rejected"])


@status_only
def test_results_that_do_not_fit_leave_the_silent_records_unknown(case):
    case.api.told = lambda index, user: {"status": "Updated"}
    opened = case.open()
    sent = batch(*people())
    begun = opened.write(sent)
    case.server.script(Answer.json({"job_status": {"status": "completed", "results": [{"status": "Updated"}]}}))
    assert set(states(opened.confirm(sent, begun.job))) == {"unknown"}


@status_only
@pytest.mark.parametrize("where", ["https://elsewhere.test/job", "//elsewhere.test/job", "job"])
def test_address_outside_the_api_is_not_followed(case, where):
    opened = case.open()
    sent = batch(*people())
    begun = opened.write(sent)
    result = opened.confirm(sent, Job(begun.job.id, begun.job.started_at, {"url": where}))
    assert (result.signal, result.error.code) == (Signal.CONFIG, "job_address")
    assert not any("elsewhere" in request.path for request in case.server.requests)


@status_only
def test_wait_that_an_answer_names_is_obeyed_and_none_named_is_left_to_the_engine(case):
    opened = case.open(lambda upsert: upsert["job"]["poll"].pop("every_seconds"))
    sent = batch(*people())
    begun = opened.write(sent)
    assert begun.retry_after is None
    case.server.script(Answer.json({"job_status": {"status": "working"}}, headers={"Retry-After": "17"}))
    assert opened.confirm(sent, begun.job).retry_after == 17


@status_only
def test_job_from_before_the_settings_knew_of_jobs_no_more_is_lost(case):
    sent = batch(*people())
    begun = case.open().write(sent)
    result = case.open(lambda upsert: upsert.pop("job")).confirm(sent, begun.job)
    assert (result.signal, set(states(result)), result.error.code) == (Signal.UNKNOWN, {"unknown"}, "job_gone")


@status_only
def test_refused_token_stops_the_asking(case):
    opened = case.open()
    sent = batch(*people())
    begun = opened.write(sent)
    case.api.revoke()
    assert opened.confirm(sent, begun.job).signal is Signal.AUTH


@status_only
def test_answer_of_another_status_is_no_job_and_read_at_once(case):
    opened = case.open(lambda upsert: upsert["job"].update(status=[202]))
    results = [{"status": "Created", "id": n} for n in range(6)]
    case.server.script(Answer.json({"job_status": {"results": results}}))
    assert set(states(opened.write(batch(*people())))) == {"written"}
    case.server.script(Answer.json({"job_status": {"id": "j", "url": f"{case.server.url}/j"}}, 202))
    assert opened.write(batch(*people())).signal is Signal.CONFIRMING


@status_only
def test_keys_that_come_twice_wait_for_another_job(case):
    opened = case.open(lambda upsert: upsert.update(unique_keys_in_batch=True, key_field="external_id"))
    result = settled(opened, batch(person("a"), person("A"), person("b", "bad")))
    assert states(result) == ["written", "not_attempted", "rejected"]


# -- lists read beside the job's own answer


@pytest.mark.parametrize("case", ["errors"], indirect=True)
@pytest.mark.parametrize("by_pointer", [False, True], ids=["key", "pointer"])
def test_paged_errors_are_read_to_the_end(case, by_pointer):
    case.document = lambda url: import_errors(url, by_pointer=by_pointer)
    opened = case.open()
    result = settled(opened, batch(*people()))
    assert states(result) == ["written", "rejected", "written", "rejected", "rejected", "written"]
    reads = [request for request in case.server.requests if request.path.endswith("import-errors")]
    assert [request.query for request in reads] == [{}, {"page[cursor]": ["2"]}]


@pytest.mark.parametrize("case", ["errors"], indirect=True)
def test_list_is_left_out_where_a_count_says_that_it_is_empty(case):
    result = settled(case.open(), batch(person("a"), person("b")))
    assert states(result) == ["written", "written"]
    assert not any(request.path.endswith("import-errors") for request in case.server.requests)


@pytest.mark.parametrize("case", ["errors"], indirect=True)
@pytest.mark.parametrize(
    ("answer", "signal"),
    [
        (Answer.json({"data": []}), None),
        (Answer.json({"data": {}}), Signal.CONFIG),
        (Answer.json({}, 410), Signal.UNKNOWN),
        (Answer.json({}, 500), Signal.UNAVAILABLE),
        (Answer.json({"data": [], "links": {"next": "https://elsewhere.test/"}}), Signal.CONFIG),
    ],
    ids=["fewer", "no list", "gone", "500", "elsewhere"],
)
def test_list_that_cannot_be_read_or_does_not_fit_never_counts_as_written(case, answer, signal):
    opened = case.open()
    sent = batch(*people())
    begun = opened.write(sent)
    case.server.script(Answer.json(case.api.status("job-1", "complete")), answer)
    result = opened.confirm(sent, begun.job)
    assert "written" not in states(result)
    assert result.signal is (signal or Signal.OK)


# -- create, upload, begin


@pytest.mark.parametrize("case", ["ingest"], indirect=True)
def test_upload_is_a_table_of_all_fields_and_results_come_in_any_order(case):
    opened = case.open()
    sent = batch(
        person("a", note='say "hi", twice\nor more', score=Decimal("1.50"), owner={"Key__c": 7}),
        person("b", None, vip=True),
        person("c", tags=["x", 1]),
    )
    result = settled(opened, sent)
    assert states(result) == ["written", "rejected", "written"]
    assert result.outcomes[0].destination_id == "003-a"
    assert result.outcomes[0].detail == "created"
    assert case.api.uploads[0].decode() == (
        "external_id,email,note,score,owner.Key__c,vip,tags\n"
        'a,a@ok.test,"say ""hi"", twice\nor more",1.50,7,,\n'
        "b,#N/A,,,,true,\n"
        'c,c@ok.test,,,,,"[""x"",1]"\n'
    )
    assert case.api.opened["750-1"]["externalIdFieldName"] == "external_id"


@pytest.mark.parametrize("case", ["ingest"], indirect=True)
def test_records_the_job_left_alone_are_sent_again(case):
    case.api.unprocessed = {"c", "d"}
    case.api.ends_as = "Aborted"
    result = settled(case.open(), batch(*people()))
    assert states(result) == ["written", "rejected", "not_attempted", "not_attempted", "rejected", "written"]


@pytest.mark.parametrize("case", ["ingest"], indirect=True)
@pytest.mark.parametrize(("status", "signal"), [(400, Signal.REFUSED), (503, Signal.UNAVAILABLE), (401, Signal.AUTH)])
def test_upload_that_fails_began_nothing(case, status, signal):
    case.api.refuses_upload = status
    result = case.open().write(batch(*people()))
    assert result.signal is signal
    assert set(states(result)) <= {"not_attempted", "retryable"}
    assert not any(request.method == "PATCH" for request in case.server.requests)


@pytest.mark.parametrize("case", ["ingest"], indirect=True)
@pytest.mark.parametrize(("number", "signal"), [(1, Signal.UNAVAILABLE), (2, Signal.UNKNOWN)])
def test_lost_answer_of_a_step_is_unknown_only_where_it_may_have_begun_the_job(case, number, signal):
    opened = case.open()
    answers = [Answer.json({"id": "750-9"}), Answer(201), Answer.json({})][:number]
    case.server.script(*answers, Answer(fault="close"), Answer(fault="close"))
    result = opened.write(batch(*people()))
    assert result.signal is signal


@pytest.mark.parametrize("case", ["ingest"], indirect=True)
@pytest.mark.parametrize("body", [b"<html></html>", b'{"a": 1}', b"a,b\n1,2,3\n", b'a,"b\n1'])
def test_table_that_is_none_is_asked_for_again(case, body):
    opened = case.open()
    sent = batch(*people())
    begun = opened.write(sent)
    case.server.script(Answer.json({"state": "JobComplete"}), Answer(200, {}, body))
    assert opened.confirm(sent, begun.job).signal is Signal.UNAVAILABLE


# -- settings


def test_settings_of_jobs_are_valid():
    for _, document, _ in KINDS.values():
        assert validate(document("https://api.example.com"), {"token": "t"}) == []


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(upsert: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        at: Any = upsert
        for name in parents:
            at = at[int(name)] if name.isdecimal() else at[name]
        if value is None:
            at.pop(last)
        else:
            at[last] = value

    return change


@pytest.mark.parametrize(
    ("path", "value", "field", "words"),
    [
        ("per_call", "record", "job", "per_call “batch”"),
        ("accepted_only", {}, "accepted_only", "take accepted_only out"),
        ("job.poll.path", "jobs/{job.id}", "job.poll.path", "slash"),
        ("job.poll.path", "/jobs/{job.name}", "job.poll.path", "{job.id}"),
        ("job.poll.path", "/jobs/{key}", "job.poll.path", "{job.id}"),
        ("job.poll.path", "/jobs/{job.id", "job.poll.path", "{job.id}"),
        ("job.poll.method", "PUT", "job.poll.method", "GET"),
        ("job.poll.every_seconds", 90_000, "job.poll.every_seconds", "between"),
        ("job.poll.every_seconds", 80_000, "job.poll.every_seconds", None),
        ("job.poll.at_most_seconds", 0, "job.poll.at_most_seconds", "between"),
        ("job.state", None, "job.state", "required"),
        ("job.state", "", "job.state", "Name the path"),
        ("job.done", [], "job.done", "states"),
        ("job.done", ["InProgress"], "job.done", "“InProgress” stands among working"),
        ("job.working", "InProgress", "job.working", None),
        ("job.id", "a..b", "job.id", "not a path"),
        ("job.id", "header:Location", "job.id", None),
        ("job.failed_means", "refusd", "job.failed_means", "Did you mean “refused”?"),
        ("job.reads.0.name", "two words", "job.reads[0].name", "one word"),
        ("job.reads.1.name", "written", "job.reads[1].name", "another list"),
        ("job.reads.0.items", "[x", "job.reads[0].items", "not a path"),
        ("job.reads.0.path", "", "job.reads[0].path", "slash"),
        ("job.steps.0.method", "SEND", "job.steps[0].method", "POST"),
        ("job.steps.0.body", {"kind": "none"}, "job", "carries the records"),
        ("job.steps.0.body", {"kind": "csv", "list_at": "x"}, "job.steps[0].body", "the list itself"),
        ("job.steps.1.body.null_text", "x", "job.steps[1].body.null_text", "csv"),
        ("job.steps.0.bodi", {}, "job.steps[0].bodi", "Did you mean “body”?"),
        ("record", {"properties_at": "p"}, "job.steps[0].body", "one column"),
        ("locator", {"kind": "position", "results": "written"}, "job.not_attempted", "by their key"),
        ("job.max_open", 0, "job.max_open", "between"),
        ("job.gone_statuss", 404, "job.gone_statuss", "gone_status"),
        ("job", None, "body.kind", "describe the job"),
    ],
)
def test_fault_in_the_settings_of_a_job_is_named_with_its_path(path, value, field, words):
    config = ingest("https://api.example.com")
    _set(path, value)(config["objects"]["Contact"]["operations"]["upsert"])
    issues = {
        issue.field.removeprefix("objects.Contact.operations.upsert."): issue.message
        for issue in validate(config, {"token": "t"})
    }
    if words is None:
        assert issues == {}
    else:
        assert words in issues[field], issues
