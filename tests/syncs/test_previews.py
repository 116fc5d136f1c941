"""Previews: what a run would do with rows, by mode, ledger and the destination's fields; and a few rows sent for real."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import signing
from django.test import Client
from django.utils import timezone
from django_q.models import OrmQ

from syncs.choices import SyncMode
from syncs.destinations.base import Field
from syncs.engine.hashing import canonical_body, hash64
from syncs.errors import ConfigError
from syncs.models import DeliveredRow, FieldMapping, Run, Sync
from syncs.services import previews, schemas, sends, syncs, versions, worker
from syncs.services.previews import Act
from tests import seeds
from tests.servers import Server
from tests.syncs import mapper_world as world
from tests.syncs.mapper_world import url
from tests.syncs.objects import queued

pytestmark = pytest.mark.django_db
FIELDS = [Field("external_id", type="string", is_key=True), Field("email", type="string", is_required=True, max_length=20)]
ROWS = [(f"c{number}", f"p{number}@x.example", "Ann", "pro", str(40 + number), "Lyon") for number in range(1, 8)]


@pytest.fixture
def sync(tmp_path: Path, api: Server) -> Sync:
    return made(tmp_path, api)


def made(folder: Path, api: Server, rows: list[tuple[Any, ...]] = ROWS, **values: Any) -> Sync:
    sync = world.sync(folder, url=api.url, fields=None, **values)
    path = Path(sync.source.config["path"])
    path.unlink()
    world.warehouse(path, rows)
    FieldMapping.objects.create(sync=sync, position=1, destination_field="email", column="mail")
    versions.pin(sync)
    sync.refresh_from_db()
    return sync


def accept(sync: Sync, key: str, payload: dict[str, Any] | None, *, held: dict[str, Any] | None = None) -> None:
    def content(value: dict[str, Any] | None) -> int | None:
        return None if value is None else hash64(canonical_body(value))

    known = {"payload_hash": content(payload), "held_hash": content(held), "is_hold_permanent": held is not None}
    DeliveredRow.objects.create(sync=sync, row_key=key, run_id=1, **known)


def body(number: int, **changes: Any) -> dict[str, Any]:
    return {"external_id": f"c{number}", "email": f"p{number}@x.example", **changes}


# --- what a run would do

C, U, D, L, S, R = Act.CREATE, Act.UPDATE, Act.DELETE, Act.LEAVE, Act.SKIP, Act.REFUSE
MODES = [  # new, changed, unchanged, held
    ("upsert", "changed_rows", [C, U, L, S]),
    ("insert", "changed_rows", [C, L, L, S]),
    ("update", "changed_rows", [U, U, L, S]),
    ("delete", "changed_rows", [D, D, L, S]),
    ("mirror", "changed_rows", [C, U, L, S]),
    ("upsert", "all_rows", [C, U, U, S]),
    ("insert", "all_rows", [C, L, L, S]),
]


@pytest.mark.parametrize(("mode", "detection", "acts"), MODES)
def test_each_row_is_judged_as_a_run_of_the_mode_would(sync: Sync, mode: str, detection: str, acts: list[Act]):
    Sync.objects.update(mode=mode, detection=detection)
    sync.refresh_from_db()
    accept(sync, "c2", body(2, email="old@x.example"))
    accept(sync, "c3", body(3))
    accept(sync, "c4", None, held=body(4))
    found = previews.preview(sync, keys=["c1", "c2", "c3", "c4"])
    assert [row.act for row in found.rows] == acts
    assert DeliveredRow.objects.count() == 3


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("mode", [SyncMode.UPSERT, SyncMode.INSERT, SyncMode.UPDATE, SyncMode.DELETE])
def test_preview_agrees_with_the_run_before_and_after(sync: Sync, mode: SyncMode):
    Sync.objects.update(mode=mode)
    sync.refresh_from_db()
    assert set(previews.preview(sync).acts) <= {C, U, D}
    run = ran(sync)
    assert (run.accepted_count, run.status) == (7, "succeeded")
    assert previews.preview(sync).acts == {L: 7}


def ran(sync: Sync) -> Run:
    run = queued(sync)
    worker.work(run.pk)
    run.refresh_from_db()
    return run


@pytest.mark.django_db(transaction=True)
def test_rows_that_a_run_would_send_to_another_target_are_new(sync: Sync, api: Server):
    ran(sync)
    assert previews.preview(sync).acts == {L: 7}
    Sync.objects.update(mode="delete")
    sync.refresh_from_db()
    found = previews.preview(sync)
    assert (found.starts_over, found.acts) == (True, {D: 7})


def test_mirror_names_chosen_rows_that_vanished_and_would_be_deleted(sync: Sync):
    Sync.objects.update(mode="mirror")
    sync.refresh_from_db()
    accept(sync, "gone", {"external_id": "gone"})
    found = previews.preview(sync, keys=["gone", "never", "c1"])
    assert (found.missing, found.vanished) == (("gone", "never"), ("gone",))
    assert [row.key for row in found.rows] == ["c1"]


def test_doubled_key_shows_though_the_second_row_is_past_the_limit(tmp_path: Path, api: Server):
    sync = made(tmp_path, api, [*ROWS[:2], ("c2", "other@x.example", None, None, None, None)])
    found = previews.preview(sync, limit=2)
    assert [(row.key, row.act) for row in found.rows] == [("c1", C), ("c2", R)]
    assert found.has_more
    assert previews.preview(sync, keys=["c2"]).rows[0].error.message == "Several rows have this row key."  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("column", "mapping", "payload", "error"),
    [
        ("'41'", {"type": "integer"}, {"x": 41}, ""),
        ("' 4.50 '", {"type": "decimal"}, "4.50", ""),
        ("NULL", {}, {"x": None}, ""),
        ("NULL", {"on_null": "omit"}, {}, ""),
        ("NULL", {"is_required": True}, None, "is NULL"),
        ("'young'", {"type": "integer"}, None, "is not an integer"),
        ("'Lyon'", {"destination_field": "address.city"}, {"address": {"city": "Lyon"}}, ""),
        ("'a'", {"destination_field": "tags[]"}, {"tags": ["a"]}, ""),
        ("'[1, null]'", {"type": "array"}, {"x": [1, None]}, ""),
        ('\'{"a": {"b": 1.10}}\'', {"type": "json"}, "1.10", ""),
    ],
)
def test_payload_has_the_types_of_the_mapping(
    tmp_path: Path, api: Server, column: str, mapping: dict[str, Any], payload: Any, error: str
):
    sync = made(tmp_path, api, ROWS[:1], query=f"SELECT id, mail, {column} AS x FROM people")
    FieldMapping.objects.create(sync=sync, position=2, **{"destination_field": "x", "column": "x", **mapping})
    (row,) = previews.preview(sync).rows
    if error:
        assert row.error is not None
        assert error in row.error.message
    elif isinstance(payload, str):
        assert payload in canonical_body(row.payload).decode()
    else:
        assert row.payload == body(1) | payload


# --- against the destination's fields


def know(sync: Sync, fields: list[Field]) -> None:
    user, _ = User.objects.get_or_create(username="tess")
    schemas.typed(sync.destination, sync.destination_object, fields, by=user, door="admin")


def test_violations_of_the_destinations_fields_stand_at_their_rows(tmp_path: Path, api: Server):
    rows = [*ROWS[:1], ("c2", "a.very.long.address@x.example", *ROWS[1][2:]), ("c3", None, *ROWS[2][2:])]
    sync = made(tmp_path, api, rows)
    assert previews.preview(sync).is_clean  # nobody knows any field
    know(sync, FIELDS)
    found = previews.preview(sync)
    assert [[issue.field for issue in row.violations] for row in found.rows] == [[], ["email"], ["email"]]
    assert not found.is_clean
    assert found.violation_count == 2
    assert "lets it stay empty" in found.misfits[0].message


def test_clean_preview_ends_a_drift_and_an_unclean_one_does_not(sync: Sync, admin_client: Client):
    know(sync, FIELDS)
    know(sync, [*FIELDS, Field("plan", type="string", is_required=True)])
    sync.refresh_from_db()
    assert sync.drift_since is not None
    answer = admin_client.post(url(sync, "preview"), {"rows": "5"})
    assert answer.status_code == 200
    assert "is not clean yet" in world.visible_text(answer)
    FieldMapping.objects.create(sync=sync, position=2, destination_field="plan", column="plan", is_required=True)
    looked = admin_client.get(url(sync, "preview"))
    assert "Preview once more and release them" in looked.content.decode()
    sync.refresh_from_db()
    assert sync.drift_since is not None  # looking at a page changes nothing
    done = admin_client.post(url(sync, "preview"), {"rows": "5"}, follow=True)
    assert "may be reprocessed" in world.visible_text(done)
    sync.refresh_from_db()
    assert sync.drift_since is None


def test_drift_is_judged_by_the_fields_that_changed_alone(tmp_path: Path, api: Server):
    sync = made(tmp_path, api, [*ROWS[:2], ("c3", "a.very.long.address@x.example", *ROWS[2][2:])])
    know(sync, FIELDS)
    know(sync, [*FIELDS, Field("plan", type="string", is_required=True)])
    FieldMapping.objects.create(sync=sync, position=2, destination_field="plan", column="plan", is_required=True)
    sync.refresh_from_db()
    found = previews.preview(sync)
    assert (found.violation_count, found.drifted, found.is_clean) == (1, frozenset({"plan"}), True)


def test_preview_without_a_payload_is_not_clean(tmp_path: Path, api: Server):
    assert not previews.preview(made(tmp_path, api, [])).is_clean


# --- the page


def test_page_shows_few_or_chosen_rows_within_its_queries(sync: Sync, admin_client: Client, django_assert_max_num_queries: Any):
    know(sync, FIELDS)
    with django_assert_max_num_queries(12):
        answer = admin_client.get(url(sync, "preview"), {"rows": "5"})
    assert len(answer.context["rows"]) == 5
    assert answer.context["preview"].has_more
    chosen = admin_client.get(url(sync, "preview"), {"keys": "c3\r\n\r\n c9 \r\nc3"})
    assert [one["row"].key for one in chosen.context["rows"]] == ["c3"]
    assert chosen.context["preview"].missing == ("c9",)


@pytest.mark.parametrize("query", [{"rows": "7"}, {"rows": "-1"}, {"rows": "x"}, {"keys": "  \n "}, {"rows": "9" * 5000}])
def test_nonsense_asks_for_the_usual_rows(sync: Sync, admin_client: Client, query: dict[str, str]):
    assert len(admin_client.get(url(sync, "preview"), query).context["rows"]) == 7


@pytest.mark.parametrize("keys", ["\0", "x" * 3000, "'; drop table people; --", "\n".join(str(n) for n in range(101))])
def test_strange_keys_are_looked_for_or_refused_with_a_sentence(sync: Sync, admin_client: Client, keys: str):
    answer = admin_client.get(url(sync, "preview"), {"keys": keys})
    assert answer.status_code == 200
    said = world.visible_text(answer)
    assert "no row in the query" in said or "The preview could not be made" in said
    assert previews.preview(sync).rows


def test_values_of_people_are_masked_and_the_judgement_is_of_the_true_ones(tmp_path: Path, api: Server, admin_client: Client):
    sync = made(tmp_path, api, [("c1", "a.very.long.address@x.example", *ROWS[0][2:])])
    know(sync, FIELDS)
    answer = admin_client.get(url(sync, "preview"))
    assert "very.long.address" not in answer.content.decode()
    assert "takes at most 20 characters, not 29" in world.visible_text(answer)


def test_hostile_values_are_shown_as_text(tmp_path: Path, api: Server, admin_client: Client):
    bad = '"><script>alert(1)</script>\u202e'
    sync = made(tmp_path, api, [(bad, bad, bad, bad, bad, bad)])
    FieldMapping.objects.create(sync=sync, position=2, destination_field='x"><script>y', column="plan", type="integer")
    page = admin_client.get(url(sync, "preview")).content.decode()
    offer = admin_client.post(url(sync, "send"), {"key": bad})
    for html in (page, offer.content.decode()):
        assert "<script>alert" not in html
        assert "<script>y" not in html
    assert "⟨U+202E⟩" in page


def test_huge_values_are_cut_on_the_page(tmp_path: Path, api: Server, admin_client: Client):
    sync = made(tmp_path, api, [(f"c{n}", "a@x.example", "Ann", "x" * 200_000, "41", None) for n in range(6)])
    answer = admin_client.get(url(sync, "preview"))
    assert len(answer.content) < 200_000
    assert "200,002 characters" in answer.content.decode()


# --- a few rows for real


@pytest.fixture
def ana() -> User:
    return seeds.user("ana", "syncs.view_sync", "syncs.run_sync", "syncs.view_run")


@pytest.fixture
def client_of_ana(ana: User) -> Client:
    client = Client()
    client.force_login(ana)
    return client


@pytest.mark.django_db(transaction=True)
def test_ticked_rows_are_shown_then_sent_and_no_others(sync: Sync, api: Server, client_of_ana: Client, ana: User):
    page = client_of_ana.get(url(sync, "preview"))
    assert [one["row"].key for one in page.context["rows"] if one["is_ticked"]] == ["c1", "c2", "c3", "c4", "c5"]
    offer = client_of_ana.post(url(sync, "send"), {"key": ["c2", "c4"]})
    assert [one["row"].key for one in offer.context["rows"]] == ["c2", "c4"]
    assert not Run.objects.exists()
    answer = client_of_ana.post(url(sync, "send"), {"token": offer.context["token"]})
    run = Run.objects.get()
    assert answer.headers["Location"] == f"/admin/syncs/run/{run.pk}/change/"
    assert (run.trigger, run.options, run.is_short, run.requested_by) == ("manual", {"keys": ["c2", "c4"]}, True, ana)
    assert OrmQ.objects.exists()
    worker.work(run.pk)
    run.refresh_from_db()
    assert (run.read_count, run.accepted_count) == (2, 2)
    assert sorted(request.json()["external_id"] for request in api.requests) == ["c2", "c4"]


@pytest.mark.django_db(transaction=True)
def test_unchanged_rows_are_sent_again_only_when_asked(sync: Sync, api: Server, ana: User):
    for is_full, sent in ((False, 1), (False, 1), (True, 2)):
        run = sends.send(sync, sends.offer(sync, ["c1"], by=ana).token, by=ana, is_full=is_full)
        worker.work(run.pk)
        assert len(api.requests) == sent


def test_asking_twice_gives_one_run(sync: Sync, ana: User):
    token = sends.offer(sync, ["c1"], by=ana).token
    assert sends.send(sync, token, by=ana).pk == sends.send(sync, token, by=ana).pk


@pytest.mark.parametrize(
    ("change", "keys", "words"),
    [
        ({"is_archived": True}, ["c1"], "archived"),
        ({"is_paused": True}, ["c1"], "paused"),
        ({"current_version": None}, ["c1"], "no version"),
        ({}, [], "Tick the rows"),
        ({}, ["c1", "c2", "c3", "c4", "c5", "c6"], "at most 5"),
        ({}, ["c1", "c99"], "no row “c99” any more"),
    ],
)
def test_offer_that_cannot_be_kept_is_refused(sync: Sync, ana: User, change: dict[str, Any], keys: list[str], words: str):
    Sync.objects.update(**change)
    sync.refresh_from_db()
    with pytest.raises(ConfigError, match=words):
        sends.offer(sync, keys, by=ana)
    client = Client()
    client.force_login(ana)
    assert client.post(url(sync, "send"), {"key": keys}).status_code in (302, 404)
    assert not Run.objects.exists()


@pytest.mark.parametrize("change", [{"is_archived": True}, {"is_paused": True}, {"query": f"{world.QUERY} WHERE id > 'c0'"}])
def test_sync_that_changed_since_the_rows_were_shown_sends_nothing(sync: Sync, ana: User, change: dict[str, Any]):
    token = sends.offer(sync, ["c1"], by=ana).token
    Sync.objects.update(**change)
    with pytest.raises(ConfigError):
        sends.send(sync, token, by=ana)
    assert not Run.objects.exists()


def test_confirmation_of_somebody_else_of_another_sync_or_of_long_ago_sends_nothing(sync: Sync, ana: User):
    token = sends.offer(sync, ["c1"], by=ana).token
    other = seeds.user("bo", "syncs.run_sync")
    later = timezone.now() + timedelta(hours=1)
    with pytest.raises(ConfigError, match="no longer valid"):
        sends.send(sync, token, by=other)
    with pytest.raises(ConfigError, match="no longer valid"):
        sends.send(sync, token[:-1] + ("a" if token[-1] != "a" else "b"), by=ana)
    with pytest.raises(ConfigError, match="no longer valid"):
        sends.send(sync, signing.dumps(["c1"], salt=sends._SALT), by=ana)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.core.signing.time.time", later.timestamp)
        with pytest.raises(ConfigError, match="no longer valid"):
            sends.send(sync, token, by=ana)
    assert not Run.objects.exists()


def test_sending_wants_post_and_the_right_to_run(sync: Sync, client: Client, client_of_ana: Client):
    assert client_of_ana.get(url(sync, "send")).status_code == 405
    client.force_login(seeds.viewer())
    assert client.post(url(sync, "send"), {"key": "c1"}).status_code == 403
    assert client.post(url(sync, "preview")).status_code == 403
    assert "Send ticked rows" not in client.get(url(sync, "preview")).content.decode()


def test_sync_without_a_version_is_not_offered_to_be_sent(sync: Sync, client_of_ana: Client):
    Sync.objects.update(current_version=None)
    html = client_of_ana.get(url(sync, "preview")).content.decode()
    assert "Send ticked rows" not in html
    assert "has no version yet" in html


def test_validate_and_preview_are_offered_where_they_were(sync: Sync):
    assert syncs.preview(sync).counts == previews.preview(sync).counts
