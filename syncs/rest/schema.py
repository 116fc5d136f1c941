"""The OpenAPI document, made from what each operation declares."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, inline_serializer
from rest_framework import serializers

from syncs.rest import parameters
from syncs.rest.operations import Operation, ShapeType
from syncs.rest.shapes import BIGGEST_ID, SPARSE, Shape


class ProblemDetail(Shape):
    field = serializers.CharField(help_text="Which input; of a body with its path, as `mappings[2].kind`.")
    issue = serializers.CharField(help_text="What is wrong with it, and the way out.")


class ProblemError(Shape):
    code = serializers.CharField(help_text="A word for programs, for example `invalid` or `refused`.")
    message = serializers.CharField(help_text="A sentence for people.")
    details = ProblemDetail(many=True)


class ProblemBody(Shape):
    error = ProblemError()


_SAID = {
    400: ("Not understood: `details` name each field.", "invalid", "The request cannot be taken as it is."),
    401: (
        "No key, or one that is not good.",
        "unauthenticated",
        "This API key is not known, has ended, or its owner is not active.",
    ),
    403: ("The key lacks a scope, or its owner a right.", "scope_missing", "This key lacks the scope read."),
    404: ("Not there, or not yours to see.", "not_found", "Nothing is here that you may see."),
    409: ("Not possible as things stand, or being worked on.", "refused", "“Accounts” is paused. Resume it, then run it."),
    412: ("Changed since you read it.", "precondition_failed", "It was changed since you read it."),
    413: ("Too large.", "too_large", "The body has more than 2,097,152 bytes. Send less at once."),
    415: ("Not JSON.", "unsupported_media_type", "Unsupported media type “text/plain” in request."),
    422: ("This Idempotency-Key was used for another request.", "idempotency_key_reused", "Take a new one."),
    428: ("If-Match is missing.", "precondition_required", "Send If-Match with the ETag of what you read."),
    429: ("Too many requests.", "too_many_requests", "More than 600 requests in a minute. Wait 12 seconds."),
}
_LIMITS = {
    "X-RateLimit-Limit": "Requests allowed in a minute.",
    "X-RateLimit-Remaining": "Requests left in this minute.",
    "X-RateLimit-Reset": "Seconds until the next minute begins.",
}


class KeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "syncs.rest.callers.KeyAuthentication"
    name = "ApiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "rd_<prefix>_<secret>",
            "description": "An API key of a person or a service account.",
        }


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "syncs.rest.callers.BrowserSession"
    name = "Session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        from django.conf import settings

        return {
            "type": "apiKey",
            "in": "cookie",
            "name": settings.SESSION_COOKIE_NAME,
            "description": "Signed in to the console.",
        }


class ResourceSchema(AutoSchema):
    """Reads ``Operation`` of the method that answers."""

    @property
    def _resource(self) -> Any:
        return self.view

    @property
    def _about(self) -> Operation:
        found: Operation | None = self._resource.operation
        assert found is not None, f"{type(self.view).__name__}.{self._resource.action} declares no operation"
        return found

    def get_tags(self) -> list[str]:
        return [self._resource.tag or "Other"]

    def get_operation_id(self) -> str:
        """``syncs_list``, ``syncs_pause``: of the address that was registered, and the method that answers."""
        if self._about.name:
            return self._about.name
        prefix = str(self._resource.basename or "").removeprefix("api-")
        words = [part for part in prefix.split("/") if part and not part.startswith("(")]
        action = str(self._resource.action)
        verb = {"retrieve": "get", "partial_update": "update", "destroy": "delete", "update": "replace"}.get(action, action)
        return "_".join([*words, verb]).replace("-", "_").replace(".", "_")

    def get_summary(self) -> str:
        return self._about.summary

    def get_description(self) -> str:  # type: ignore[override]
        about = self._about
        rights = " or ".join(f"`{name}`" for name in about.permissions) or "none"
        lines = [about.description, f"Scope `{about.scope.value}`; right {rights}."]
        return "\n\n".join(line for line in lines if line)

    def _is_list_view(self, serializer: Any = None) -> bool:
        return False  # lists come in an envelope of their own

    def _get_serializer_name(self, serializer: Any, direction: Any, bypass_extensions: bool = False) -> str:
        name = str(super()._get_serializer_name(serializer, direction, bypass_extensions))
        return name.replace("Shape", "")

    def get_request_serializer(self) -> Any:
        about = self._about
        return dict.fromkeys(about.upload, OpenApiTypes.BINARY) if about.upload else about.takes

    def get_filter_backends(self) -> list[Any]:
        return []

    # --- what is sent

    def get_override_parameters(self) -> list[Any]:
        about = self._about
        found: list[OpenApiParameter] = []
        if about.filters is not None:
            found += parameters.of_filters(about.filters)
        if about.query is not None:
            found += parameters.of_query(about.query)
        if about.is_page:
            found += parameters.of_page(about)
        if about.shape is not None and self.method == "GET":
            found.append(parameters.parameter("fields", str, "Only these fields of the answer, with commas between."))
        if self.method == "POST" and not about.is_secret:
            text = "Any text of your own; the same POST sent again within 24 hours is done once."
            schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]*[!-~][ -~]*$"}
            found.append(OpenApiParameter("Idempotency-Key", schema, OpenApiParameter.HEADER, description=text))
        if about.needs_match:
            text = "The ETag of what you read, or `*`."
            found.append(OpenApiParameter("If-Match", str, OpenApiParameter.HEADER, required=True, description=text))
        return found

    def _resolve_path_parameters(self, variables: list[str]) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = super()._resolve_path_parameters(variables)  # type: ignore[no-untyped-call]
        for one in made:
            if one["name"] in ("id", "number") or one["name"].endswith("_id"):
                one["schema"] = {"type": "integer", "format": "int64", "minimum": 1, "maximum": BIGGEST_ID}
        return made

    # --- what is given back

    def get_response_serializers(self) -> Any:
        about = self._about
        found: dict[Any, Any] = {}
        if about.file:
            for kind in (about.file,) if isinstance(about.file, str) else about.file:
                # A file of JSON or YAML is described as what it holds, for whoever checks answers by their type.
                found[(about.status, kind)] = OpenApiTypes.ANY if kind in _READ else OpenApiTypes.BINARY
        elif about.shape is None:
            found[about.status] = OpenApiResponse(None, description="Done.")
        else:
            self._successes(about, found)
        for status, shape in about.also:
            found[(status, "application/json")] = OpenApiResponse(shape, description="Done.")
        for status in self._problems(about):
            found[status] = _problem(status)
        return found

    def _successes(self, about: Operation, found: dict[Any, Any]) -> None:
        assert about.shape is not None
        examples = [] if about.answer_example is None else [OpenApiExample("Answer", about.answer_example, response_only=True)]
        whole = self._enveloped(about, about.shape) if about.is_page or about.is_list else about.shape
        found[(about.status, "application/json")] = OpenApiResponse(whole, description="Done.", examples=examples)
        if self.method == "GET":
            found[(about.status, SPARSE)] = OpenApiResponse(_SPARSE, description="Cut down by `fields`.")

    def _enveloped(self, about: Operation, shape: ShapeType) -> Any:
        return _envelope(shape, about.is_page)

    def _problems(self, about: Operation) -> Iterable[int]:
        found = {400, 401, 403, 429, *about.errors}
        if "{" in self.path:
            found.add(404)
        if self.method not in ("GET", "HEAD"):
            found |= {413, 415}
        if self.method == "POST":
            found |= {409, 422}
        if about.needs_match:
            found |= {412, 428}
        if about.can_refuse:
            found.add(409)
        return sorted(found)

    def get_examples(self) -> list[OpenApiExample]:
        about = self._about
        return [] if about.example is None else [OpenApiExample("Request", about.example, request_only=True)]

    def _get_response_headers_for_code(self, status_code: Any, direction: Any = "response") -> dict[str, Any]:
        made = super()._get_response_headers_for_code(status_code, direction) or {}
        for name, text in _LIMITS.items():
            made[name] = {"schema": {"type": "integer"}, "description": text}
        about = self._about
        if about.has_etag and str(status_code) == str(about.status):
            made["ETag"] = {"schema": {"type": "string"}, "description": "Send it as If-Match with an edit."}
        if str(status_code) == "429":
            made["Retry-After"] = {"schema": {"type": "integer"}, "description": "Seconds to wait."}
        return made


def strict_requests(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A postprocessing hook: what is sent may hold no other names; and any JSON or null, of which null is both, is any JSON."""
    for name, schema in result["components"]["schemas"].items():
        for part in schema.get("properties", {}).values():
            for one in (part, part.get("items", {})):
                if one.get("oneOf") == [{}, {"type": "null"}]:
                    del one["oneOf"]
        if name.endswith("Request") and schema.get("type") == "object" and "properties" in schema:
            schema["additionalProperties"] = False
    return result


class PageMetaShape(Shape):
    limit = serializers.IntegerField()
    next = serializers.CharField(allow_null=True, help_text="The `cursor` of the next page; null: the end.")


class PagedShape(Shape):
    page = PageMetaShape()


class NoMetaShape(Shape):
    """A list that is whole says nothing about itself."""


@cache
def _envelope(shape: ShapeType, is_page: bool) -> Any:
    """One class for each shape: the document takes two of the same name for two things."""
    name = f"{shape.__name__.removesuffix('Shape')}{'Page' if is_page else 'List'}"
    return inline_serializer(name, {"data": shape(many=True), "meta": (PagedShape if is_page else NoMetaShape)()})


_READ = ("application/json", "application/yaml")  # files whose text can be read as values
_SPARSE = {"type": "object", "additionalProperties": True}


def _problem(status: int) -> OpenApiResponse:
    text, code, message = _SAID.get(status, ("Refused.", "refused", "It cannot be done as things stand."))
    example = {"error": {"code": code, "message": message, "details": []}}
    return OpenApiResponse(
        ProblemBody, description=text, examples=[OpenApiExample(code, example, response_only=True, status_codes=[str(status)])]
    )
