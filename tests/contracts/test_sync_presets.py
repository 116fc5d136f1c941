"""Each preset in a whole sync: of good rows and a bad one the bad one alone becomes a dead letter, of the right type."""

from __future__ import annotations

from pathlib import Path

import pytest

from dlq.choices import EntryStatus
from syncs.choices import RunStatus
from tests.contracts.harness import HttpHarness
from tests.contracts.servers.http import HARNESS
from tests.contracts.whole_sync import WholeSync

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("harness", HARNESS, ids=lambda harness: harness.id)
def test_bad_row_is_one_dead_letter_and_its_batch_mates_are_delivered(tmp_path: Path, harness: HttpHarness):
    rows = [{"id": f"k{number}", "email": f"k{number}@ok.test", "note": "ä"} for number in range(8)]
    rows[3]["email"] = "bad"
    with harness.opened() as world:
        sync = WholeSync(
            tmp_path,
            rows,
            config=harness.config(world.server.url),
            secrets=harness.secrets,
            destination_object=harness.object_name,
            mapping={"external_id": {"column": "id", "is_key": True}, "email": "email", "note": "note"},
        )
        run = sync.run()
        assert (run.status, run.accepted_count, run.dead_lettered_count) == (RunStatus.PARTIAL, 7, 1)
        assert {key: cause[0] for key, cause in sync.causes().items()} == {"k3": "validation"}
        assert world.stored().keys() == {row["id"] for row in rows if row["id"] != "k3"}

        sync.sql("UPDATE contacts SET email = 'k3@ok.test' WHERE id = 'k3'")
        after = sync.run()
        assert (after.status, after.accepted_count, after.unchanged_count) == (RunStatus.SUCCEEDED, 1, 7)
        assert sync.entries()["k3"].status == EntryStatus.RESOLVED
        assert world.stored()["k3"]["email"] == "k3@ok.test"
