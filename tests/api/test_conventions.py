"""What every endpoint has in common, seen at the smallest one: tags."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from syncs.models import ApiKey, AuditEvent, IdempotentRequest, Tag
from tests.api.kit import Caller, caller, key_of, person, said

pytestmark = pytest.mark.django_db
TAGS = "/api/v1/tags"


def names(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [row["name"] for row in answer.json()["data"]]


def test_anonymous_is_told_how_to_come_in() -> None:
    answer = caller(None).get(TAGS)
    assert said(answer)[:2] == (401, "unauthenticated")
    assert answer["WWW-Authenticate"] == 'Bearer realm="redrive"'


@pytest.mark.parametrize("values", [{"revoked_at": timezone.now()}, {"expires_at": timezone.now() - timedelta(seconds=1)}])
def test_key_that_has_ended_is_refused(values: dict[str, Any]) -> None:
    client = Caller()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {key_of(person('viewer'), **values)}")
    assert said(client.get(TAGS))[:2] == (401, "unauthenticated")


def test_key_of_somebody_inactive_is_refused() -> None:
    client = caller("admin")
    assert client.get(TAGS).status_code == 200
    assert client.user is not None
    client.user.is_active = False
    client.user.save()
    assert client.get(TAGS).status_code == 401


def test_key_without_the_scope_is_refused_with_the_scope_named() -> None:
    status, code, issues = said(caller("admin", "read").post(TAGS, {"name": "x"}))
    assert (status, code) == (403, "scope_missing")
    assert "write" in issues["scope"]


def test_key_never_exceeds_its_owner() -> None:
    assert said(caller("viewer").post(TAGS, {"name": "x"}))[:2] == (403, "forbidden")


def test_key_is_stored_as_a_digest_only_and_its_use_is_noted() -> None:
    user = person("viewer")
    text = key_of(user)
    client = Caller()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    assert client.get(TAGS).status_code == 200
    key = ApiKey.objects.get(user=user)
    assert text[:15].endswith(key.prefix)
    assert text not in str(vars(key))
    assert key.last_used_at is not None
    assert key.last_used_from == "127.0.0.1"


def test_unknown_and_wrong_inputs_are_named() -> None:
    client = caller("operator")
    assert "name" in said(client.post(TAGS, {"name": 5}))[2]
    assert "colour" in said(client.post(TAGS, {"name": "x", "colour": "red"}))[2]
    assert "name" in said(client.post(TAGS, {"name": "a b"}))[2]
    assert said(client.generic("POST", TAGS, '{"name": ', content_type="application/json"))[:2] == (400, "malformed")
    assert said(client.generic("POST", TAGS, '{"name": "\\u0000"}', content_type="application/json"))[2].keys() == {"name"}
    assert said(client.generic("POST", TAGS, "[" * 5000, content_type="application/json"))[0] == 400
    assert said(client.generic("POST", TAGS, b'"' + b"x" * 3_000_000 + b'"', content_type="application/json"))[0] == 413
    assert said(client.generic("POST", TAGS, "name=x", content_type="application/x-www-form-urlencoded"))[0] == 415
    assert said(client.get(TAGS, {"colour": "red"}))[2].keys() == {"colour"}
    assert said(client.get(TAGS, {"limit": "0"}))[2].keys() == {"limit"}
    assert said(client.get(f"{TAGS}/999"))[:2] == (404, "not_found")
    assert said(client.get("/api/v1/nowhere"))[:2] == (404, "not_found")
    assert said(client.get("/api/v1/tags/a%0Ab/c"))[:2] == (404, "not_found")
    assert said(client.put(TAGS, {}))[:2] == (405, "method_not_allowed")
    assert not Tag.objects.exists()


def test_pages_stay_right_while_rows_arrive() -> None:
    Tag.objects.bulk_create(Tag(name=f"t{number:02}") for number in range(10))
    client = caller("viewer")
    first = client.get(TAGS, {"limit": 4})
    Tag.objects.bulk_create([Tag(name="a0"), Tag(name="t03x")])
    cursor = first.json()["meta"]["page"]["next"]
    second = client.get(TAGS, {"limit": 4, "cursor": cursor})
    assert names(first) == ["t00", "t01", "t02", "t03"]
    assert names(second) == ["t03x", "t04", "t05", "t06"]
    last = client.get(TAGS, {"limit": 9, "cursor": second.json()["meta"]["page"]["next"]})
    assert names(last) == ["t07", "t08", "t09"]
    assert last.json()["meta"]["page"] == {"limit": 9, "next": None}


def test_cursor_of_another_query_is_refused() -> None:
    Tag.objects.bulk_create(Tag(name=f"t{number}") for number in range(3))
    client = caller("viewer")
    cursor = client.get(TAGS, {"limit": 1}).json()["meta"]["page"]["next"]
    assert said(client.get(TAGS, {"cursor": cursor[:-2] + "xx"}))[2].keys() == {"cursor"}
    assert said(client.get(TAGS, {"cursor": "garbage"}))[2].keys() == {"cursor"}


def test_sparse_fields() -> None:
    tag = Tag.objects.create(name="one")
    client = caller("viewer")
    assert client.get(f"{TAGS}/{tag.pk}", {"fields": "name"}).json() == {"name": "one"}
    assert client.get(TAGS, {"fields": "name"}).json()["data"] == [{"name": "one"}]
    assert said(client.get(TAGS, {"fields": "name,colour"}))[2].keys() == {"fields"}


def test_edit_says_what_it_was_written_against() -> None:
    tag = Tag.objects.create(name="one")
    client = caller("operator")
    address = f"{TAGS}/{tag.pk}"
    etag = client.get(address)["ETag"]
    assert said(client.patch(address, {"name": "two"}))[:2] == (428, "precondition_required")
    answer = client.patch(address, {"name": "two"}, headers={"If-Match": etag})
    assert answer.status_code == 200
    assert said(client.patch(address, {"name": "three"}, headers={"If-Match": etag}))[:2] == (412, "precondition_failed")
    assert client.patch(address, {"name": "three"}, headers={"If-Match": answer["ETag"]}).json()["name"] == "three"
    assert client.delete(address, headers={"If-Match": "*"}).status_code == 204
    assert not Tag.objects.exists()


def test_audit_says_which_key_did_it() -> None:
    client = caller("operator")
    client.post(TAGS, {"name": "one"})
    event = AuditEvent.objects.get()
    assert (event.door, event.actor_id) == ("api", client.user.pk if client.user else None)
    assert event.detail == {"api_key": ApiKey.objects.get().prefix}


def test_repeated_post_is_done_once() -> None:
    client = caller("operator")
    key = {"Idempotency-Key": "abc"}
    first = client.post(TAGS, {"name": "one"}, headers=key)
    again = client.post(TAGS, {"name": "one"}, headers=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again["Idempotency-Replayed"] == "true"
    assert again["ETag"] == first["ETag"]
    assert Tag.objects.count() == 1
    assert said(client.post(TAGS, {"name": "two"}, headers=key))[:2] == (422, "idempotency_key_reused")
    other = caller("operator")
    assert said(other.post(TAGS, {"name": "one"}, headers=key))[:2] == (409, "refused")  # keys are each caller's own


def test_repeat_of_what_is_under_way_waits_and_a_failure_frees_the_key() -> None:
    client = caller("operator")
    key = {"Idempotency-Key": "abc"}
    assert client.post(TAGS, {"name": "a b"}, headers=key).status_code == 400
    assert client.post(TAGS, {"name": "one"}, headers=key).status_code == 201
    IdempotentRequest.objects.update(finished_at=None, answer=None)
    answer = client.post(TAGS, {"name": "one"}, headers=key)
    assert said(answer)[:2] == (409, "in_progress")
    assert answer["Retry-After"] == "1"


def test_limits_are_told_and_kept(settings: Any) -> None:
    settings.RETL = {**settings.RETL, "API_REQUESTS_PER_MINUTE": 2}
    client = caller("viewer")
    answers = [client.get(TAGS) for _ in range(3)]
    assert {answer["X-RateLimit-Limit"] for answer in answers} == {"2"}
    if [answer.status_code for answer in answers] == [200, 200, 200]:  # the minute changed in between
        answers = [client.get(TAGS) for _ in range(3)]
    assert answers[-1].status_code == 429
    assert 1 <= int(answers[-1]["Retry-After"]) <= 60
    assert answers[-1]["X-RateLimit-Remaining"] == "0"


def test_fault_of_ours_shows_itself_to_developers(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError

    settings.DEBUG = True
    monkeypatch.setattr("syncs.rest.paging.page", broken)
    with pytest.raises(ZeroDivisionError):
        caller("viewer").get(TAGS)


def test_session_needs_its_csrf_token() -> None:
    client = Caller(None)
    client.force_login(person("operator"))
    client.handler.enforce_csrf_checks = True
    assert client.get(TAGS).status_code == 200
    assert said(client.post(TAGS, {"name": "one"}))[:2] == (403, "forbidden")
