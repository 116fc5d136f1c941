"""Chains: the end of one run starts the next sync, once, and nothing is lost between the two."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from syncs.choices import ChainWhen, RunStatus, Trigger
from syncs.errors import ConfigError
from syncs.models import AuditEvent, ChainFiring, Run, Sync, SyncChain, Team
from syncs.services import chain_firings, chaining, runs, worker
from syncs.services import syncs as sync_service
from tests.api.kit import caller, person, said
from tests.factories import World
from tests.syncs.objects import make_sync

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, [("1", "Ada", 36)])


def beside(world: World, name: str, **values: Any) -> Sync:
    return make_sync(source=world.source, destination=world.target, name=name, **values)


def link(after: Sync, sync: Sync, when: str = ChainWhen.SUCCEEDED) -> SyncChain:
    return chaining.add(sync, after=after, when=when, by=person("admin"), door="api")


def ended(world: World, status: RunStatus, **values: Any) -> Run:
    """A run of the world's sync, noted as ended in this way."""
    counts = {"dead_lettered_count": 1, "read_count": 1} if status == RunStatus.PARTIAL else {}
    now = timezone.now()
    run = Run.objects.create(sync=world.sync, status=status, started_at=now, finished_at=now, **counts, **values)
    with transaction.atomic():
        chain_firings.note(run.pk, run.sync_id)
    return run


@pytest.mark.django_db(transaction=True)
def test_next_sync_runs_after_the_end(world: World) -> None:
    chain = link(world.sync, beside(world, "Next"))
    before = world.run()
    firing = ChainFiring.objects.get()
    run = Run.objects.get(sync=chain.sync)
    assert (firing.after_run, firing.run, firing.outcome) == (before, run, f"Run {run.pk} was queued.")
    assert (run.trigger, run.trigger_detail, run.status) == (Trigger.CHAIN, f"after run {before.pk}", RunStatus.QUEUED)


def test_tick_answers_what_a_dead_process_left(world: World) -> None:
    chain = link(world.sync, beside(world, "Next"))
    ended(world, RunStatus.SUCCEEDED)  # nothing is called after the commit
    assert ChainFiring.objects.get().outcome == ""
    worker.tick()
    worker.tick()
    assert Run.objects.filter(sync=chain.sync).count() == 1
    Run.objects.filter(sync=chain.sync).delete()  # retention: it is not started again
    assert chain_firings.answer_due() == 0


FIRES = {
    ChainWhen.SUCCEEDED: {RunStatus.SUCCEEDED},
    ChainWhen.DELIVERED: {RunStatus.SUCCEEDED, RunStatus.PARTIAL},
    ChainWhen.ENDED: {RunStatus.SUCCEEDED, RunStatus.PARTIAL, RunStatus.FAILED, RunStatus.CANCELLED},
}


@pytest.mark.parametrize("when", list(ChainWhen))
def test_each_end_fires_the_chains_that_wait_for_it(world: World, when: ChainWhen) -> None:
    link(world.sync, beside(world, "Next"), when)
    fired = set()
    for status in (RunStatus.SUCCEEDED, RunStatus.PARTIAL, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.SKIPPED):
        run = ended(world, status)
        if ChainFiring.objects.filter(after_run=run).exists():
            fired.add(status)
    assert fired == FIRES[when]


@pytest.mark.parametrize("values", [{"options": {"keys": ["1"]}}, {"options": {"limit": 5}}, {"trigger": Trigger.REPROCESS}])
def test_run_of_chosen_rows_fires_nothing(world: World, values: dict[str, Any]) -> None:
    link(world.sync, beside(world, "Next"))
    ended(world, RunStatus.SUCCEEDED, **values)
    assert not ChainFiring.objects.exists()


def test_run_cancelled_while_it_waits_is_an_end(world: World) -> None:
    link(world.sync, beside(world, "Next"), ChainWhen.ENDED)
    runs.cancel(runs.request(sync=world.sync, trigger=Trigger.MANUAL), by=None)
    assert ChainFiring.objects.count() == 1


def test_sync_that_does_not_run_leaves_its_reason(world: World) -> None:
    paused, archived, off = (beside(world, name) for name in ("Paused", "Archived", "Off"))
    chains = [link(world.sync, one) for one in (paused, archived, off)]
    sync_service.pause(paused, by=person("operator"), reason="")
    Sync.objects.filter(pk=archived.pk).update(is_archived=True, archived_at=timezone.now())
    ended(world, RunStatus.SUCCEEDED)
    SyncChain.objects.filter(pk=chains[2].pk).update(is_enabled=False)
    assert chain_firings.answer_due() == 0
    said_of = dict(ChainFiring.objects.values_list("chain__sync__name", "outcome"))
    assert "is paused" in said_of["Paused"]
    assert "is archived" in said_of["Archived"]
    assert "switched off" in said_of["Off"]
    assert not Run.objects.exclude(sync=world.sync).exists()


def test_run_that_waits_already_is_not_doubled(world: World) -> None:
    after = beside(world, "Next")
    link(world.sync, after)
    waiting = runs.request(sync=after, trigger=Trigger.MANUAL)
    ended(world, RunStatus.SUCCEEDED)
    chain_firings.answer_due()
    firing = ChainFiring.objects.get()
    assert (firing.run, firing.outcome) == (waiting, f"Run {waiting.pk} was waiting already.")


def test_firing_that_breaks_stops_no_other(world: World, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    first, second = beside(world, "First"), beside(world, "Second")
    link(world.sync, first)
    link(world.sync, second)
    real = runs.request

    def broken(*, sync: Sync, **given: Any) -> Run:
        if sync == first:
            raise RuntimeError("unforeseen")
        return real(sync=sync, **given)

    monkeypatch.setattr(runs, "request", broken)
    ended(world, RunStatus.SUCCEEDED)
    assert chain_firings.answer_due() == 1
    monkeypatch.undo()
    assert chain_firings.answer_due() == 1  # the next tick tries again
    assert {run.sync for run in Run.objects.filter(trigger=Trigger.CHAIN)} == {first, second}


def test_circle_is_refused_with_the_way_round(world: World) -> None:
    middle, last = beside(world, "Middle"), beside(world, "Last")
    link(world.sync, middle)
    off = link(middle, last)
    SyncChain.objects.filter(pk=off.pk).update(is_enabled=False)  # one that is off counts: it could be switched on
    answer = caller("operator").post(f"/api/v1/syncs/{world.sync.pk}/chains", {"after_id": last.pk})
    status, _, issues = said(answer)
    assert status == 400
    way = " → ".join(f"“{one.name}”" for one in (world.sync, middle, last, world.sync))
    assert way in issues["after_id"]
    middle.team = Team.objects.create(name="Finance")
    middle.save()
    hidden = said(caller("operator").post(f"/api/v1/syncs/{world.sync.pk}/chains", {"after_id": last.pk}))[2]
    assert "Middle" not in hidden["after_id"]
    assert "another team" in hidden["after_id"]


def test_chain_is_added_changed_and_deleted(world: World) -> None:
    after = beside(world, "Before")
    client = caller("operator")
    base = f"/api/v1/syncs/{world.sync.pk}/chains"
    answer = client.post(base, {"after_id": after.pk, "when": "delivered"})
    assert answer.status_code == 201
    made = answer.json()
    assert (made["after"], made["sync"]["id"], made["when"]) == ({"id": after.pk, "name": "Before"}, world.sync.pk, "delivered")
    assert client.get(base).json()["data"] == [made]
    assert client.get(f"/api/v1/syncs/{after.pk}/chains").json()["data"] == [made]
    assert said(client.post(base, {"after_id": after.pk}))[2].keys() == {"after_id"}
    assert said(client.post(base, {"after_id": world.sync.pk}))[2].keys() == {"after_id"}
    assert said(client.post(base, {"after_id": 999_999}))[2].keys() == {"after_id"}
    assert said(client.post(base, {"after_id": after.pk, "when": "never"}))[2].keys() == {"when"}
    address = answer["Location"]
    changed = client.patch(address, {"when": "ended", "is_enabled": False}, headers={"If-Match": answer["ETag"]})
    assert (changed.json()["when"], changed.json()["is_enabled"]) == ("ended", False)
    assert said(client.patch(address, {"when": "ended"}, headers={"If-Match": answer["ETag"]}))[0] == 412
    assert client.delete(address, headers={"If-Match": changed["ETag"]}).status_code == 204
    assert said(client.get(address))[0] == 404
    acts = AuditEvent.objects.filter(target_type="syncchain").order_by("id").values_list("act", "door")
    assert list(acts) == [("created", "api"), ("changed", "api"), ("deleted", "api")]


def test_firings_are_listed(world: World) -> None:
    chain = link(world.sync, beside(world, "Next"))
    run = ended(world, RunStatus.SUCCEEDED)
    chain_firings.answer_due()
    address = f"/api/v1/syncs/{world.sync.pk}/chains/{chain.pk}/firings"
    lines = caller("viewer").get(address).json()["data"]
    assert [(line["after_run_id"], line["run_id"]) for line in lines] == [(run.pk, Run.objects.latest("id").pk)]


def test_chain_to_a_sync_one_does_not_see_is_not_there(world: World) -> None:
    theirs = beside(world, "Theirs", team=Team.objects.create(name="Finance"))
    chain = link(world.sync, theirs)
    client = caller("operator")
    base = f"/api/v1/syncs/{world.sync.pk}/chains"
    assert client.get(base).json()["data"] == []
    assert said(client.get(f"{base}/{chain.pk}"))[0] == 404
    assert said(client.post(base, {"after_id": theirs.pk}))[0] == 400
    assert "Theirs" not in str(client.post(base, {"after_id": theirs.pk}).content)


def test_archived_sync_gets_no_chain(world: World) -> None:
    other = beside(world, "Old", is_archived=True, archived_at=timezone.now())
    client = caller("operator")
    assert said(client.post(f"/api/v1/syncs/{world.sync.pk}/chains", {"after_id": other.pk}))[:2] == (409, "refused")
    assert said(client.post(f"/api/v1/syncs/{other.pk}/chains", {"after_id": world.sync.pk}))[:2] == (409, "refused")


def together(*work: Callable[[], object]) -> list[BaseException | None]:
    """Each in a thread with a connection of its own, at the same moment."""
    start, found = threading.Barrier(len(work)), dict.fromkeys(range(len(work)))

    def one(number: int) -> None:
        try:
            start.wait(5)
            work[number]()
        except BaseException as error:
            found[number] = error  # type: ignore[assignment]
        finally:
            connection.close()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return list(found.values())


@pytest.mark.django_db(transaction=True)
def test_two_ticks_at_once_fire_once(world: World) -> None:
    link(world.sync, beside(world, "Next"))
    ended(world, RunStatus.SUCCEEDED)
    assert together(*[chain_firings.answer_due] * 3) == [None] * 3
    assert Run.objects.filter(trigger=Trigger.CHAIN).count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_chains_that_close_a_circle_together_are_not_both_added(world: World) -> None:
    other, by = beside(world, "Other"), person("admin")
    found = together(
        lambda: chaining.add(other, after=world.sync, by=by, door="api"),
        lambda: chaining.add(world.sync, after=other, by=by, door="api"),
    )
    assert sorted(type(one) for one in found if one is not None) == [ConfigError]
    assert SyncChain.objects.count() == 1
