"""Vendors in whole syncs, mapped as a person would: only the bad row becomes a dead letter, and its correction is delivered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dlq.choices import EntryStatus
from syncs.choices import RunStatus, StepKind
from tests.contracts.harness import HttpHarness
from tests.contracts.servers import braze, intercom, iterable, mailchimp, zendesk
from tests.contracts.whole_sync import WholeSync

pytestmark = pytest.mark.django_db(transaction=True)

ID: Mapping[str, Any] = {"column": "id", "is_key": True}
VENDORS: dict[str, tuple[HttpHarness, dict[str, Any], tuple[str, str, int]]] = {
    "braze": (braze.HARNESS, {"external_id": ID, "email": "email", "note": "note"}, ("validation", "email", 201)),
    "intercom": (
        intercom.HARNESS,
        {"external_id": ID, "email": "email", "custom_attributes.note": "note"},
        ("validation", "email", 422),
    ),
    "iterable": (iterable.HARNESS, {"userId": ID, "email": "email", "dataFields.note": "note"}, ("validation", "email", 200)),
    "mailchimp": (
        mailchimp.HARNESS,
        {
            "email_address": ID,
            "status": {"kind": "constant", "constant": "subscribed"},
            "merge_fields.EMAIL": "email",
            "merge_fields.NOTE": "note",
        },
        ("validation", "email", 200),
    ),
    "zendesk": (
        zendesk.HARNESS,
        {"external_id": ID, "name": "id", "email": "email", "user_fields.note": "note"},
        ("validation", "email", 200),
    ),
}


@pytest.mark.parametrize("vendor", VENDORS)
def test_bad_row_is_one_dead_letter_and_is_delivered_once_it_is_corrected(tmp_path: Path, vendor: str):
    harness, mapping, cause = VENDORS[vendor]
    rows = [{"id": f"k{number}", "email": f"k{number}@ok.test", "note": "ä"} for number in range(6)]
    rows[3]["email"] = "bad"
    with harness.opened() as world:
        world.emulator.patience = 0  # a job is done when it is asked after first
        sync = WholeSync(
            tmp_path,
            rows,
            kind=harness.kind,
            config=harness.config(world.server.url),
            secrets=harness.secrets,
            destination_object=harness.object_name,
            mapping=mapping,
        )
        run = sync.run()
        assert (run.status, run.accepted_count, run.dead_lettered_count) == (RunStatus.PARTIAL, 5, 1)
        assert sync.causes() == {"k3": cause}
        assert world.stored().keys() == {row["id"] for row in rows if row["id"] != "k3"}
        assert world.stored()["k1"]["note"] == "ä"
        assert run.steps.filter(kind=StepKind.UPLOAD).count() >= 1

        sync.sql("UPDATE contacts SET email = 'k3@ok.test' WHERE id = 'k3'")
        after = sync.run()
        assert (after.status, after.accepted_count, after.unchanged_count) == (RunStatus.SUCCEEDED, 1, 5)
        assert sync.entries()["k3"].status == EntryStatus.RESOLVED
        assert world.stored()["k3"]["email"] == "k3@ok.test"
