"""From the OpenAPI document to one Python module: a TypedDict for each shape, a method for each operation."""

from __future__ import annotations

import json
import keyword
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from retl_project.client import runtime

_HEAD = '''"""Client of the API of Redrive, version {version}. Made from its document by `manage.py api_client`: do not edit.

    client = Client("https://redrive.example.com", "rd_...")
    run = client.syncs_runs_create(17, body={{"full": False}})
    for line in client.every(client.runs_list, status=["failed"]):
        print(line["id"])
"""
'''
_PLAIN = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None", "object": "dict[str, Any]"}
_TYPING = {"Any", "Literal", "NotRequired", "TypeAlias", "TypedDict"}
_TAKEN = {*vars(runtime), *_TYPING, "Client"}  # names that no shape may have
_METHODS = ("get", "post", "put", "patch", "delete")
_JSON = "application/json"
_HEADERS = {"If-Match": "if_match", "Idempotency-Key": "idempotency_key"}


def module(document: Mapping[str, Any]) -> str:
    """The text of the client."""
    base = Path(runtime.__file__).read_text().partition("from __future__ import annotations\n")[2]
    base = base.replace("from typing import Any\n", "from typing import Any, Literal, NotRequired, TypeAlias, TypedDict\n")
    head = _HEAD.format(version=document["info"]["version"])
    shapes = "\n\n".join(_shape(name, schema) for name, schema in sorted(document["components"]["schemas"].items()))
    methods = "\n\n".join(_method(*found) for found in _operations(document))
    body = f"class Client(Transport):\n{textwrap.indent(methods, '    ')}"
    return f"{head}\nfrom __future__ import annotations\n{base}\n\n# --- shapes\n\n{shapes}\n\n\n# --- operations\n\n\n{body}\n"


# --- shapes


def _class(name: str) -> str:
    return f"{name}Shape" if name in _TAKEN else name


def _shape(component: str, schema: Mapping[str, Any]) -> str:
    name = _class(component)
    if schema.get("type") != "object" or "properties" not in schema:
        return f"{name}: TypeAlias = {json.dumps(_type(schema))}"
    needed = set(schema.get("required", ()))
    parts = []
    for field, about in schema["properties"].items():
        kind = _type(about) if field in needed else f"NotRequired[{_type(about)}]"
        parts.append(f"    {json.dumps(field)}: {json.dumps(kind)},")
    # Written as a call: some fields have names that Python keeps for itself.
    return f"{name} = TypedDict(\n    {json.dumps(name)},\n    {{\n" + "\n".join(f"    {one}" for one in parts) + "\n    },\n)"


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return _class(str(schema["$ref"]).rpartition("/")[2])
    if "enum" in schema or "const" in schema:
        return _union(_literal(one) for one in schema.get("enum", [schema.get("const")]))
    if "allOf" in schema:
        return _type(schema["allOf"][0])
    for name in ("oneOf", "anyOf"):
        if name in schema:
            return _union(_type(one) for one in schema[name])
    kinds = schema.get("type", ())
    return _union(_plain(kind, schema) for kind in ([kinds] if isinstance(kinds, str) else kinds)) if kinds else "Any"


def _plain(kind: str, schema: Mapping[str, Any]) -> str:
    if kind == "array":
        return f"list[{_type(schema.get('items', {}))}]"
    inner = schema.get("additionalProperties")
    if kind == "object" and isinstance(inner, dict) and inner:
        return f"dict[str, {_type(inner)}]"
    return _PLAIN[kind]


def _literal(value: Any) -> str:
    return "None" if value is None else f"Literal[{value!r}]"


def _union(parts: Iterator[str]) -> str:
    found = list(dict.fromkeys(parts))
    literals = [one.removeprefix("Literal[").removesuffix("]") for one in found if one.startswith("Literal[")]
    rest = [one for one in found if not one.startswith("Literal[")]
    if "Any" in rest:
        return "Any"
    return " | ".join(([f"Literal[{', '.join(literals)}]"] if literals else []) + rest)


# --- operations


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, item in document["paths"].items():
        for method in _METHODS:
            about = item.get(method)
            # What is signed has a function of its own.
            if about is not None and {"Signature": []} not in about.get("security", ()):
                yield path, method.upper(), about


def _method(path: str, method: str, about: Mapping[str, Any]) -> str:
    where: dict[str, list[Mapping[str, Any]]] = {"path": [], "query": [], "header": []}
    for one in about.get("parameters", ()):
        if one["in"] in where and one["name"] != "fields":  # an answer that is cut down has another type
            where[one["in"]].append(one)
    content = about.get("requestBody", {}).get("content", {})
    given = ["self", *(f"{_name(one['name'])}: {_type(one['schema'])}" for one in where["path"])]
    named = list(_body(content, is_needed=bool(about.get("requestBody", {}).get("required"))))
    named += [_optional(one) for one in sorted(where["query"], key=lambda one: not one.get("required"))]
    named += [_optional(one, _HEADERS[one["name"]]) for one in where["header"] if one["name"] in _HEADERS]
    lines = [f"def {about['operationId']}({', '.join([*given, *(['*', *named] if named else [])])}) -> {_answer(about)}:"]
    lines += [f"    {json.dumps(about['summary'], ensure_ascii=False)}"]
    lines += _call(path, method, where, content, about)
    return "\n".join(lines)


def _call(path: str, method: str, where: Mapping[str, Any], content: Mapping[str, Any], about: Mapping[str, Any]) -> list[str]:
    texts = {one["name"] for one in where["path"] if _type(one["schema"]) != "int"}
    address = re.sub(r"\{(\w+)\}", lambda at: f"{{_part({_name(at[1])})}}" if at[1] in texts else f"{{{_name(at[1])}}}", path)
    parts = [json.dumps(method), ("f" if "{" in address else "") + json.dumps(address)]
    if where["query"]:
        parts.append("query={" + ", ".join(f"{json.dumps(one['name'])}: {_name(one['name'])}" for one in where["query"]) + "}")
    if content:
        parts.append("body=body")
        parts += ["content_type=content_type"] if _JSON not in content else []
    if headers := [one["name"] for one in where["header"] if one["name"] in _HEADERS]:
        parts.append("headers={" + ", ".join(f"{json.dumps(name)}: {_HEADERS[name]}" for name in headers) + "}")
    said = f"self.call({', '.join(parts)})"
    kind = _answer(about)
    if kind == "None":
        return [f"    {said}"]
    if kind == "bytes":
        return [f"    return {said}.content"]
    return [f"    found: {kind} = {said}.json()", "    return found"]


def _body(content: Mapping[str, Any], *, is_needed: bool) -> Iterator[str]:
    if _JSON in content:
        kind = _type(content[_JSON]["schema"])
        yield f"body: {kind}" if is_needed else f"body: {kind} | None = None"
    elif content:
        yield "body: bytes"
        yield f"content_type: {_union(_literal(kind) for kind in content)}"


def _optional(one: Mapping[str, Any], name: str = "") -> str:
    kind = _type(one["schema"])
    return f"{name or _name(one['name'])}: {kind}" + ("" if one.get("required") else " | None = None")


def _answer(about: Mapping[str, Any]) -> str:
    kinds = []
    for status, answer in about["responses"].items():
        if status.startswith("2"):
            content = answer.get("content", {})
            kinds.append(_type(content[_JSON]["schema"]) if _JSON in content else "bytes" if content else "None")
    return " | ".join(dict.fromkeys(kinds)) if "bytes" not in kinds else "bytes"


def _name(text: str) -> str:
    return f"{text}_" if keyword.iskeyword(text) else re.sub(r"\W", "_", text)
