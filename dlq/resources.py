"""Columns of an export, as an import-export resource. The export streams them itself: the library would hold every row."""

from __future__ import annotations

from typing import ClassVar

from import_export import fields, resources

from dlq.models import DLQEntry


class DLQEntryResource(resources.ModelResource):  # type: ignore[misc]  # the library has no types
    """``attribute`` is a path that ``values_list`` understands; ``column_name`` is the header and the JSON key."""

    id = fields.Field("id", "id")
    sync = fields.Field("sync__name", "sync")
    row_key = fields.Field("row_key", "row_key")
    status = fields.Field("status", "status")
    error_type = fields.Field("error_type", "error_type")
    error_code = fields.Field("error_code", "error_code")
    field = fields.Field("field", "field")
    message = fields.Field("message", "message")
    http_status = fields.Field("http_status", "http_status")
    request_id = fields.Field("request_id", "request_id")
    operation = fields.Field("operation", "operation")
    group = fields.Field("group__title", "group")
    attempt_count = fields.Field("attempt_count", "attempt_count")
    failure_count = fields.Field("failure_count", "failure_count")
    first_failed_at = fields.Field("first_failed_at", "first_failed_at")
    last_failed_at = fields.Field("last_failed_at", "last_failed_at")
    run = fields.Field("run_id", "run")
    step = fields.Field("step_number", "step")
    version = fields.Field("version__number", "version")
    owner = fields.Field("owner__username", "owner")
    note = fields.Field("note", "note")
    row_state = fields.Field("row_state", "row_state")
    resolved_run = fields.Field("resolved_run_id", "resolved_run")
    closed_at = fields.Field("closed_at", "closed_at")
    closed_by = fields.Field("closed_by__username", "closed_by")
    close_reason = fields.Field("close_reason", "close_reason")
    fingerprint = fields.Field("fingerprint", "fingerprint")
    payload = fields.Field("payload", "payload")
    source_row = fields.Field("source_row", "source_row")
    response_excerpt = fields.Field("response_excerpt", "response_excerpt")

    class Meta:
        model = DLQEntry
        fields: ClassVar = (
            "id",
            "sync",
            "row_key",
            "status",
            "error_type",
            "error_code",
            "field",
            "message",
            "http_status",
            "request_id",
            "operation",
            "group",
            "attempt_count",
            "failure_count",
            "first_failed_at",
            "last_failed_at",
            "run",
            "step",
            "version",
            "owner",
            "note",
            "row_state",
            "resolved_run",
            "closed_at",
            "closed_by",
            "close_reason",
            "fingerprint",
            "payload",
            "source_row",
            "response_excerpt",
        )


class CorrectionResource(resources.Resource):  # type: ignore[misc]  # the library has no types
    """Columns that an import of corrections reads beside the payload's own (``payload.name``). The row is found by its id."""

    id = fields.Field("id", "id")
    row_key = fields.Field("row_key", "row_key")
    payload = fields.Field("payload", "payload")

    class Meta:
        import_id_fields: ClassVar = ("id",)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        return tuple(declared.column_name for declared in cls().get_import_fields())


def columns() -> list[tuple[str, str]]:
    """(attribute path, column name), in the order they are written."""
    return [(declared.attribute, declared.column_name) for declared in DLQEntryResource().get_export_fields()]
