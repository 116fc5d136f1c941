"""The OpenAPI document: whole, small, and right by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from retl_project import api_document
from syncs.rest import examples
from syncs.rest.headings import HEADINGS
from syncs.rest.shapes import Shape, StrictText
from tests.api.kit import Caller, caller, person

DOCUMENT = "/api/v1/openapi.json"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(api_document.made().body)
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def test_names_are_unique_and_every_heading_is_described(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, operation in operations(document)]
    assert sorted(set(ids)) == sorted(ids)
    used = {tag for _, operation in operations(document) for tag in operation["tags"]}
    assert used == set(HEADINGS)
    assert [tag["name"] for tag in document["tags"]] == list(HEADINGS)
    assert document["servers"] == [{"url": "/", "description": "This installation"}]


def test_every_operation_has_examples_that_its_schema_takes(document: dict[str, Any]) -> None:
    wrong = []
    for name, operation in operations(document):
        assert operation["summary"], name
        bodies = [operation.get("requestBody", {})]
        bodies += [answer for status, answer in operation["responses"].items() if status.startswith("2")]
        for about in (body.get("content", {}).get("application/json") for body in bodies):
            if about is None:
                continue
            assert about["examples"], name
            checker = jsonschema.Draft202012Validator({**about["schema"], "components": document["components"]})
            for one in about["examples"].values():
                found = checker.iter_errors(one["value"])
                wrong += [f"{name}: {list(error.path)}: {error.message[:200]}" for error in found]
    assert wrong == []


def test_errors_are_said_once_and_have_a_body(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        errors = {int(status): answer for status, answer in operation["responses"].items() if not status.startswith("2")}
        if not operation["operationId"].startswith("triggers_call"):
            assert {400, 401, 403, 429} <= set(errors) or "triggers/{public_id}" in name, name
        for answer in errors.values():
            found = document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
            assert found["content"]["application/json"]["examples"], name


def test_what_is_made_leads_to_what_reads_changes_and_deletes_it(document: dict[str, Any]) -> None:
    links = document["paths"]["/api/v1/tags"]["post"]["responses"]["201"]["links"]
    assert set(links) == {"tags_get", "tags_update", "tags_delete"}
    assert links["tags_get"]["parameters"] == {"id": "$response.body#/id"}
    listed = document["paths"]["/api/v1/tags"]["get"]["responses"]["200"]["links"]
    assert listed["tags_get"]["parameters"] == {"id": "$response.body#/data/0/id"}
    ids = {operation["operationId"] for _, operation in operations(document)}
    for name, operation in operations(document):
        for answer in operation["responses"].values():
            assert set(answer.get("links", {})) <= ids, name


def test_schema_that_refers_to_itself_has_an_example() -> None:
    itself = {"oneOf": [{"$ref": "#/components/schemas/T"}, {"type": "null"}]}
    tree = {"type": "object", "required": ["next"], "properties": {"next": itself}}
    assert examples.made(tree, {"schemas": {"T": tree}}, is_sent=True)["next"]["next"]


@pytest.mark.django_db
def test_document_is_for_who_is_known_and_is_not_sent_twice() -> None:
    assert caller(None).get(DOCUMENT).status_code == 401
    answer = caller("viewer").get(DOCUMENT)
    assert answer.status_code == 200
    assert caller("viewer").get(DOCUMENT, headers={"If-None-Match": answer["ETag"]}).status_code == 304


@pytest.mark.django_db
def test_reference_is_for_who_is_signed_in() -> None:
    client = Caller()
    assert client.get("/api/docs")["Location"] == "/admin/login/?next=/api/docs"
    client.force_login(person("viewer"))
    answer = client.get("/api/docs")
    assert answer.status_code == 200
    assert b"swagger-ui-bundle.js" in answer.content
    assert answer["Content-Security-Policy"].count("unsafe") == 0


class _LineShape(Shape):
    name = StrictText()
    note = StrictText(required=False)


class _WholeShape(Shape):
    head = _LineShape(required=False)
    lines = _LineShape(many=True, required=False)


def test_edit_of_a_part_takes_part_of_an_object_but_whole_items() -> None:
    assert _WholeShape(data={"head": {"note": "x"}}, partial=True).is_valid()
    edit = _WholeShape(data={"lines": [{"name": "x"}, {"note": "x"}]}, partial=True)
    assert not edit.is_valid()
    assert edit.errors["lines"][1] == {"name": ["This field is required."]}
