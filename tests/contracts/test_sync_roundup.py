"""Whole syncs into Roundup, a real server: one record a call, a unique key, field permissions, a version check, 429."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from dlq.choices import EntryStatus
from dlq.models import DLQEntry
from syncs.choices import RunStatus
from syncs.models import Step
from tests.contracts.test_http_roundup import DETECTORS, SCHEMA, settings
from tests.contracts.whole_sync import WholeSync
from tests.thirdparty import roundup

pytestmark = [pytest.mark.thirdparty, pytest.mark.django_db(transaction=True), pytest.mark.once("sqlite")]

MAPPING = {
    "external_id": {"column": "id", "is_key": True},
    "email": "email",
    "age": "age",
    "internal_score": {"column": "score", "on_null": "omit"},
}
FAULTS: dict[str, dict[str, Any]] = {"-03": {"age": "young"}, "-08": {"score": "9"}, "-11": {"email": None}}
CAUSES = {
    "-03": ("validation", "age", 400),
    "-08": ("field_permission", "internal_score", 403),
    "-11": ("missing_required", "email", 405),
}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with roundup(tmp_path_factory.mktemp("roundup"), schema=SCHEMA, detectors=DETECTORS) as started:
        yield started


def whole_sync(folder: Path, address: str, prefix: str, count: int, *, faults: Any = FAULTS, **sync: Any) -> WholeSync:
    rows = []
    for number in range(count):
        end = f"-{number:02}"
        row = {"id": prefix + end, "email": f"{prefix}{end}@x.test", "age": str(20 + number), "score": None}
        rows.append({**row, **faults.get(end, {})})
    return WholeSync(
        folder,
        rows,
        config={**settings(address), "limits": {"deadline_seconds": 120}},  # its answers are slow on a busy machine
        secrets={"password": "sync-pw"},
        destination_object="contact",
        mapping=MAPPING,
        **sync,
    )


def api(address: str, method: str, path: str, **kwargs: Any) -> Any:
    headers = {"X-Requested-With": "rest", "Origin": address, "Referer": address}
    answer = requests.request(
        method, f"{address}/rest/data/{path}", auth=("sync", "sync-pw"), headers=headers, timeout=20, **kwargs
    )
    answer.raise_for_status()
    return answer.json()["data"]


def stored(address: str, prefix: str) -> dict[str, tuple[str, int]]:
    """Mail address and age of every contact whose key begins so."""
    found = api(address, "GET", "contact", params={"@fields": "external_id,email,age", "@page_size": 500})["collection"]
    return {row["external_id"]: (row["email"], row["age"]) for row in found if row["external_id"].startswith(prefix)}


def good(prefix: str, count: int) -> dict[str, tuple[str, int]]:
    ends = [(f"-{number:02}", number) for number in range(count)]
    return {prefix + end: (f"{prefix}{end}@x.test", 20 + number) for end, number in ends if end not in FAULTS}


def test_inserts_refused_by_the_servers_rules_are_dead_letters_and_the_rest_is_there(address: str, tmp_path: Path):
    api(address, "POST", "contact", json={"external_id": "ins-05", "email": "first@x.test", "age": 1})
    sync = whole_sync(tmp_path, address, "ins", 13, mode="insert")
    run = sync.run()
    assert (run.status, run.accepted_count, run.dead_lettered_count) == (RunStatus.PARTIAL, 9, 4)
    assert sync.causes() == {
        **{f"ins{end}": cause for end, cause in CAUSES.items()},
        "ins-05": ("duplicate_key", "external_id", 409),
    }
    assert stored(address, "ins") == {**good("ins", 13), "ins-05": ("first@x.test", 1)}
    again = sync.run()
    assert (again.unchanged_count, again.skipped_count, again.request_count) == (9, 4, 0)


def test_upserts_create_update_and_resolve_what_was_fixed(address: str, tmp_path: Path):
    sync = whole_sync(tmp_path, address, "ups", 12)
    run = sync.run()
    assert (run.accepted_count, run.created_count, run.dead_lettered_count) == (9, 9, 3)
    assert sync.causes() == {f"ups{end}": cause for end, cause in CAUSES.items()}
    sync.sql("UPDATE contacts SET age = '77' WHERE id IN ('ups-00', 'ups-03')")
    sync.sql("UPDATE contacts SET score = NULL WHERE id = 'ups-08'")
    after = sync.run()
    assert (after.status, after.accepted_count, after.skipped_count) == (RunStatus.SUCCEEDED, 3, 1)
    assert (after.created_count, after.updated_count) == (2, 1)
    there = stored(address, "ups")
    assert (there["ups-00"][1], there["ups-03"][1], there["ups-08"][1]) == (77, 77, 28)
    assert sync.entries(status=EntryStatus.RESOLVED).keys() == {"ups-03", "ups-08"}
    assert {entry.resolved_run_id for entry in sync.entries(status=EntryStatus.RESOLVED).values()} == {after.pk}


def test_rate_limit_of_the_server_slows_the_run_down_and_dead_letters_no_row(tmp_path: Path):
    (tmp_path / "server").mkdir()
    with roundup(tmp_path / "server", schema=SCHEMA, detectors=DETECTORS, calls=3, seconds=6) as limited:
        sync = whole_sync(tmp_path, limited, "lim", 8, mode="insert", max_attempts=1, faults={})
        run = sync.run()
        attempts = [attempt for step in Step.objects.filter(run=run, kind="upload") for attempt in step.attempts]
        refused = [attempt for attempt in attempts if attempt["http_status"] == 429]
    assert (run.status, run.accepted_count) == (RunStatus.SUCCEEDED, 8)
    assert not DLQEntry.objects.exists()
    assert refused, "the server never said 429"
    assert all(attempt["signal"] == "rate_limited" for attempt in refused)
    assert len(attempts) == 8 + len(refused)
    assert Step.objects.filter(run=run, kind="wait").exists()
