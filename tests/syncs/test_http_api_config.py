from __future__ import annotations

import copy
import dataclasses
import json
import re
import time
from pathlib import Path

import pytest

from syncs.destinations.http_api import FIELDS, build, objects, validate
from syncs.destinations.http_api import config as config_module
from syncs.destinations.http_api.patterns import pattern_issue, search
from syncs.errors import ConfigError
from syncs.records import Operation
from tests.contracts.http_emulators import CLASSES
from tests.contracts.http_tools import MemoryCredentials

GOOD = {
    "base_url": "https://api.example.com/v1",
    "auth": {"kind": "bearer"},
    "objects": {"contacts": {"operations": {"upsert": {"method": "PUT", "path": "/contacts/{key}"}}}},
}
SECRETS = {"token": "t"}


def changed(path: str, value, base=GOOD):
    """The settings with one value set, or taken out for ``...``."""
    config = copy.deepcopy(base)
    *parents, last = path.split(".")
    place = config
    for name in parents:
        place = place.setdefault(name, {})
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return config


UPSERT = "objects.contacts.operations.upsert"
BATCH = changed(UPSERT, {"path": "/batch", "per_call": "batch", "body": {"list_at": "rows"}})


def test_good_settings_have_no_issue():
    assert validate(GOOD, SECRETS) == []
    assert validate(BATCH, SECRETS) == []
    assert objects(GOOD) == ["contacts"]


@pytest.mark.parametrize("name", CLASSES)
def test_settings_of_every_class_have_no_issue(name):
    config = {"base_url": "https://api.example.com", "auth": {"kind": "none"}, **CLASSES[name].config}
    assert validate(config, {}) == []


@pytest.mark.parametrize(
    "path, value, where, says",
    [
        ("base_url", ..., "base_url", "required"),
        ("base_url", "ftp://x", "base_url", "https"),
        ("base_url", "https://u:p@x.com", "base_url", "user name"),
        ("base_url", "https://x.com?a=1", "base_url", "query"),
        ("base_url", 5, "base_url", "text"),
        ("basurl", "x", "basurl", "“base_url”"),
        ("objects", {}, "objects", "at least one"),
        ("objects", [], "objects", "braces"),
        ("auth.kind", "bearr", "auth.kind", "“bearer”"),
        ("auth.tokn", "x", "auth.tokn", "“token”"),
        ("auth", {"kind": "oauth2_refresh"}, "auth.token_url", "URL"),
        ("auth", {"kind": "session", "username": "u"}, "auth.login", "log in"),
        ("auth", {"kind": "basic"}, "auth.username", "required"),
        ("headers", {"X": 5}, "headers.X", "text"),
        ("limits", {"max_records": 0}, "limits.max_records", "between 1 and"),
        ("limits", {"max_records": "100"}, "limits.max_records", "whole number"),
        ("limits", {"max_records": True}, "limits.max_records", "whole number"),
        ("limits", {"deadline_seconds": 0}, "limits.deadline_seconds", "between"),
        ("wait", {"kind": "reset_epoch"}, "wait.header", "header"),
        ("wait", {"kind": "body_seconds"}, "wait.path", "path"),
        ("check", {"method": "POST"}, "check.method", "only reads"),
        ("check", {"path": "me"}, "check.path", "slash"),
        ("error_rules", [{"type": "validation"}], "error_rules[0]", "condition"),
        ("error_rules", [{"status": 400}], "error_rules[0]", "effect"),
        ("error_rules", [{"status": 400, "type": "duplicate"}], "error_rules[0].type", "“duplicate_key”"),
        ("error_rules", [{"text": "a(?=b)", "type": "validation"}], "error_rules[0].text", "Look-around"),
        ("error_rules", [{"text": "(", "type": "validation"}], "error_rules[0].text", "not a valid"),
        ("error_rules", [{"status": ["x"], "type": "validation"}], "error_rules[0].status[0]", "whole number"),
        ("defaults", {"pth": "x"}, "defaults.pth", "“path”"),
        (UPSERT, 5, UPSERT, "braces"),
        (f"{UPSERT}.path", ..., f"{UPSERT}.path", "slash"),
        (f"{UPSERT}.path", "/x/{", f"{UPSERT}.path", "placeholder"),
        (f"{UPSERT}.path", "/x/{found.id}", f"{UPSERT}.path", "lookup"),
        (f"{UPSERT}.method", "FETCH", f"{UPSERT}.method", "POST"),
        (f"{UPSERT}.metod", "POST", f"{UPSERT}.metod", "“method”"),
        (f"{UPSERT}.locator", {"kind": "position", "results": ""}, f"{UPSERT}.locator", "one record per call"),
        (f"{UPSERT}.body", {"list_at": "rows"}, f"{UPSERT}.body", "per_call"),
        (f"{UPSERT}.success", {"flag": {"equals": True}}, f"{UPSERT}.success.flag.path", "required"),
        (f"{UPSERT}.success", {"count": "a..b"}, f"{UPSERT}.success.count", "not a path"),
        (f"{UPSERT}.lookup", {"path": "/x", "take": {}, "if_missing": "insert"}, f"{UPSERT}.lookup.if_missing", "insert"),
        ("objects.contacts.operations.upsrt", {"path": "/x"}, "objects.contacts.operations.upsrt", "upsert"),
        ("objects.contacts.limits", {"max_recs": 1}, "objects.contacts.limits.max_recs", "“max_records”"),
        ("objects.contacts.fields", [{"nam": "x"}], "objects.contacts.fields[0].nam", "“name”"),
    ],
)
def test_bad_setting_is_named_with_its_path_and_the_way_out(path, value, where, says):
    issues = {issue.field: issue.message for issue in validate(changed(path, value), SECRETS)}
    assert where in issues, issues
    assert says in issues[where]


@pytest.mark.parametrize(
    "operation, where, says",
    [
        ({"success": {"status": [2000]}}, "success.status", "no HTTP status"),
        ({"success": {"status": [204], "flag": {"path": "ok"}}}, "success.status", "has no body, and success.flag"),
        ({"success": {"status": [204, 205], "present": ["id"]}}, "success.status", "success.present"),
        ({"success": {"status": 202}, "accepted_only": {"status": 202}}, "success.status", "accepted_only"),
        ({"success": {"flag": {"path": "ok", "equals": []}}}, "success.flag.equals", "any of none"),
        ({"success": {"flag": {"path": "a..b"}}}, "success.flag.path", "not a path"),
        ({"success": {"present": ["id"], "absent": ["id"]}}, "success.absent", "present and absent"),
        ({"success": {"flag": {"path": "ok"}, "absent": ["ok"]}}, "success.absent", "absent and equal"),
        ({"success": {"ignores_body": True, "present": ["id"]}}, "success.ignores_body", "success.present"),
        (
            {"per_call": "batch", "locator": {"kind": "position", "results": "", "ok": {"path": "ok", "equals": []}}},
            "locator.ok.equals",
            "any of none",
        ),
        (
            {"per_call": "batch", "success": {"status": 204}, "locator": {"kind": "position", "results": ""}},
            "success.status",
            "what the locator names",
        ),
    ],
)
def test_success_test_that_no_answer_can_pass_is_pointed_out(operation, where, says):
    path = "/batch" if "per_call" in operation else "/contacts/{key}"
    issues = {issue.field: issue.message for issue in validate(changed(UPSERT, {"path": path, **operation}), SECRETS)}
    assert says in issues[f"{UPSERT}.{where}"]


@pytest.mark.parametrize(
    "success",
    [
        {"status": [200, 204], "present": ["id"]},
        {"status": 204},
        {"flag": {"path": "error", "equals": False}, "absent": ["error"]},
        {"flag": {"path": "ok", "equals": [True, 1]}},
        {"status": [204], "ignores_body": True},
    ],
)
def test_success_test_that_an_answer_can_pass_is_taken(success):
    assert validate(changed(f"{UPSERT}.success", success), SECRETS) == []


@pytest.mark.parametrize(
    "locator, where",
    [
        ({"kind": "position"}, "results"),
        ({"kind": "index"}, "errors"),
        ({"kind": "index", "errors": "e", "pattern": "Row (\\d+)"}, "pattern"),
        ({"kind": "correlation"}, "errors"),
        ({"kind": "correlation", "errors": "e"}, "id"),
        ({"kind": "key", "errors": "e"}, "key"),
        ({"kind": "key_lists"}, "lists"),
        ({"kind": "key_lists", "lists": {"a[": {}}}, "lists"),
    ],
)
def test_unfinished_locator_is_refused(locator, where):
    issues = [issue.field for issue in validate(changed(f"{UPSERT}.locator", locator, BATCH), SECRETS)]
    assert f"{UPSERT}.locator.{where}" in issues


def test_several_faults_are_all_named_at_once():
    config = changed("limits", {"max_records": 0, "bogus": 1})
    assert {issue.field for issue in validate(config, SECRETS)} == {"limits.max_records", "limits.bogus"}


def test_batch_call_with_a_record_in_its_path_is_refused():
    issues = validate(changed(f"{UPSERT}.path", "/x/{key}", BATCH), SECRETS)
    assert "cannot name one of them" in issues[0].message


def test_missing_secret_is_named():
    assert [issue.field for issue in validate(GOOD, {})] == ["token"]
    oauth = changed("auth", {"kind": "oauth2_refresh", "token_url": "https://x.com/token"})
    assert [issue.field for issue in validate(oauth, {})] == ["client_id", "refresh_token"]


def test_defaults_stand_behind_every_operation():
    config = changed("defaults", {"per_call": "batch", "body": {"list_at": "items"}})
    config["objects"]["contacts"]["operations"] = {
        "upsert": {"path": "/a"},
        "delete": {"path": "/b/{key}", "per_call": "record", "body": {"kind": "none"}},
    }
    assert validate(config, SECRETS) == []


def test_defaults_fault_is_told_once():
    issues = validate(changed("defaults", {"bogus": 1}), SECRETS)
    assert [issue.field for issue in issues] == ["defaults.bogus"]


def test_capabilities_follow_the_settings():
    config = changed("limits", {"max_records": 500, "concurrency": 8, "requests_per_window": 100, "window_seconds": 10}, BATCH)
    config["objects"]["contacts"]["limits"] = {"max_records": 75}
    config["objects"]["contacts"]["operations"]["insert"] = {"path": "/i", "per_call": "batch"}
    made = build(config=config, credentials=MemoryCredentials(SECRETS), object_name="contacts", options={})
    found = made.capabilities
    assert (found.max_records, found.concurrency, found.requests_per_window, found.window_seconds) == (75, 8, 100, 10.0)
    assert found.operations == {Operation.UPSERT, Operation.INSERT}
    assert found.idempotent == {Operation.UPSERT}


def test_one_record_per_call_means_batches_of_one():
    made = build(config=GOOD, credentials=MemoryCredentials(SECRETS), object_name="contacts", options={})
    assert made.capabilities.max_records == 1


def test_declared_fields_are_told():
    config = changed("objects.contacts.fields", [{"name": "email", "is_required": True, "max_length": 80, "options": ["a"]}])
    made = build(config=config, credentials=MemoryCredentials(SECRETS), object_name="contacts", options={})
    (found,) = made.fields()
    assert (found.name, found.is_required, found.max_length, found.options) == ("email", True, 80, ("a",))
    assert build(config=GOOD, credentials=MemoryCredentials(SECRETS), object_name="contacts", options={}).fields() is None


def test_build_refuses_what_cannot_work_with_one_sentence():
    with pytest.raises(ConfigError, match="Known: contacts"):
        build(config=GOOD, credentials=MemoryCredentials(SECRETS), object_name="deals", options={})
    with pytest.raises(ConfigError, match=r"base_url: Is required\."):
        build(config=changed("base_url", ...), credentials=MemoryCredentials(SECRETS), object_name="contacts", options={})


@pytest.mark.parametrize("pattern", ["(", "x" * 400, r"a(?=b)", r"(a)\1", ".{0,900}x"])
def test_pattern_that_cannot_be_used_is_refused(pattern):
    assert pattern_issue(pattern)


@pytest.mark.parametrize("pattern", [r"(a+)+$", r"(ab|a|b)*e", "a?" * 60 + "a" * 60, r".*a.*a.*a.*x", r"(?:\w+\s?)+!"])
def test_pattern_that_would_run_for_hours_elsewhere_is_over_at_once(pattern):
    started = time.thread_time()
    search(pattern, "a" * 100_000)
    assert time.thread_time() - started < 0.5


@pytest.mark.parametrize(
    "pattern", [r"Row (?P<index>\d+)", r"failed: \w+\.(?P<field>\w+)", r"(foo|bar) .* baz", r"[a-z]{1,5}x+"]
)
def test_ordinary_pattern_is_taken(pattern):
    assert pattern_issue(pattern) == ""


# The page that explains it all

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "http-destination.md").read_text()
EXAMPLES = [json.loads(block) for block in re.findall(r"```json\n(\{.*?)```", PAGE, re.S)]
ALL_SECRETS = {item.name: "x" for item in FIELDS if item.is_secret}
KEYS = sorted(
    {
        field.name
        for kind in vars(config_module).values()
        if dataclasses.is_dataclass(kind) and isinstance(kind, type)
        for field in dataclasses.fields(kind)
    }
)


@pytest.mark.parametrize("config", EXAMPLES, ids=lambda config: config["base_url"])
def test_example_of_the_page_is_valid(config):
    assert validate(config, ALL_SECRETS) == []


def test_page_has_an_example_of_each_way_to_answer():
    assert len(EXAMPLES) == 11


@pytest.mark.parametrize("key", KEYS)
def test_key_is_explained_on_the_page(key):
    assert re.search(rf"[`\"]{key}[`\"]", PAGE), key
