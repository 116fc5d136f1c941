"""Whose syncs: teams, everybody's syncs, and who sees every team's."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.test import Client

from syncs.models import Run, Sync, Team
from syncs.services import access
from tests import seeds

pytestmark = pytest.mark.django_db


@pytest.fixture
def syncs(tmp_path: Path) -> dict[str, Sync]:
    source, destination = seeds.connections(str(seeds.warehouse(tmp_path / "warehouse.sqlite3")))
    made = {name: seeds.sync(source, destination, name) for name in ("Ours", "Theirs", "Everybody")}
    for name in ("Ours", "Theirs"):
        made[name].team = Team.objects.create(name=f"team of {name}")
        made[name].save(update_fields=["team"])
    return made


def seen(user: User) -> set[str] | None:
    ids = access.visible_sync_ids(User.objects.get(pk=user.pk))
    return None if ids is None else set(Sync.objects.filter(pk__in=ids).values_list("name", flat=True))


def test_members_see_their_own_and_everybodys(syncs: dict[str, Sync]):
    ida, noa = seeds.viewer("ida"), seeds.viewer("noa")
    syncs["Ours"].team.members.add(ida)
    assert seen(ida) == {"Ours", "Everybody"}
    assert seen(noa) == {"Everybody"}
    syncs["Theirs"].team.members.add(ida)
    assert seen(ida) is None  # nothing is hidden, so no condition is needed
    assert access.visible_sync_ids(AnonymousUser()) == ()


def test_right_to_every_team_and_superusers_see_all(syncs: dict[str, Sync]):
    assert seen(seeds.user("ada", "syncs.allteams_sync")) is None
    assert seen(seeds.user("root", is_superuser=True)) is None


def test_syncs_and_runs_of_others_are_not_there(syncs: dict[str, Sync]):
    ida = seeds.user("ida", "syncs.view_sync", "syncs.view_run", "syncs.run_sync", "syncs.pause_sync")
    syncs["Ours"].team.members.add(ida)
    runs = {name: seeds.run(sync, "succeeded", read=3) for name, sync in syncs.items()}
    client = Client()
    client.force_login(ida)
    listed = client.get("/admin/syncs/sync/").content.decode() + client.get("/admin/").content.decode()
    listed += client.get("/admin/syncs/run/").content.decode()
    assert "Ours" in listed
    assert "Theirs" not in listed
    theirs, run = syncs["Theirs"].pk, runs["Theirs"].pk
    for address in (f"/admin/syncs/sync/{theirs}/", f"/admin/syncs/sync/{theirs}/preview/", f"/admin/syncs/run/{run}/change/",
                    f"/admin/syncs/run/{run}/progress/"):  # fmt: skip
        assert client.get(address).status_code == 404, address
    before = Run.objects.count()
    for act in ("run", "pause"):
        assert client.post(f"/admin/syncs/sync/{theirs}/do/{act}/").status_code == 404
        client.post("/admin/syncs/sync/", {"action": f"{act}_selected", "_selected_action": [str(theirs)], "index": "0"})
    assert client.post(f"/admin/syncs/run/{run}/do/again/").status_code == 404
    assert Run.objects.count() == before
    assert not Sync.objects.get(pk=theirs).is_paused
    assert client.get(f"/admin/syncs/run/{runs['Ours'].pk}/change/").status_code == 200


def test_team_that_has_syncs_is_not_deleted_under_them(syncs: dict[str, Sync]):
    from django.db.models import ProtectedError

    with pytest.raises(ProtectedError):
        syncs["Ours"].team.delete()
