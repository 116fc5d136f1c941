"""What makes the OpenAPI document whole, after every operation has been described: errors and headers said once, an example for
every operation, and links from what an operation answers to the operations that take it."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from syncs.rest import examples
from syncs.rest.shapes import Shape

Found = dict[str, Any]
_METHODS = ("get", "post", "put", "patch", "delete")
_JSON, _PART = "application/json", "Patched"
_INHERITED = inspect.getdoc(Shape)
_NAMES = {
    400: "Invalid", 401: "Unauthenticated", 403: "Forbidden", 404: "NotFound", 409: "Refused", 412: "Changed", 413: "TooLarge",
    415: "UnsupportedMediaType", 422: "KeyReused", 428: "MatchRequired", 429: "TooManyRequests",
}  # fmt: skip
_ONLY_NUMBER = re.compile(r"^(?P<base>.*)/\{(?P<name>\w+)\}(?P<rest>(?:/[a-z][a-z-]*)*)$")


def whole(result: Found, **_: Any) -> Found:
    """A postprocessing hook: the last one."""
    for schema in result["components"]["schemas"].values():
        if schema.get("description") == _INHERITED:
            del schema["description"]  # of the class that all shapes derive from: it says nothing about this one
    _part(result["components"]["schemas"])
    for operation in _operations(result):
        examples.fill(operation, result["components"])
    _link(result)
    _say_once(result)
    return result


def _operations(result: Found) -> Iterator[Found]:
    for item in result["paths"].values():
        for method in _METHODS:
            if method in item:
                yield item[method]


# --- edits of a part


def _part(schemas: Found) -> None:
    """Of what an edit gives only a part of, an object within may be given in part as well; an item of a list may not."""
    waiting = [name for name in schemas if name.startswith(_PART)]
    while waiting:
        for about in schemas[waiting.pop()].get("properties", {}).values():
            for one in (about, *about.get("allOf", ()), *about.get("oneOf", ())):
                name = one.get("$ref", "").rpartition("/")[2]
                if not name or name.startswith(_PART) or not schemas[name].get("required"):
                    continue
                if _PART + name not in schemas:
                    schemas[_PART + name] = {key: value for key, value in deepcopy(schemas[name]).items() if key != "required"}
                    waiting.append(_PART + name)
                one["$ref"] = f"#/components/schemas/{_PART}{name}"


# --- links


def _link(result: Found) -> None:
    """``POST /tags``, which gives an id, and ``GET /tags``, which gives some, lead to what takes one, ``/tags/{id}``."""
    takers = [(found, item) for path, item in result["paths"].items() if (found := _ONLY_NUMBER.match(path))]
    for path, item in result["paths"].items():
        for found, target in takers:
            if found["base"] != path:
                continue
            for method, pointer in (("post", "id"), ("get", "data/0/id")):
                if method in item and _answers_with(item[method], pointer, result):
                    _add(item[method], target, found, f"$response.body#/{pointer}")


def _answers_with(operation: Found, pointer: str, result: Found) -> bool:
    schema = _success(operation).get("content", {}).get(_JSON, {}).get("schema")
    for part in pointer.split("/"):
        schema = examples.resolved(schema, result["components"]) if schema else None
        if schema is None:
            return False
        schema = schema.get("items") if part.isdigit() else schema.get("properties", {}).get(part)
    return schema is not None


def _add(operation: Found, target: Found, found: re.Match[str], value: str) -> None:
    links = _success(operation).setdefault("links", {})
    for method in _METHODS:
        # An act that takes a body needs more than a number; reading, and acts without a body, do not.
        if method in target and (method in ("get", "patch", "delete") or not target[method].get("requestBody")):
            name = target[method]["operationId"]
            links[name] = {"operationId": name, "parameters": {found["name"]: value}}


def _success(operation: Found) -> Found:
    answers: Mapping[str, Found] = operation["responses"]
    return next((answers[status] for status in sorted(answers) if status.startswith("2")), {})


# --- the same errors everywhere


def _say_once(result: Found) -> None:
    """Answers of errors and headers, which are the same for all operations, move into the components."""
    headers: Found = {}
    answers: Found = {}
    for operation in _operations(result):
        for status, answer in operation["responses"].items():
            for name, header in list(answer.get("headers", {}).items()):
                if headers.setdefault(name, header) == header:
                    answer["headers"][name] = {"$ref": f"#/components/headers/{name}"}
            if status.isdigit() and int(status) in _NAMES:
                name = _kept(answers, _NAMES[int(status)], answer)
                operation["responses"][status] = {"$ref": f"#/components/responses/{name}"}
    result["components"]["headers"] = dict(sorted(headers.items()))
    result["components"]["responses"] = dict(sorted(answers.items()))


def _kept(answers: Found, name: str, answer: Found) -> str:
    """Under this name, or with a number behind it where another answer has it."""
    number, wanted = 1, json.dumps(answer, sort_keys=True)
    while True:
        one = name if number == 1 else f"{name}{number}"
        if one not in answers or json.dumps(answers[one], sort_keys=True) == wanted:
            answers[one] = answer
            return one
        number += 1
