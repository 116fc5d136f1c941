"""Settings of the kind ``http`` for the three shapes of jobs; docs/http-destination.md shows them too."""

from __future__ import annotations

from typing import Any


def job_status(url: str) -> dict[str, Any]:
    upsert = {
        "path": "/users/create_or_update_many.json",
        "per_call": "batch",
        "body": {"list_at": "users"},
        "error": {"code": "error", "message": "description"},
        "job": {
            "id": "job_status.id",
            "take": {"url": "job_status.url"},
            "poll": {"path": "{job.url}", "every_seconds": 0.05},
            "state": "job_status.status",
            "working": ["queued", "working"],
            "done": ["completed"],
            "failed": ["failed", "killed"],
            "error": {"message": "job_status.message"},
            "max_open": 30,
        },
        "locator": {
            "kind": "position",
            "results": "job_status.results",
            "ok": {"path": "status", "equals": ["Created", "Updated"]},
            "code": "error",
            "message": "details",
        },
        "id": "id",
        "detail": {"path": "status", "values": {"Created": "created", "Updated": "updated"}},
    }
    return _config(url, {"users": {"operations": {"upsert": upsert}}}, check="/users/me.json")


def import_errors(url: str, *, by_pointer: bool = False) -> dict[str, Any]:
    located: dict[str, Any] = {"kind": "key", "key": "attributes.original_payload.external_id"}
    if by_pointer:
        located = {
            "kind": "index",
            "pattern": r"/profiles/data/(?P<index>\d+)(/|$)",
            "pattern_at": "attributes.source.pointer",
        }
    upsert = {
        "path": "/profile-bulk-import-jobs",
        "per_call": "batch",
        "body": {"list_at": "data.attributes.profiles.data", "constants": {"data": {"type": "profile-bulk-import-job"}}},
        "record": {"properties_at": "attributes", "constants": {"type": "profile"}},
        "key_field": "external_id",
        "error": {"code": "errors[].code", "message": "errors[].detail"},
        "job": {
            "id": "data.id",
            "poll": {"path": "/profile-bulk-import-jobs/{job.id}", "every_seconds": 0.05},
            "state": "data.attributes.status",
            "working": ["queued", "processing"],
            "done": ["complete"],
            "failed": ["cancelled"],
            "reads": [
                {
                    "name": "import_errors",
                    "path": "/profile-bulk-import-jobs/{job.id}/import-errors",
                    "items": "data",
                    "next": "links.next",
                    "unless_zero": "data.attributes.failed_count",
                }
            ],
        },
        "locator": {
            **located,
            "errors": "import_errors",
            "code": "attributes.code",
            "message": "attributes.detail",
            "written_count": "data.attributes.completed_count",
            "failed_count": "data.attributes.failed_count",
        },
    }
    return _config(url, {"profiles": {"operations": {"upsert": upsert}}}, check="/accounts")


def ingest(url: str) -> dict[str, Any]:
    upsert = {
        "path": "/jobs/ingest",
        "per_call": "batch",
        "body": {
            "kind": "constants",
            "constants": {
                "object": "Contact",
                "externalIdFieldName": "external_id",
                "operation": "upsert",
                "contentType": "CSV",
                "lineEnding": "LF",
            },
        },
        "key_field": "external_id",
        "unique_keys_in_batch": True,
        "error": {"code": "[].errorCode", "message": "[].message"},
        "job": {
            "steps": [
                {"method": "PUT", "path": "/jobs/ingest/{job.id}/batches", "body": {"kind": "csv", "null_text": "#N/A"}},
                {
                    "method": "PATCH",
                    "path": "/jobs/ingest/{job.id}",
                    "body": {"kind": "constants", "constants": {"state": "UploadComplete"}},
                },
            ],
            "poll": {"path": "/jobs/ingest/{job.id}", "every_seconds": 0.05, "at_most_seconds": 86400},
            "state": "state",
            "working": ["Open", "UploadComplete", "InProgress"],
            "done": ["JobComplete", "Failed", "Aborted"],
            "reads": [
                {"name": "written", "path": "/jobs/ingest/{job.id}/successfulResults/", "answers": "csv"},
                {"name": "failed", "path": "/jobs/ingest/{job.id}/failedResults/", "answers": "csv"},
                {"name": "left", "path": "/jobs/ingest/{job.id}/unprocessedrecords/", "answers": "csv"},
            ],
            "not_attempted": {"results": "left", "key": "external_id"},
        },
        "locator": {
            "kind": "key",
            "results": "written",
            "result_id": "external_id",
            "errors": "failed",
            "key": "external_id",
            "message": "sf__Error",
        },
        "id": "sf__Id",
        "detail": {"path": "sf__Created", "values": {"true": "created", "false": "updated"}},
    }
    return _config(url, {"Contact": {"operations": {"upsert": upsert}}}, check="/limits")


def _config(url: str, objects: dict[str, Any], *, check: str) -> dict[str, Any]:
    return {
        "base_url": url,
        "auth": {"kind": "bearer"},
        "limits": {"max_records": 1000},
        "check": {"path": check},
        "objects": objects,
    }
