"""Error rules in the console: written, looked at before they are saved, applied, and their advice where the rows are."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from dlq.models import DLQEntry, Reclassification
from dlq.services import rule_drafts, rule_preview
from dlq.services.rule_preview import preview
from syncs.destinations.expressions import compiled, readable
from syncs.errors import ErrorType
from syncs.models import AuditEvent, ErrorRule, Run, Sync
from syncs.services.error_rules import Draft, Place
from tests.dlq.group_world import group_of, rejected, store
from tests.dlq.objects import client_of, make_run
from tests.dlq.test_reclassify import LOCKED, ODD, TAKEN, apply, make_rule, refused, types
from tests.syncs.objects import make_sync

pytestmark = pytest.mark.django_db
LIST, ADD = "/admin/syncs/errorrule/", "/admin/syncs/errorrule/add/"
PREVIEW, APPLY = "/admin/dlq/reclassification/preview/", "/admin/dlq/reclassification/apply/"
HOSTILE = "<script>alert(1)</script>\u202e"


def given(sync: Sync, **values: Any) -> dict[str, Any]:
    defaults = {
        "connection": sync.destination_id, "name": "Taken addresses", "statuses": "422", "text": "is taken",
        "error_type": "duplicate_key", "advice": "Merge the two.", "is_enabled": "1",
    }  # fmt: skip
    return {**defaults, **values}


def drafted(sync: Sync, text: str = "is taken", **values: Any) -> Draft:
    return Draft(Place(sync.destination), name="mine", text=text, **{"error_type": ErrorType.DUPLICATE_KEY, **values})


# --- writing


def test_a_person_writes_a_rule_looks_what_it_does_saves_and_applies_it(root: Client, sync: Sync, run: Run) -> None:
    refused(sync, run)
    page = root.post(PREVIEW, given(sync)).content.decode()
    assert "It would have decided 3 of 6 dead letters of 1 sync" in page
    assert "Nothing is saved" in page
    assert not ErrorRule.objects.exists()
    assert 'value="Taken addresses"' in root.post(ADD, given(sync, edit="1")).content.decode()
    answer = root.post(ADD, given(sync), follow=True)
    assert "“Taken addresses” is saved" in answer.content.decode()
    rule = ErrorRule.objects.get()
    assert (rule.connection, rule.statuses, rule.codes, rule.text, rule.advice, rule.is_permanent) == (
        sync.destination, [422], [], "is taken", "Merge the two.", None,
    )  # fmt: skip
    assert rule.updated_by == User.objects.get(username="root")
    page = root.get(APPLY, {"connection": sync.destination_id}).content.decode()
    assert "3 of 6 open dead letters would change" in page
    answer = root.post(APPLY, {"connection": sync.destination_id, "reason": "T-1"}, follow=True).content.decode()
    assert "The error rules are applied." in answer
    assert "Taken addresses" in answer
    assert types(sync)["t1"] == ("duplicate_key", True, rule.pk)
    page = root.get(reverse("admin:dlq_dlqentry_change", args=(DLQEntry.objects.get(row_key="t1").pk,))).content.decode()
    assert "Merge the two." in page
    assert "Validation → Duplicate key" in page
    assert "the connection had said: Validation" in page
    assert "Merge the two." in root.get(reverse("admin:dlq_errorgroup_change", args=(group_of("t1").pk,))).content.decode()
    assert "Retyped: 3 dead letters" in root.get(
        reverse("admin:dlq_errorgroup_change", args=(group_of("t1").pk,))
    ).content.decode()  # fmt: skip


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"name": " "}, "name", "Give the rule a name"),
        ({"statuses": "4xx"}, "statuses", "“4xx” is no HTTP status"),
        ({"statuses": "99"}, "statuses", "they go from 100 to 599"),
        ({"statuses": ", ".join(map(str, range(400, 460)))}, "statuses", "At most 50"),
        ({"codes": "x" * 121}, "codes", "at most 120"),
        ({"codes": "\n".join(f"c{n}" for n in range(51))}, "codes", "At most 50"),
        ({"statuses": "", "text": ""}, "text", "Give at least one condition"),
        ({"text": "(a+"}, "text", "not a valid regular expression"),
        ({"text": "x{0,400}y{0,900}z{1,900}"}, "text", "Write .* instead"),
        ({"text": "a*"}, "text", "fits an empty message"),
        ({"error_type": "mapping"}, "error_type", "Redrive alone knows"),
        ({"error_type": "no_such"}, "error_type", "There is no such type"),
        ({"is_permanent": "maybe"}, "is_permanent", "Choose one"),
        ({"advice": "x" * 2_001}, "advice", "at most 2,000"),
    ],
)
def test_a_wrong_field_is_named_with_the_way_out_and_keeps_what_was_written(
    root: Client, sync: Sync, values: dict[str, str], field: str, words: str
) -> None:
    answer = root.post(ADD, given(sync, **values))
    page = answer.content.decode()
    assert answer.status_code == 400
    assert words in page.replace("&#x27;", "'")
    assert answer.context["problems"].keys() == {field}
    assert 'value="Taken addresses"' in page or field == "name"
    assert not ErrorRule.objects.exists()
    assert root.post(PREVIEW, given(sync, **values)).status_code == 400


def test_a_rule_needs_a_place_that_exists(root: Client, sync: Sync) -> None:
    for values in ({"connection": "999999"}, {"connection": sync.source_id}, {"connection": "", "kind": "nope"}):
        answer = root.post(ADD, given(sync, **values), follow=True)
        assert "Choose the connection or the kind" in answer.content.decode()
        assert root.get(APPLY, values).status_code == 404
    assert root.get(LIST, {"kind": "nope"}).status_code == 404
    assert not ErrorRule.objects.exists()


def test_a_rule_changed_by_somebody_else_meanwhile_is_not_overwritten(root: Client, sync: Sync) -> None:
    rule = make_rule(sync.destination, name="first")
    url = reverse("admin:syncs_errorrule_change", args=(rule.pk,))
    seen = root.get(url).context["written"].seen_at.isoformat()
    answer = root.post(url, given(sync, name="mine", seen_at=seen))
    assert answer.status_code == 302
    answer = root.post(url, given(sync, name="theirs", seen_at=seen))
    assert answer.status_code == 400
    assert "Somebody has changed or deleted the rule" in answer.content.decode()
    rule.refresh_from_db()
    assert rule.name == "mine"


def test_every_change_stands_in_the_log_with_before_and_after(root: Client, sync: Sync) -> None:
    root.post(ADD, given(sync))
    root.post(ADD, given(sync, name="second"))
    first, second = ErrorRule.objects.order_by("position")
    root.post(reverse("admin:syncs_errorrule_change", args=(first.pk,)), given(sync, statuses="400 409"))
    act = reverse("admin:syncs_errorrule_act", args=(second.pk,))
    for name in ("up", "up", "off", "off", "on", "delete"):
        root.post(act, {"act": name})
    assert root.post(act, {"act": "delete"}).status_code == 404
    told = [(event.act, event.target_name) for event in AuditEvent.objects.filter(target_type="errorrule").order_by("pk")]
    assert told == [
        ("created", "Taken addresses"), ("created", "second"), ("changed", "Taken addresses"), ("moved", "second"),
        ("disabled", "second"), ("enabled", "second"), ("deleted", "second"),
    ]  # fmt: skip
    changed = AuditEvent.objects.get(act="changed")
    assert (changed.door, changed.detail) == ("admin", {"of": str(sync.destination), "statuses": [[422], [400, 409]]})
    assert AuditEvent.objects.get(act="moved").detail["place"] == [2, 1]
    assert AuditEvent.objects.get(act="deleted").detail["text"] == ["is taken", None]
    page = root.get(reverse("admin:syncs_errorrule_change", args=(first.pk,))).content.decode()
    assert "[422]" in page
    assert "[400, 409]" in page


def test_the_list_shows_a_connections_rules_and_its_kinds_in_order(root: Client, sync: Sync) -> None:
    make_rule("http", name="of the kind", text="kind")
    make_rule(sync.destination, name="later", position=1)
    make_rule(sync.destination, name="sooner", position=0, is_enabled=False)
    make_rule(make_sync().destination, name="of another")
    page = root.get(LIST, {"connection": sync.destination_id}).content.decode()
    assert page.index("sooner") < page.index("later") < page.index("of the kind")
    assert "of another" not in page
    assert "of another" in root.get(LIST).content.decode()
    assert "2 rules" in root.get(f"/admin/syncs/connection/{sync.destination_id}/").content.decode()


# --- preview


def test_preview_says_what_would_change_where_and_who_else_decides(sync: Sync, run: Run) -> None:
    refused(sync, run)
    store(run, [rejected("u", TAKEN.format(9), kind=ErrorType.UNKNOWN_OUTCOME)])
    earlier = make_rule(sync.destination, "e-mail 'p0", error_type=ErrorType.SCHEMA_DRIFT)
    user = User.objects.create_superuser("ann")
    found = preview(drafted(sync), user=user)
    assert (found.looked_count, found.matched_count, found.decided_count, found.protected_count) == (7, 4, 2, 1)
    assert (found.changed_count, found.open_count, found.is_sample) == (2, 2, False)
    assert found.earlier == [(earlier.name, 1)]
    assert [(group.pk, count) for group, count in found.groups] == [(group_of("t1").pk, 2)]
    assert [(one.before.type, one.after.type, one.count) for one in found.changes] == [("validation", "duplicate_key", 2)]
    assert "p1@example" not in found.samples[0].message  # values of people are masked
    assert types(sync)["t1"] == ("validation", True, None)
    assert not ErrorRule.objects.filter(name="mine").exists()


def test_preview_of_a_saved_rule_holds_it_at_its_place(sync: Sync, run: Run) -> None:
    refused(sync, run)
    second = make_rule(sync.destination, "e-mail", position=1, name="second")
    first = make_rule(sync.destination, "taken", position=0, name="first", is_enabled=False)
    user = User.objects.create_superuser("ann")
    assert preview(Draft.of(second), user=user).decided_count == 3
    apply(sync)
    found = preview(Draft.of(first), user=user)  # it is off: what switching it on would do
    assert (found.decided_count, found.taken) == (3, [("second", 3)])
    found = preview(Draft.of(second), user=user)
    assert (found.decided_count, found.changed_count, found.open_count) == (3, 0, 0)


def test_preview_looks_at_a_bounded_sample_and_says_so(
    root: Client, sync: Sync, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(sync, run)
    monkeypatch.setattr(rule_preview, "LOOKED_AT", 4)
    page = root.post(PREVIEW, given(sync, text="odd|locked")).content.decode()
    assert "of the last 4 dead letters" in page
    assert "There are more dead letters: this is a sample" in page
    monkeypatch.setattr(rule_preview, "SECONDS", -1.0)
    found = preview(drafted(sync), user=User.objects.get(username="root"))
    assert (found.looked_count, found.is_cut_short) == (0, True)


def test_preview_shows_syncs_that_the_person_may_see_and_no_others(sync: Sync, run: Run) -> None:
    from syncs.models import Team

    refused(sync, run)
    Sync.objects.filter(pk=sync.pk).update(team=Team.objects.create(name="others"))
    found = preview(drafted(sync), user=User.objects.create(username="stranger", is_staff=True))
    assert (found.sync_count, found.looked_count) == (0, 0)


# --- from a dead letter


@pytest.mark.parametrize(
    ("message", "expression"),
    [
        ("Property 'email' value 'p1@x.test' (id 42) is not valid.", r"Property .* value .* \(id .*\) is not valid\."),
        ("Contact 4711 already exists. Existing ID: 99", r"Contact .* already exists\. Existing ID:"),
        ("4711", ""),
        ("", ""),
    ],
)
def test_a_message_becomes_an_expression_for_its_like(message: str, expression: str) -> None:
    assert rule_drafts.expression(message) == expression
    if expression:
        other = message.replace("p1@x.test", "someone@else.test").replace("42", "7").replace("4711", "1")
        assert compiled(expression).fits(readable(other))
        assert not compiled(expression).fits("something else")


@pytest.mark.parametrize("message", ["a" * 3_000, "[(*+?{^$|\\" * 60, "é\u202e “x” " * 200, "Key 7: " + "(" * 900 + " is odd"])
def test_any_message_gives_an_expression_that_fits_it_or_none(message: str) -> None:
    found = rule_drafts.expression(message)
    assert not found or compiled(found).fits(readable(message))


def test_the_button_of_a_dead_letter_opens_the_form_with_its_answer(root: Client, sync: Sync, run: Run) -> None:
    store(run, [rejected("t", TAKEN.format(4), code="E1, E2")])
    url = reverse("admin:dlq_dlqentry_rule", args=(DLQEntry.objects.get().pk,))
    assert url in root.get(reverse("admin:dlq_dlqentry_change", args=(DLQEntry.objects.get().pk,))).content.decode()
    answer = root.get(url, follow=True)
    values = answer.context["values"]
    assert (values["statuses"], values["codes"], values["text"], values["error_type"]) == (
        "422", "E1\nE2", "E-mail .* is taken", "validation",
    )  # fmt: skip
    assert answer.context["where"].connection == sync.destination
    assert values["name"]


# --- whatever they hold


def test_hostile_texts_are_harmless_on_every_page(root: Client, sync: Sync, run: Run) -> None:
    store(run, [rejected("t", f"is taken {HOSTILE}", code=HOSTILE)])
    root.post(ADD, given(sync, name="hostile <b>", advice=HOSTILE, text=r"is taken <script>", codes=HOSTILE[:-1], statuses=""))
    rule = ErrorRule.objects.get()
    DLQEntry.objects.update(error_rule_id=rule.pk)
    ErrorRule.objects.update(name="<script>alert(2)</script>", codes=[HOSTILE])
    entry = DLQEntry.objects.get()
    for url in (
        LIST, f"{LIST}?connection={sync.destination_id}", reverse("admin:syncs_errorrule_change", args=(rule.pk,)),
        f"{PREVIEW}?rule={rule.pk}", f"{APPLY}?connection={sync.destination_id}",
        reverse("admin:dlq_dlqentry_change", args=(entry.pk,)), reverse("admin:dlq_errorgroup_change", args=(entry.group_id,)),
    ):  # fmt: skip
        answer = root.get(url)
        assert answer.status_code == 200, url
        assert "<script>alert" not in answer.content.decode(), url
        shown = re.sub(r'value="[^"]*"|<textarea.*?</textarea>', "", answer.content.decode(), flags=re.DOTALL)
        assert "\u202e" not in shown, url


def test_pages_take_at_most_twelve_queries(root: Client, sync: Sync, run: Run, django_assert_max_num_queries: Any) -> None:
    refused(sync, run)
    rule = make_rule(sync.destination, advice="Do this.")
    make_rule("http", "locked", error_type=ErrorType.TIMEOUT)
    store(
        make_run(make_sync(destination=sync.destination)), [rejected(f"z{n}", t.format(n)) for n, t in enumerate((ODD, LOCKED))]
    )
    job = apply(sync)
    entry = DLQEntry.objects.get(row_key="t0")
    for url in (
        LIST, f"{LIST}?connection={sync.destination_id}", f"{ADD}?kind=http", f"{PREVIEW}?rule={rule.pk}",
        reverse("admin:syncs_errorrule_change", args=(rule.pk,)), f"{APPLY}?kind=http",
        f"/admin/dlq/reclassification/{job.pk}/change/", "/admin/dlq/reclassification/",
        reverse("admin:dlq_dlqentry_change", args=(entry.pk,)), reverse("admin:dlq_errorgroup_change", args=(entry.group_id,)),
    ):  # fmt: skip
        with django_assert_max_num_queries(12):
            assert root.get(url).status_code == 200, url


def test_who_may_only_look_changes_nothing(sync: Sync, run: Run) -> None:
    refused(sync, run)
    rule = make_rule(sync.destination)
    client = client_of("view_dlqentry", "view_reclassification")
    assert client.get(f"{PREVIEW}?rule={rule.pk}").status_code == 403  # rules are seen by their own right
    for url, values in ((APPLY, {"connection": sync.destination_id}), (PREVIEW, given(sync)), (ADD, given(sync))):
        assert client.post(url, values).status_code == 403
    assert not Reclassification.objects.exists()
