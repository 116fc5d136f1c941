"""Made inside a throwaway installation: one of everything, and for each role a person with keys."""

from __future__ import annotations

import tempfile
from pathlib import Path

from retl_project import roles
from syncs.services import versions
from tests import seeds
from tests.api.kit import key_of, person
from tests.security import role_world

ROLES = ("viewer", "support", "operator", "admin", "auditor")


def make() -> dict[str, list[str]]:
    """Role -> two keys: the one to ask with, and one that may be lost."""
    roles.apply()
    folder = Path(tempfile.mkdtemp(prefix="redrive-fuzz-"))
    people = {role: person(role) for role in ROLES}
    ours = role_world.make(role_world.OURS, folder, maker=people["support"])
    for one in people.values():
        ours.team.members.add(one)
    role_world.make(role_world.THEIRS, folder, beside=ours)
    for number in range(3):
        sync = seeds.sync(ours.source, ours.connection, f"Sync {number}", team=ours.team)
        versions.pin(sync)
        sync.refresh_from_db()
        run = seeds.run(sync, "partial", read=20, refused=4)
        seeds.steps(run, 2)
        seeds.entries(run, 4)
    return {role: [key_of(one), key_of(one)] for role, one in people.items()}
