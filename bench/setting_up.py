"""The bench's sync: ten columns of a PostgreSQL table, mapped with types, to the measuring server."""

from __future__ import annotations

import uuid
from urllib.parse import urlsplit

from syncs.choices import ConnectionRole
from syncs.models import Connection, FieldMapping, Sync

FIELDS = (
    ("id", "integer"), ("email", "string"), ("first_name", "string"), ("last_name", "string"), ("company", "string"),
    ("score", "decimal"), ("segment", "string"), ("city", "string"), ("is_active", "boolean"), ("updated_at", "timestamp"),
)  # fmt: skip


def http_config(url: str, batch: int, threads: int) -> dict:
    parts = urlsplit(url)
    return {
        "base_url": f"{parts.scheme}://{parts.netloc}",
        "auth": {"kind": "none"},
        "limits": {"max_records": batch, "max_bytes": 5_000_000, "concurrency": threads},
        "objects": {
            "rows": {
                "operations": {
                    "upsert": {
                        "method": "POST",
                        "path": parts.path,
                        "per_call": "batch",
                        "body": {"list_at": "records"},
                        "locator": {
                            "kind": "position",
                            "results": "results",
                            "ok": {"path": "status", "equals": "ok"},
                            "code": "error.code",
                            "message": "error.message",
                            "field": "error.field",
                        },
                        "idempotency": {"kind": "natural"},
                    }
                }
            }
        },
    }


def new_sync(warehouse: str, url: str, batch: int, threads: int) -> Sync:
    name = uuid.uuid4().hex[:8]
    parts = urlsplit(warehouse)
    source = Connection.objects.create(
        name=f"bench warehouse {name}",
        role=ConnectionRole.SOURCE,
        kind="postgresql",
        config={
            "host": parts.hostname,
            "port": parts.port,
            "database": parts.path.lstrip("/"),
            "user": parts.username,
        },
    )
    destination = Connection.objects.create(
        name=f"bench server {name}", role=ConnectionRole.DESTINATION, kind="http", config=http_config(url, batch, threads)
    )
    sync = Sync.objects.create(
        name=f"bench {name}",
        source=source,
        query="SELECT id, email, first_name, last_name, company, score, segment, city, is_active, updated_at FROM bench_rows",
        key_columns="id",
        destination=destination,
        destination_object="rows",
    )
    for position, (column, kind) in enumerate(FIELDS):
        FieldMapping.objects.create(
            sync=sync,
            position=position,
            destination_field=column,
            column=column,
            type=kind,
            is_key=column == "id",
        )
    return sync
