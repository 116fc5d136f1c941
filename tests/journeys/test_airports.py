"""28 thousand real airports, from the warehouse into a CRM with rules of its own, and every refused one to its end."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dlq.choices import Door, EntryStatus, ReprocessMode
from dlq.models import DLQEntry, DLQEvent, ErrorGroup
from dlq.services import entries as acts
from syncs.choices import RunStatus, Trigger
from syncs.models import DeliveredRow, Run
from tests.journeys.airports import Expected, expect_airports, expect_countries, flattened, written
from tests.journeys.crm_world import Stage, entries
from tests.retl_project.crm import Crm, sandbox_crm

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]

MANY = 25_000


@pytest.fixture
def crm() -> Iterator[Crm]:
    """It limits calls and fails now and then, as the real ones do."""
    with sandbox_crm("--budget", "90/1", "--unavailable-every", "61") as crm:
        yield crm


@pytest.mark.slow
def test_airports_are_delivered_refused_repaired_and_reprocessed(crm: Crm, tmp_path: Path):
    stage = Stage(tmp_path / "warehouse.sqlite3", crm)
    first_run(stage)
    second_run_sends_nothing(stage)
    fixed_rows_are_delivered_by_a_plain_run(stage)
    reprocess_delivers_the_fixed_and_reopens_the_rest(stage)
    discarded_rows_stay_away_until_they_change(stage)
    assert_receipts_are_true(stage)


@pytest.mark.postgres
@pytest.mark.once("postgresql")
def test_airports_of_a_postgresql_warehouse_are_delivered_and_repaired(crm: Crm, postgres_url: str):
    stage = Stage(postgres_url, crm)
    first_run(stage)
    second_run_sends_nothing(stage)
    fixed_rows_are_delivered_by_a_plain_run(stage)
    assert_receipts_are_true(stage)


# -- the first run


def first_run(stage: Stage) -> None:
    of_countries = expect_countries(stage.warehouse.rows("SELECT code, name, region, airport_count FROM countries"))
    run = stage.run(stage.countries)
    assert_delivered(stage, run, "countries", of_countries)
    held_countries = set(stage.held("countries"))

    expected = expect_airports(stage.warehouse.airports(), countries=held_countries)
    run = stage.run(stage.airports)
    assert run.status == RunStatus.PARTIAL
    assert run.read_count == len(stage.warehouse.airports()) == run.accepted_count + run.dead_lettered_count > MANY
    assert_delivered(stage, run, "airports", expected)
    found = entries(stage.airports)
    assert {entry.error_type for entry in found.values()} == {
        "mapping", "missing_required", "field_permission", "duplicate_key", "validation", "reference_not_found",
    }  # fmt: skip
    assert all((entry.status, entry.failure_count) == (EntryStatus.OPEN, 1) for entry in found.values())
    summary = {(item["type"], item["code"], item["field"]): item["count"] for item in merged(run.error_summary)}
    assert summary == Counter((entry.error_type, entry.error_code, entry.field) for entry in found.values())
    assert run.retry_count > 0, "no 503 and no 429 came, so nothing was proved of them"


def merged(summary: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Causes that differ in their message alone, added up."""
    found: Counter[tuple[str, str, str]] = Counter()
    for item in summary:
        found[item["type"], item["code"], item["field"]] += item["count"]
    return [{"type": key[0], "code": key[1], "field": key[2], "count": count} for key, count in found.items()]


def assert_delivered(stage: Stage, run: Run, name: str, expected: Expected) -> None:
    """Of a first run: the CRM holds the good rows exactly; each other row is one dead letter that says why."""
    sync, held = run.sync, stage.held(name)
    found = entries(sync)
    assert (len(held), len(found)) == (run.accepted_count, run.dead_lettered_count)
    assert held.keys() | found.keys() == expected.payloads.keys() | expected.refused.keys()
    assert not held.keys() & found.keys()
    assert_exact(held, expected)
    assert held.keys() >= expected.good - expected.contested
    certain = {key: (why.type, why.code, why.field) for key, why in expected.refused.items()}
    said = {key: (entry.error_type, entry.error_code, entry.field) for key, entry in found.items()}
    assert {key: said.get(key) for key in certain} == certain
    beaten = found.keys() - certain.keys()
    assert {key: said[key] for key in beaten} == {
        key: ("duplicate_key", "DUPLICATE_VALUE", beaten_field(key, held, expected)) for key in beaten
    }
    assert_one_holder_each(held, expected)
    for key, entry in found.items():
        assert_evidence(entry, expected, was_sent=key in beaten or expected.refused[key].was_sent)
    ledger = dict(DeliveredRow.objects.filter(sync=sync).values_list("row_key", "payload_hash"))
    assert {key for key, accepted in ledger.items() if accepted is not None} == held.keys()


def assert_exact(held: dict[str, dict[str, Any]], expected: Expected) -> None:
    """Field by field, every digit of a decimal included."""
    wrong = {}
    for key, properties in held.items():
        there, wanted = flattened(properties), flattened(expected.payloads[key])
        if written(there) != written(wanted):
            names = sorted(there.keys() | wanted.keys())
            wrong[key] = [(name, there.get(name), wanted.get(name)) for name in names if there.get(name) != wanted.get(name)]
    assert wrong == {}


def beaten_field(key: str, held: dict[str, dict[str, Any]], expected: Expected) -> str:
    """The first unique field whose value another record of the CRM holds."""
    flat = flattened(expected.payloads[key])
    for field in ("label", "iata", "name"):
        rivals = expected.rivals.get((field, (flat.get(field) or "").casefold()), [])
        if any(rival in held for rival in rivals if rival != key):
            return field
    return "(nobody holds its values)"


def assert_one_holder_each(held: dict[str, dict[str, Any]], expected: Expected) -> None:
    taken = {rival: [key for key in keys if key in held] for rival, keys in expected.rivals.items()}
    assert {rival: keys for rival, keys in taken.items() if len(keys) > 1} == {}


def assert_evidence(entry: DLQEntry, expected: Expected, *, was_sent: bool) -> None:
    row = entry.source_values
    assert row["code"] == entry.row_key
    if not was_sent:
        assert (entry.http_status, entry.attempt_count, entry.payload, entry.request_id) == (None, 0, "", "")
        assert f"“{row['site_type']}”" in entry.message
        return
    assert entry.http_status == 207
    assert entry.attempt_count >= 1
    assert entry.request_id.startswith("crm-")
    assert entry.payload == written(expected.payloads[entry.row_key])
    problem = f'"code":"{entry.error_code}","field":"{entry.field}","message":'
    assert problem in entry.response_excerpt
    assert json.dumps(entry.message, ensure_ascii=False) in entry.response_excerpt


# -- the second run


def second_run_sends_nothing(stage: Stage) -> None:
    receipts = stage.receipts()
    answers = stage.crm.get("/admin?format=json").json()["answers"]
    before = DLQEntry.objects.count(), DLQEvent.objects.count()
    run = stage.run(stage.airports)
    assert run.status == RunStatus.SUCCEEDED
    assert (run.accepted_count, run.dead_lettered_count, run.request_count) == (0, 0, 0)
    assert run.skipped_count == DLQEntry.objects.filter(sync=stage.airports).count()
    assert run.unchanged_count == len(stage.held("airports"))
    assert stage.receipts() == receipts
    after = stage.crm.get("/admin?format=json").json()["answers"]
    assert after.keys() == answers.keys()
    assert {status for status in after if status != "200" and after[status] != answers[status]} == set()
    assert (DLQEntry.objects.count(), DLQEvent.objects.count()) == before


# -- rows are fixed in the warehouse, and a plain run delivers them


def fixed_rows_are_delivered_by_a_plain_run(stage: Stage) -> None:
    found, held = entries(stage.airports), stage.held("airports")
    fixes = {
        ("mapping", "category"): ("site_type = %s", "airport"),
        ("missing_required", "category"): ("site_type = %s", "strip"),
        ("missing_required", "address.city"): ("city = %s", "Zażółć"),
        ("field_permission", "security_zone"): ("security_zone = %s", None),
        ("validation", "name"): ("name = %s", "Renamed Field"),
        ("duplicate_key", "label"): ("name = %s", "Renamed Twin"),
    }
    chosen: dict[str, tuple[str, str]] = {}
    for cause, (assignment, value) in fixes.items():
        keys = sorted(key for key, entry in found.items() if (entry.error_type, entry.field) == cause)[:12]
        assert keys, cause
        for key in keys:
            text = f"{value} {key}" if isinstance(value, str) and value.startswith("Renamed") else value
            stage.warehouse.update([key], assignment, text)
        chosen |= dict.fromkeys(keys, cause)
    edited = sorted(held)[:5]
    broken = sorted(held)[5:8]
    stage.warehouse.update(edited, "elevation_ft = elevation_ft + %s", 0.25)
    stage.warehouse.update(broken, "timezone = %s", "Mars?Olympus")

    expected = expect_airports(stage.warehouse.airports(), countries=set(stage.held("countries")))
    fixed = {key for key in chosen if key in expected.good}
    assert len(fixed) >= 40
    assert {chosen[key] for key in fixed} == set(fixes)
    run = stage.run(stage.airports)

    now, after = stage.held("airports"), entries(stage.airports)
    assert now.keys() == held.keys() | fixed
    assert run.accepted_count == len(fixed) + len(edited)
    assert run.dead_lettered_count == len(broken) + len(chosen.keys() - fixed)
    assert_exact({key: now[key] for key in fixed | set(edited)}, expected)
    assert {key: now[key] for key in broken} == {key: held[key] for key in broken}
    for key in fixed:
        entry = after[key]
        assert (entry.status, entry.resolved_run_id) == (EntryStatus.RESOLVED, run.pk)
        kinds = DLQEvent.objects.filter(entry=entry).order_by("id").values_list("kind", "run_id")
        assert [kind for kind, _ in kinds] == ["failed", "resolved"]
        assert kinds[1][1] == run.pk
    for key in broken:
        assert (after[key].status, after[key].error_type, after[key].field) == (EntryStatus.OPEN, "validation", "timezone")
    assert_groups_match(stage)


def assert_groups_match(stage: Stage) -> None:
    live = Counter(DLQEntry.objects.filter(sync=stage.airports).live().values_list("group_id", flat=True))
    assert {group.pk: group.open_count for group in ErrorGroup.objects.filter(sync=stage.airports) if group.open_count} == live


# -- reprocess


def reprocess_delivers_the_fixed_and_reopens_the_rest(stage: Stage) -> None:
    permitted = [key for key, entry in sorted(open_entries(stage).items()) if entry.error_type == "field_permission"]
    unmapped = [key for key, entry in sorted(open_entries(stage).items()) if entry.error_type == "mapping"]
    fixed, unfixed = permitted[:15] + unmapped[:15], permitted[15:25] + unmapped[15:25]
    stage.warehouse.update(permitted[:15], "security_zone = %s", None)
    stage.warehouse.update(unmapped[:15], "site_type = %s", "heliport")
    expected = expect_airports(stage.warehouse.airports(), countries=set(stage.held("countries")))
    fixed = [key for key in fixed if key in expected.good - expected.contested]
    assert len(fixed) >= 20
    before, receipts = entries(stage.airports), len(stage.receipts())

    run = reprocess(stage, fixed + unfixed)
    assert (run.status, run.trigger) == (RunStatus.PARTIAL, Trigger.REPROCESS)
    assert (run.read_count, run.accepted_count) == (len(fixed) + len(unfixed), len(fixed))
    after = entries(stage.airports)
    assert {after[key].status for key in fixed} == {EntryStatus.RESOLVED}
    assert {after[key].resolved_run_id for key in fixed} == {run.pk}
    for key in unfixed:
        calls = 1 if key in permitted else 0  # what the mapping refuses is not sent
        assert after[key].status == EntryStatus.OPEN
        assert after[key].attempt_count - before[key].attempt_count >= calls
        assert after[key].failure_count == before[key].failure_count + 1
        assert (after[key].run_id, after[key].reprocess_run_id) == (run.pk, None)
    assert len(stage.receipts()) == receipts + len(fixed)
    held = stage.held("airports")
    assert_exact({key: held[key] for key in fixed}, expected)
    stored_row_is_sent_as_it_was(stage, permitted[15])
    assert_groups_match(stage)


def stored_row_is_sent_as_it_was(stage: Stage, key: str) -> None:
    """In stored mode the warehouse's change does not count: the stored row is refused again."""
    stage.warehouse.update([key], "security_zone = %s", None)
    failures = entries(stage.airports)[key].failure_count
    run = reprocess(stage, [key], mode=ReprocessMode.STORED)
    entry = entries(stage.airports)[key]
    assert (run.dead_lettered_count, entry.status, entry.failure_count) == (1, EntryStatus.OPEN, failures + 1)
    assert reprocess(stage, [key]).accepted_count == 1


def reprocess(stage: Stage, keys: list[str], mode: ReprocessMode = ReprocessMode.CURRENT) -> Run:
    chosen = DLQEntry.objects.filter(sync=stage.airports, row_key__in=keys).live()
    result = acts.reprocess(chosen, by=None, reason="fixed in the warehouse", mode=mode, door=Door.CLI)
    assert (result.taken, result.left_out) == (len(keys), ())
    assert set(chosen.values_list("status", flat=True)) == {EntryStatus.QUEUED}
    (run,) = result.runs
    return stage.work(run)


def open_entries(stage: Stage) -> dict[str, DLQEntry]:
    return dict(entries(stage.airports, status=EntryStatus.OPEN))


# -- discard


def discarded_rows_stay_away_until_they_change(stage: Stage) -> None:
    keys = [key for key, entry in sorted(open_entries(stage).items()) if entry.error_type == "field_permission"][:6]
    still, changed = keys[:3], keys[3:]
    chosen = DLQEntry.objects.filter(sync=stage.airports, row_key__in=keys)
    result = acts.discard(chosen.live(), by=None, reason="secret sites stay out of the CRM", door=Door.CLI)
    assert result.taken == len(keys)
    assert_groups_match(stage)
    stage.warehouse.update(changed, "security_zone = %s", None)
    expected = expect_airports(stage.warehouse.airports(), countries=set(stage.held("countries")))
    run = stage.run(stage.airports)
    assert (run.accepted_count, run.dead_lettered_count) == (len(changed), 0)
    held = stage.held("airports")
    assert not held.keys() & set(still)
    assert_exact({key: held[key] for key in changed}, expected)
    assert set(chosen.values_list("status", flat=True)) == {EntryStatus.DISCARDED}


# -- receipts, over all runs


def assert_receipts_are_true(stage: Stage) -> None:
    """The same bytes of a row were accepted under one idempotency key only, and what is held is what was accepted last."""
    keys: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    last: dict[str, str] = {}
    for receipt in stage.receipts():
        keys[receipt["object"], receipt["key"], receipt["digest"]].add(receipt["idempotency_key"])
        if receipt["object"] == "airports":
            last[receipt["key"]] = receipt["digest"]
    assert {row: found for row, found in keys.items() if len(found) > 1 or "" in found} == {}
    held = stage.held("airports")
    assert last == {key: hashlib.sha256(written(held[key]).encode()).hexdigest() for key in held}
