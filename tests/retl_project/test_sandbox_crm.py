from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from retl_project.demo.crm_schema import AIRPORTS, COUNTRIES, leaves
from retl_project.demo.sandbox_crm import Budget
from retl_project.demo.setup import AIRPORT_MAPPING, COUNTRY_MAPPING
from tests.retl_project.crm import Crm, airport, country, sandbox_crm


@pytest.fixture(scope="module")
def shared() -> Iterator[Crm]:
    with sandbox_crm() as crm:
        assert crm.send("countries", [country("US")]).status_code == 200
        yield crm


@pytest.fixture
def fresh() -> Iterator[Crm]:
    with sandbox_crm() as crm:
        assert crm.send("countries", [country("US")]).status_code == 200
        yield crm


def errors_of(crm: Crm, record: dict) -> list[tuple[str, str]]:
    answer = crm.send("airports", [record])
    assert answer.status_code == 207
    (result,) = answer.json()["results"]
    assert result["status"] == "error"
    assert all(error["message"] for error in result["errors"])
    return [(error["code"], error["field"]) for error in result["errors"]]


def test_batch_with_refused_records_accounts_for_each(fresh: Crm):
    records = [airport("AAAA"), airport("bad!"), airport("BBBB", category="volcano"), airport("CCCC")]
    answer = fresh.send("airports", records)
    assert answer.status_code == 207
    body = answer.json()
    assert (body["accepted"], body["rejected"]) == (2, 2)
    assert [result["status"] for result in body["results"]] == ["created", "error", "error", "created"]
    assert [result["ref"] for result in body["results"]] == ["AAAA", "bad!", "BBBB", "CCCC"]
    assert body["results"][2]["errors"] == [
        {"code": "INVALID_OPTION", "field": "category", "message": "“volcano” is not an option of category."}
    ]
    assert sorted(fresh.records("airports")) == ["AAAA", "CCCC"]


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"name": "x" * 51}, "STRING_TOO_LONG", "name"),
        ({"name": "Gueppi\u00ad Airport"}, "INVALID_FORMAT", "name"),
        ({"name": 5}, "INVALID_TYPE", "name"),
        ({"name": ""}, "REQUIRED_FIELD_MISSING", "name"),
        ({"elevation_ft": 14965.0}, "NUMBER_OUT_OF_RANGE", "elevation_ft"),
        ({"elevation_ft": "9"}, "INVALID_TYPE", "elevation_ft"),
        ({"is_commercial": 1}, "INVALID_TYPE", "is_commercial"),
        ({"source_updated_at": "yesterday"}, "INVALID_TYPE", "source_updated_at"),
        ({"source_updated_at": "2026-01-01T00:00:00"}, "INVALID_TYPE", "source_updated_at"),
        ({"address": {"country": "US"}}, "REQUIRED_FIELD_MISSING", "address.city"),
        ({"address": {"city": "Pristina", "country": "XK"}}, "REFERENCE_NOT_FOUND", "address.country"),
        ({"security_zone": "military"}, "FIELD_NOT_WRITABLE", "security_zone"),
        ({"colour": "red"}, "UNKNOWN_FIELD", "colour"),
        ({"tags": "warehouse"}, "INVALID_TYPE", "tags"),
        ({"location": {"latitude": 91}}, "NUMBER_OUT_OF_RANGE", "location.latitude"),
    ],
)
def test_value_that_breaks_a_rule_is_refused_by_field(shared: Crm, change: dict, code: str, field: str):
    assert errors_of(shared, airport("RULE", **change)) == [(code, field)]


@pytest.mark.parametrize("record", [7, None, {}, {"properties": []}, {"ref": 1, "properties": "x"}])
def test_record_of_the_wrong_form_is_refused_alone(shared: Crm, record: object):
    answer = shared.send("airports", [record, airport("FORM")])  # type: ignore[list-item]
    wrong, good = (result["status"] for result in answer.json()["results"])
    assert wrong == "error"
    assert good in ("created", "unchanged")


def test_unique_value_is_refused_until_its_holder_gives_it_up(fresh: Crm):
    fresh.send("airports", [airport("AAAA", iata="ABC")])
    assert errors_of(fresh, airport("BBBB", iata="ABC")) == [("DUPLICATE_VALUE", "iata")]
    assert fresh.send("airports", [airport("AAAA", iata="XYZ")]).json()["results"][0]["status"] == "updated"
    assert fresh.send("airports", [airport("BBBB", iata="ABC")]).json()["results"][0]["status"] == "created"
    fresh.send("airports", [airport("BBBB")], operation="delete")
    assert fresh.send("airports", [airport("CCCC", iata="ABC")]).status_code == 200


def test_unique_value_twice_in_one_batch_lets_the_first_in(fresh: Crm):
    answer = fresh.send("airports", [airport("AAAA", label="Same"), airport("BBBB", label="same")])
    assert [result["status"] for result in answer.json()["results"]] == ["created", "error"]


def test_operations_keep_to_their_meaning(fresh: Crm):
    def status(operation: str) -> str:
        result = fresh.send("airports", [airport("AAAA")], operation=operation).json()["results"][0]
        return result["errors"][0]["code"] if result["status"] == "error" else result["status"]

    assert status("update") == "RECORD_NOT_FOUND"
    assert [status("insert"), status("insert")] == ["created", "DUPLICATE_VALUE"]
    assert status("upsert") == "unchanged"
    assert [status("delete"), status("delete")] == ["deleted", "unchanged"]


def test_properties_are_kept_digit_by_digit(fresh: Crm):
    body = (
        b'{"records":[{"properties":{"code":"AAAA","name":"B\\u00edldudalur","label":"x","category":"airport",'
        b'"address":{"city":"B","country":"US"},"location":{"latitude":38.700000,"longitude":-0.10}}}]}'
    )
    assert fresh.post("/api/objects/airports/batch/upsert", body).status_code == 200
    assert '"location":{"latitude":38.700000,"longitude":-0.10}' in fresh.get("/api/objects/airports/records/AAAA").text
    assert fresh.records("airports")["AAAA"]["name"] == "Bíldudalur"


def test_same_idempotency_key_gives_the_stored_answer_and_writes_nothing(fresh: Crm):
    first = fresh.send("airports", [airport("AAAA"), airport("bad!")], key="k1")
    again = fresh.send("airports", [airport("AAAA"), airport("bad!")], key="k1")
    assert (again.status_code, again.content) == (first.status_code, first.content) == (207, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    receipts = [receipt for receipt in fresh.receipts() if receipt["object"] == "airports"]
    assert [(r["key"], r["idempotency_key"], r["is_replay"]) for r in receipts] == [("AAAA", "k1", False), ("AAAA", "k1", True)]


def test_idempotency_key_with_another_body_is_refused(fresh: Crm):
    fresh.send("airports", [airport("AAAA")], key="k1")
    answer = fresh.send("airports", [airport("BBBB")], key="k1")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert sorted(fresh.records("airports")) == ["AAAA"]


def test_refusal_is_not_remembered_so_that_a_repaired_world_is_seen(fresh: Crm):
    lost = airport("AAAA", address={"city": "Berlin", "country": "DE"})
    assert fresh.send("airports", [lost], key="k1").status_code == 207
    fresh.send("countries", [country("DE", region="Europe")])
    assert fresh.send("airports", [lost], key="k1").json()["results"][0]["status"] == "created"


def test_budget_of_calls_answers_429_with_a_wait_and_renews():
    now = [100.0]
    budget = Budget(2, 5.0, clock=lambda: now[0])
    assert [budget.take(), budget.take(), budget.take()] == [0.0, 0.0, 5.0]
    now[0] = 103.5
    assert budget.take() == 1.5
    now[0] = 105.0
    assert budget.take() == 0.0


def test_call_over_the_budget_names_the_seconds_to_wait():
    with sandbox_crm("--budget", "1/3600") as crm:
        assert crm.send("countries", [country("US")]).status_code == 200
        answer = crm.send("countries", [country("DE")])
        assert answer.status_code == 429
        assert 3500 < int(answer.headers["Retry-After"]) <= 3600
        assert list(crm.records("countries")) == ["US"]


def test_each_nth_write_is_unavailable_and_does_nothing():
    with sandbox_crm("--unavailable-every", "3") as crm:
        codes = ["US", "DE", "FR", "IT", "ES", "PT"]
        assert [crm.send("countries", [country(code)]).status_code for code in codes] == [200, 200, 503, 200, 200, 503]
        assert sorted(crm.records("countries")) == ["DE", "ES", "IT", "US"]


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Bearer sandbox-tokén", "Basic sandbox-token", "sandbox-token"])
def test_call_without_the_token_is_refused(shared: Crm, header: str | None):
    value = header.encode() if header else None
    answer = shared.session.post(
        f"{shared.address}/api/objects/airports/batch/upsert", data=b"{}", headers={"Authorization": value}, timeout=5
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "INVALID_TOKEN")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"records"',
        b'{"records": {}}',
        b'{"records": []}',
        b'{"records":[' + b"[" * 5000,
        b'{"records":[{"properties":{"name":"\\ud800"}}]}',
        b'{"records":[{"properties":{"elevation_ft":NaN}}]}',
        b'{"records": [' + b",".join([b"{}"] * 101) + b"]}",
        b"\xff\xfe",
    ],
)
def test_body_that_cannot_be_read_is_refused_whole(shared: Crm, body: bytes):
    answer = shared.post("/api/objects/airports/batch/upsert", body)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/api/objects/planes/batch/upsert", "/api/objects/airports/batch/merge", "/api", "//x"])
def test_unknown_address_is_not_found(shared: Crm, path: str):
    assert shared.post(path, b'{"records":[{}]}').status_code == 404


def test_body_over_the_limit_is_refused_unread(shared: Crm):
    answer = shared.post("/api/objects/airports/batch/upsert", b" " * 2_000_001)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "BODY_TOO_LARGE")


def test_page_from_another_host_name_is_refused(shared: Crm):
    assert shared.get("/admin", headers={"Host": "rebound.example"}).status_code == 421


def test_describe_tells_objects_and_fields(shared: Crm):
    assert [item["name"] for item in shared.get("/api/objects").json()["objects"]] == ["countries", "airports"]
    fields = {field["name"]: field for field in shared.get("/api/objects/airports").json()["fields"]}
    assert fields["address.country"]["reference"] == "countries"
    assert fields["code"]["required"] is fields["code"]["unique"] is True
    assert fields["security_zone"]["writable"] is False


def test_pages_escape_hostile_values_and_hold_no_script(fresh: Crm):
    hostile = '<script>alert(1)</script>" onclick="x'
    fresh.send("airports", [airport("AAAA", label=hostile)], key="<img src=x onerror=alert(1)>")
    for path in ("/admin", "/admin/records?object=airports", f"/admin/records?q={hostile}", "/admin/receipts"):
        answer = fresh.get(path, headers={"Accept": "text/html"})
        assert answer.status_code == 200
        assert "<script" not in answer.text
        assert "<img" not in answer.text
        assert '" onclick' not in answer.text
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "&lt;script&gt;" in fresh.get("/admin/records?object=airports", headers={"Accept": "text/html"}).text


def test_records_are_found_by_text_and_paged_by_key(fresh: Crm):
    fresh.send("airports", [airport(f"AAA{n}", label=f"Label {n}") for n in range(6)])
    page = fresh.get("/admin/records?object=airports&limit=2&after=AAA1").json()["records"]
    assert [record["key"] for record in page] == ["AAA2", "AAA3"]
    found = fresh.get("/admin/records?object=airports&q=label%205").json()["records"]
    assert [record["key"] for record in found] == ["AAA5"]


def test_killed_process_keeps_what_it_accepted(tmp_path):
    state = tmp_path / "crm.sqlite3"
    with sandbox_crm(state=state) as crm:
        first = crm.send("countries", [country("US")], key="k1")
        crm.process.send_signal(signal.SIGKILL)
        crm.process.wait(10)
    with sandbox_crm(state=state) as crm:
        assert list(crm.records("countries")) == ["US"]
        again = crm.send("countries", [country("US")], key="k1")
        assert (again.content, again.headers["Idempotent-Replayed"]) == (first.content, "true")


def test_process_ends_with_its_starter():
    with sandbox_crm() as crm:
        assert crm.process.stdin is not None
        crm.process.stdin.close()
        assert crm.process.wait(10) == 0


def test_taken_port_is_said_in_a_sentence():
    import subprocess
    import sys

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "retl_project.demo.sandbox_crm", "--port", port]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert f"cannot listen on port {port}" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(("mapping", "item"), [(AIRPORT_MAPPING, AIRPORTS), (COUNTRY_MAPPING, COUNTRIES)])
def test_demo_mapping_fills_fields_the_crm_has(mapping, item):
    names = {field.name for field in item.fields}
    assert {field["destination_field"].removesuffix("[]") for field in mapping} <= names


def test_leaves_names_nested_values_by_dots():
    assert dict(leaves({"a": {"b": {"c": 1}}, "d": [1], "e": {}})) == {"a.b.c": 1, "d": [1]}


def test_json_numbers_leave_as_they_came():
    from retl_project.demo.crm_store import dumps, loads

    assert dumps(loads('{"a":1.10,"b":[0.000001,12]}')) == b'{"a":1.10,"b":[0.000001,12]}'
    with pytest.raises(ValueError):
        loads(json.dumps(float("nan")))


def change(crm: Crm, **form: str) -> int:
    return crm.session.post(f"{crm.address}/admin/fields", data=form, timeout=10, allow_redirects=False).status_code


def test_a_field_that_the_administrator_adds_is_demanded_and_described(tmp_path: Path):
    state = tmp_path / "crm.sqlite3"
    with sandbox_crm(state=state) as crm:
        added = {
            "object": "countries",
            "act": "add",
            "name": "tier",
            "required": "1",
            "max_length": "9",
            "options": "gold, tin",
        }
        assert change(crm, **added) == 303
        assert change(crm, **added) == 400
    with sandbox_crm(state=state) as crm:  # it outlives the process
        (result,) = crm.send("countries", [country("US")]).json()["results"]
        assert [(error["code"], error["field"]) for error in result["errors"]] == [("REQUIRED_FIELD_MISSING", "tier")]
        assert crm.send("countries", [country("US", tier="gold")]).status_code == 200
        told = {field["name"]: field for field in crm.get("/api/objects/countries").json()["fields"]}
        assert (told["tier"]["required"], told["tier"]["max_length"], told["tier"]["options"]) == (True, 9, ["gold", "tin"])
        assert [name for name, field in told.items() if field["key"]] == ["code"]
        assert change(crm, object="countries", act="relax", name="tier") == 303
        assert crm.send("countries", [country("FR")]).status_code == 200
        assert change(crm, object="countries", act="remove", name="tier") == 303
        (result,) = crm.send("countries", [country("DE", tier="gold")]).json()["results"]
        assert result["errors"][0]["code"] == "UNKNOWN_FIELD"


@pytest.mark.parametrize(
    "form",
    [
        {"act": "add", "name": "Bad Name"}, {"act": "add", "name": "a.b.c"}, {"act": "add", "name": "x", "type": "blob"},
        {"act": "add", "name": "x", "max_length": "-1"}, {"act": "add", "name": "name.first"},
        {"act": "remove", "name": "code"}, {"act": "require", "name": "nope"}, {"act": "", "name": "name"},
    ],
)  # fmt: skip
def test_fields_are_not_changed_by_nonsense(shared: Crm, form: dict[str, str]):
    before = shared.get("/api/objects/countries").text
    assert change(shared, object="countries", **form) == 400
    assert shared.get("/api/objects/countries").text == before


def test_another_sites_page_cannot_change_the_fields(shared: Crm):
    form = {"object": "countries", "act": "remove", "name": "region"}
    for origin in ("https://evil.example", "null"):
        answer = requests.post(f"{shared.address}/admin/fields", data=form, headers={"Origin": origin}, timeout=10)
        assert answer.status_code == 401
    page = requests.get(f"{shared.address}/admin/fields?object=countries", headers={"Accept": "text/html"}, timeout=10)
    assert "Make required" in page.text
    assert "region" in page.text
