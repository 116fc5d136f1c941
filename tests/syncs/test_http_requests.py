"""Plain ``requests`` code over the guarded session: what it may rely on, and what it cannot switch off."""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from syncs.errors import AddressRefusedError, ConfigError
from syncs.http import CallFailedError, FailureKind, Redactor, Session, guarded_requests_session, set_cookies
from tests.servers import Answer, Request, Server, tls_pair

LOOPBACK = ("127.0.0.0/8",)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as started:
        yield started


@pytest.fixture
def calls() -> Iterator[requests.Session]:
    with guarded_requests_session(allowed_private_networks=LOOPBACK, deadline_seconds=5.0, max_body_bytes=1000) as made:
        yield made


def failure(caught: pytest.ExceptionInfo[requests.RequestException]) -> Any:
    cause = caught.value.__cause__
    assert isinstance(cause, CallFailedError)
    return cause.failure


def test_plain_calls_work_over_one_kept_connection(server: Server, calls: requests.Session):
    server.script(Answer.json({"id": 7}, 201, headers={"X-Request-Id": "r-1"}), Answer(body="größe".encode("latin-1")))
    made = calls.post(f"{server.url}/things", params={"q": "a b"}, json={"name": "Ána"}, headers={"X-One": "1"})
    assert (made.status_code, made.reason, made.ok, made.json()) == (201, "Created", True, {"id": 7})
    assert made.headers["x-request-id"] == "r-1"
    assert made.elapsed.total_seconds() > 0
    assert calls.get(f"{server.url}/text").content == "größe".encode("latin-1")
    sent = server.requests[0]
    assert (sent.method, sent.path, sent.query, sent.json()) == ("POST", "/things", {"q": ["a b"]}, {"name": "Ána"})
    assert (sent.headers["x-one"], sent.headers["content-type"]) == ("1", "application/json")
    assert sent.headers["user-agent"].startswith("Redrive/")
    assert server.connections == 1


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"data": {"a": "1", "b": "ä"}}, b"a=1&b=%C3%A4"),
        ({"data": "tält"}, "tält".encode()),
        ({"data": io.BytesIO(b"from a file")}, b"from a file"),
        ({"data": (part for part in (b"in ", b"parts"))}, b"in parts"),
        ({}, b""),
    ],
)
def test_every_kind_of_body_arrives_whole(server: Server, calls: requests.Session, body: dict[str, Any], expected: bytes):
    assert calls.put(f"{server.url}/x", **body).ok
    assert server.requests[0].body == expected
    assert server.requests[0].headers["content-length"] == str(len(expected))
    assert "transfer-encoding" not in server.requests[0].headers


def test_files_are_sent_as_a_form(server: Server, calls: requests.Session):
    calls.post(f"{server.url}/upload", files={"file": ("rows.csv", b"1;2", "text/csv")})
    assert b'filename="rows.csv"' in server.requests[0].body
    assert server.requests[0].headers["content-type"].startswith("multipart/form-data")


def test_streamed_answer_reads_like_any_other(server: Server, calls: requests.Session):
    server.script(Answer(body=b"one\ntwo\n"))
    assert list(calls.get(server.url, stream=True).iter_lines()) == [b"one", b"two"]


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f.1", "localhost", "169.254.169.254", "[::1]"])
def test_private_address_is_refused_before_anything_is_sent(server: Server, host: str):
    with guarded_requests_session() as calls, pytest.raises(AddressRefusedError):
        calls.get(f"https://{host}:{server.port}/")
    assert server.connections == 0


def test_name_that_resolves_to_a_private_address_is_refused(server: Server):
    with guarded_requests_session(resolver=lambda host, port: ["127.0.0.1"]) as calls, pytest.raises(AddressRefusedError):
        calls.get(f"https://api.example.com:{server.port}/")
    assert server.connections == 0


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect_is_an_answer_and_no_key_goes_to_another_host(calls: requests.Session, method: str, status: int):
    with Server() as other, Server(lambda request: Answer(status, {"Location": f"{other.url}/steal"})) as server:
        answer = calls.request(method, server.url, headers={"X-Api-Key": "key-1"}, allow_redirects=True)
        assert (answer.status_code, answer.history) == (status, [])
        assert (len(server.requests), other.requests) == (1, [])


def test_environment_changes_nothing(server: Server, calls: requests.Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    with Server() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login ana password from-netrc\n")
        monkeypatch.setenv("NETRC", str(netrc))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
        assert calls.get(server.url).ok
        assert proxy.requests == []
    assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize("weaker", [{"verify": False}, {"cert": "client.pem"}, {"proxies": {"http": "http://127.0.0.1:1"}}])
def test_guards_cannot_be_switched_off(server: Server, calls: requests.Session, weaker: dict[str, Any]):
    with pytest.raises(ConfigError):
        calls.get(server.url, **weaker)
    assert server.connections == 0


@pytest.mark.parametrize("headers", [{"Host": "internal.example.com"}, {"X-A": "1\r\nX-B: 2"}])
def test_header_that_would_change_the_call_is_refused(server: Server, calls: requests.Session, headers: dict[str, str]):
    with pytest.raises((ConfigError, requests.exceptions.InvalidHeader)):
        calls.get(server.url, headers=headers)
    assert server.requests == []


def test_password_in_the_url_is_refused(server: Server, calls: requests.Session):
    with pytest.raises(ConfigError, match="user name or password"):
        calls.get(server.url.replace("http://", "http://ana:secret@"))


def test_dripping_answer_ends_at_the_total_deadline(server: Server, calls: requests.Session):
    server.script(Answer(body=b"x" * 500, fault="drip", interval=0.05))
    started = time.monotonic()
    with pytest.raises(requests.ReadTimeout) as caught:
        calls.post(server.url, timeout=(0.2, 0.2))  # each pause is shorter than either
    assert time.monotonic() - started < 3
    assert (failure(caught).kind, failure(caught).was_sent) == (FailureKind.DEADLINE, True)


def test_timeout_never_exceeds_the_deadline_of_the_session(server: Server):
    server.script(Answer(body=b"x" * 500, fault="drip", interval=0.05))
    with guarded_requests_session(allowed_private_networks=LOOPBACK, deadline_seconds=0.3) as calls:
        started = time.monotonic()
        with pytest.raises(requests.Timeout):
            calls.get(server.url, timeout=600)
        assert time.monotonic() - started < 3


def test_answer_over_the_cap_is_an_error(server: Server, calls: requests.Session):
    server.script(Answer(body=b"x" * 1001))
    with pytest.raises(requests.RequestException, match="larger than 1,000 bytes") as caught:
        calls.get(server.url)
    assert failure(caught).kind is FailureKind.TOO_LARGE


def test_refused_connection_was_certainly_not_processed(calls: requests.Session):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(requests.ConnectionError) as caught:
            calls.post(f"http://127.0.0.1:{unused.getsockname()[1]}/")
    assert not failure(caught).was_sent


def test_lost_answer_of_a_write_may_have_been_processed_and_is_not_repeated(server: Server, calls: requests.Session):
    server.script(Answer.json({}), Answer(fault="close"))
    calls.get(server.url)
    with pytest.raises(requests.ConnectionError) as caught:
        calls.post(server.url, data="x")
    assert failure(caught).was_sent
    assert [request.method for request in server.requests] == ["GET", "POST"]


def test_tls_is_verified():
    server_side, client_side = tls_pair("127.0.0.1")
    with Server(tls=server_side) as server:
        with guarded_requests_session(allowed_private_networks=LOOPBACK) as calls, pytest.raises(requests.exceptions.SSLError):
            calls.get(server.url)
        with guarded_requests_session(allowed_private_networks=LOOPBACK, tls_context=client_side) as calls:
            assert calls.get(server.url).ok


def test_messages_of_errors_are_redacted():
    redactor = Redactor(["hunter2"])
    calls = guarded_requests_session(redactor=redactor, resolver=lambda host, port: [])
    with calls, pytest.raises(requests.ConnectionError) as caught:
        calls.get("https://hunter2.example.com/")
    assert "cannot be resolved" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_cookies_are_kept_for_their_host(server: Server, calls: requests.Session):
    foreign = "other=2; Domain=elsewhere.example.com"
    server.script(Answer(headers={"Set-Cookie": "sid=abc; Path=/; HttpOnly"}), Answer(headers={"Set-Cookie": foreign}))
    assert calls.post(f"{server.url}/login").cookies.get("sid") == "abc"
    second = calls.get(f"{server.url}/me")
    assert server.requests[1].headers["cookie"] == "sid=abc"
    assert (second.cookies.get("other"), set_cookies(second)) == (None, (foreign,))


def test_digest_authentication_of_requests_works(calls: requests.Session):
    def api(request: Request) -> Answer:
        if request.headers.get("authorization", "").startswith("Digest "):
            return Answer.json({"ok": True})
        return Answer(401, {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth"'})

    with Server(api) as server:
        answer = calls.get(server.url, auth=requests.auth.HTTPDigestAuth("ana", "secret"))
    assert (answer.status_code, len(server.requests)) == (200, 2)


def test_closing_leaves_a_session_that_was_given_open(server: Server):
    session = Session(allowed_private_networks=LOOPBACK)
    for _ in range(2):
        with guarded_requests_session(session) as calls:
            assert calls.get(server.url).ok
    assert server.connections == 1
    session.close()
