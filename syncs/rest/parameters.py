"""What an operation takes in its address, as the OpenAPI document says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import django_filters as df
from django.core.validators import RegexValidator
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers

from syncs.rest.filters import FlagFilter, IdFilter, IdsFilter, StrictFilterSet, TextsFilter
from syncs.rest.operations import Operation, ShapeType
from syncs.rest.paging import LIMIT, MOST
from syncs.rest.shapes import BIGGEST_ID


def parameter(name: str, kind: Any, text: str, **about: Any) -> OpenApiParameter:
    return OpenApiParameter(name, kind, OpenApiParameter.QUERY, description=text, **about)


def of_page(about: Operation) -> list[OpenApiParameter]:
    limit = {"type": "integer", "minimum": 1, "maximum": MOST, "default": LIMIT}
    found = [
        parameter("limit", limit, "Rows of a page."),
        parameter("cursor", str, "`meta.page.next` of the page before; filters and order stay the same."),
    ]
    if about.orders:
        found.append(parameter("order", str, "In which order.", enum=list(about.orders)))
    return found


def of_filters(filters: type[StrictFilterSet]) -> list[OpenApiParameter]:
    found = []
    for name, one in filters.base_filters.items():
        schema, is_many = _schema_of(one)
        if is_many:
            schema = {"type": "array", "items": schema, "minItems": 1}
        text = str(one.extra.get("help_text") or one.label or "")
        about: dict[str, Any] = {"explode": True, "style": "form"} if is_many else {}
        found.append(parameter(name, schema, text, **about))
    return found


def _schema_of(one: df.Filter) -> tuple[dict[str, Any], bool]:
    if isinstance(one, IdsFilter | IdFilter):
        return {"type": "integer", "minimum": 1, "maximum": BIGGEST_ID}, isinstance(one, IdsFilter)
    if isinstance(one, FlagFilter):
        return {"type": "boolean"}, False
    if isinstance(one, df.MultipleChoiceFilter | df.ChoiceFilter):
        choices: Sequence[Any] = one.extra.get("choices") or ()
        return {"type": "string", "enum": [value for value, _ in choices]}, isinstance(one, df.MultipleChoiceFilter)
    if isinstance(one, df.IsoDateTimeFilter):
        return {"type": "string", "format": "date-time"}, False
    if isinstance(one, df.NumberFilter):
        bounds = {"minimum": one.extra.get("min_value"), "maximum": one.extra.get("max_value")}
        return {"type": "integer", **{name: value for name, value in bounds.items() if value is not None}}, False
    text: dict[str, Any] = {"type": "string", "minLength": 1}
    if one.extra.get("max_length"):
        text["maxLength"] = one.extra["max_length"]
    if getattr(one, "pattern", ""):
        text["pattern"] = f"^(?:{one.pattern})$"  # type: ignore[attr-defined]
    return text, isinstance(one, TextsFilter)


def of_query(query: ShapeType) -> list[OpenApiParameter]:
    """One parameter for each field of the shape; DRF's own names for types and bounds."""
    made: Any = query()
    return [
        OpenApiParameter(
            name,
            _plain_schema(field),
            OpenApiParameter.QUERY,
            required=field.required,
            description=str(field.help_text or ""),
            explode=True if isinstance(field, serializers.ListField) else None,
            style="form" if isinstance(field, serializers.ListField) else None,
        )
        for name, field in made.fields.items()
    ]


def _plain_schema(field: serializers.Field[Any, Any, Any, Any]) -> dict[str, Any]:
    if isinstance(field, serializers.ListField):
        most = {"maxItems": field.max_length} if field.max_length else {}
        return {"type": "array", "items": _plain_schema(field.child), **most}
    if isinstance(field, serializers.BooleanField):
        return {"type": "boolean"}
    if isinstance(field, serializers.ChoiceField):
        return {"type": "string", "enum": list(field.choices)}
    if isinstance(field, serializers.IntegerField):
        bounds: Mapping[str, Any] = {"minimum": field.min_value, "maximum": field.max_value}
        return {"type": "integer", **{name: value for name, value in bounds.items() if value is not None}}
    if isinstance(field, serializers.DateTimeField):
        return {"type": "string", "format": "date-time"}
    if isinstance(field, serializers.DateField):
        return {"type": "string", "format": "date"}
    schema: dict[str, Any] = {"type": "string"}
    if getattr(field, "max_length", None):
        schema["maxLength"] = field.max_length  # type: ignore[attr-defined]
    if not getattr(field, "allow_blank", True):
        schema["minLength"] = 1
    for one in field.validators if isinstance(field, serializers.RegexField) else ():
        if isinstance(one, RegexValidator):
            schema["pattern"] = str(getattr(one.regex, "pattern", one.regex))
    return schema
