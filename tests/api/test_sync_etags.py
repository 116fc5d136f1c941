"""What is shown is never older than its ETag: an edit that was written against it would undo what somebody did in between."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncs.models import Sync
from syncs.services import sync_edits
from tests.api.kit import caller
from tests.factories import World

pytestmark = pytest.mark.django_db


def test_edit_in_the_middle_of_a_read_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync = World(tmp_path, [(1, "Ada", 36)]).sync
    client, digest = caller("operator"), sync_edits.digest

    def beside(one: Sync) -> str:
        Sync.objects.filter(pk=sync.pk, description="").update(description="theirs")
        return digest(one)

    monkeypatch.setattr(sync_edits, "digest", beside)
    read = client.get(f"/api/v1/syncs/{sync.pk}")
    shown = read.json()["description"]
    answer = client.patch(f"/api/v1/syncs/{sync.pk}", {"description": f"{shown} and ours"}, headers={"If-Match": read["ETag"]})
    assert answer.status_code == 412 or answer.json()["description"] == "theirs and ours"
