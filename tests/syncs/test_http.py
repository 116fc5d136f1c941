from __future__ import annotations

import gzip
import os
import socket
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from syncs.errors import AddressRefusedError, ConfigError
from syncs.http import AddressGuard, Failure, FailureKind, Redactor, Response, Session, parse_retry_after, parse_url
from tests.servers import Answer, Server, tls_pair

LOOPBACK = ("127.0.0.0/8",)


def session(**kwargs):
    kwargs.setdefault("allowed_private_networks", LOOPBACK)
    return Session(**kwargs)


def failure(result) -> Failure:
    assert isinstance(result, Failure), result
    return result


# -- the address guard


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.31.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "192.0.0.192",
        "192.0.2.1",
        "198.18.0.1",
        "168.63.129.16",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "0.0.0.0",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "2002:a9fe:a9fe::1",
        "2001:0:1::1",
        "2001:db8::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
    ],
)
def test_guard_refuses_address_of_special_range(address):
    with pytest.raises(AddressRefusedError):
        AddressGuard().check(parse_url("https://api.example.com"), [address])


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:4700::1111", "198.20.0.1"])
def test_guard_lets_public_address_pass(address):
    AddressGuard().check(parse_url("https://api.example.com"), [address])


def test_guard_refuses_when_one_of_several_addresses_is_private():
    with pytest.raises(AddressRefusedError, match=r"10\.0\.0\.1"):
        AddressGuard().check(parse_url("https://api.example.com"), ["8.8.8.8", "10.0.0.1"])


def test_guard_refuses_metadata_even_in_allowed_range():
    guard = AddressGuard(["169.254.0.0/16", "0.0.0.0/0"])
    with pytest.raises(AddressRefusedError):
        guard.check(parse_url("https://api.example.com"), ["169.254.169.254"])


def test_guard_wants_https_for_public_address():
    with pytest.raises(AddressRefusedError, match="https"):
        AddressGuard(LOOPBACK).check(parse_url("http://api.example.com"), ["8.8.8.8"])


def test_guard_names_setting_for_bad_network():
    with pytest.raises(ConfigError, match="not a network"):
        AddressGuard(["10.0.0.0/99"])


@pytest.mark.parametrize(
    "host",
    ["0x7f.1", "2130706433", "0177.0.0.1", "127.1", "①②⑦.⓪.⓪.①", "ⓛocalhost", "[::1]", "[::ffff:127.0.0.1]", "localhost"],
)
def test_disguised_loopback_is_refused(host):
    with pytest.raises((AddressRefusedError, ConfigError)) as caught:
        Session(connect_seconds=5).send("GET", f"https://{host}:9/")
    if host != "[::ffff:127.0.0.1]":
        assert caught.value.code == "address_refused"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com",
        "//example.com",
        "https://",
        "https://user:pw@example.com",
        "https://good.com\\@evil.com",
        "https://exa mple.com",
        "https://example.com:99999",
        "https://example.com/a b",
        "https://example.com/a\r\nX: y",
        "https://[::1",
        "https://a..b",
        "nonsense",
    ],
)
def test_parse_url_refuses(url):
    with pytest.raises(ConfigError):
        parse_url(url, field="base_url")


def test_connection_is_pinned_and_checked_again_when_name_is_rebound():
    answers = ["127.0.0.1"]
    asked = []

    def resolver(host, port):
        asked.append(host)
        return [answers[0]]

    with Server(lambda request: Answer.json({}, headers={"Connection": "close"})) as server:
        client = session(resolver=resolver)
        url = f"http://rebind.test:{server.port}/"
        assert isinstance(client.send("GET", url), Response)
        assert server.requests[0].headers["host"] == f"rebind.test:{server.port}"
        answers[0] = "169.254.169.254"
        with pytest.raises(AddressRefusedError):
            client.send("GET", url)
    assert asked == ["rebind.test", "rebind.test"]


def test_resolver_that_flips_between_check_and_connect_is_asked_once_per_connection():
    flips = iter([["127.0.0.1"], ["10.0.0.1"], ["10.0.0.1"]])
    with Server() as server:
        client = session(resolver=lambda host, port: next(flips))
        assert isinstance(client.send("POST", f"http://flip.test:{server.port}/", body=b"{}"), Response)
        assert isinstance(client.send("POST", f"http://flip.test:{server.port}/", body=b"{}"), Response)
    assert server.connections == 1


# -- TLS


def test_tls_is_verified_against_the_name_while_the_address_is_pinned():
    server_side, client_side = tls_pair("crm.test")
    with Server(tls=server_side, hostname="crm.test") as server:
        client = session(resolver=lambda host, port: ["127.0.0.1"], tls_context=client_side)
        response = client.send("POST", f"{server.url}/x", body=b"{}")
        assert isinstance(response, Response)
        assert response.status == 200
        wrong = failure(client.send("POST", f"https://other.test:{server.port}/x", body=b"{}"))
    assert (wrong.kind, wrong.was_sent) == (FailureKind.TLS, False)
    assert len(server.requests) == 1


def test_tls_with_unknown_authority_is_refused():
    server_side, _ = tls_pair("crm.test")
    with Server(tls=server_side) as server:
        client = session(resolver=lambda host, port: ["127.0.0.1"])
        result = failure(client.send("POST", f"https://crm.test:{server.port}/", body=b"{}"))
    assert (result.kind, result.was_sent) == (FailureKind.TLS, False)
    assert server.requests == []


def test_tls_drip_ends_at_deadline():
    server_side, client_side = tls_pair("crm.test")
    with Server(tls=server_side) as server:
        server.script(Answer(body=b"x" * 50, fault="drip", interval=0.1))
        client = session(resolver=lambda host, port: ["127.0.0.1"], tls_context=client_side)
        result = failure(client.send("GET", f"https://crm.test:{server.port}/", deadline_seconds=0.6))
    assert result.kind is FailureKind.DEADLINE


# -- deadline, cap, what was sent


@pytest.mark.parametrize("fault", ["drip", "drip_headers"])
def test_drip_of_one_byte_a_second_ends_at_deadline(fault):
    with Server() as server:
        server.script(Answer.json({"ok": True, "pad": "x" * 40}, fault=fault, interval=1.0))
        started = time.monotonic()
        result = failure(session().send("POST", server.url, body=b"{}", deadline_seconds=1.5))
        took = time.monotonic() - started
    assert (result.kind, result.was_sent) == (FailureKind.DEADLINE, True)
    assert 1.4 < took < 3


def test_server_that_never_reads_ends_at_deadline():
    listener = socket.create_server(("127.0.0.1", 0))
    try:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        result = failure(session().send("POST", url, body=b"x" * 30_000_000, deadline_seconds=0.5))
    finally:
        listener.close()
    assert result.kind is FailureKind.DEADLINE
    assert result.was_sent


def test_resolver_that_hangs_ends_at_deadline():
    release = threading.Event()

    def resolver(host, port):
        release.wait(20)
        return ["127.0.0.1"]

    try:
        result = failure(session(resolver=resolver).send("GET", "https://slow.test/", deadline_seconds=0.2))
    finally:
        release.set()
    assert (result.kind, result.was_sent) == (FailureKind.DEADLINE, False)


def test_close_after_accepting_may_have_been_processed():
    with Server() as server:
        server.script(Answer(fault="close"))
        result = failure(session().send("POST", server.url, body=b"{}"))
    assert (result.kind, result.was_sent) == (FailureKind.LOST, True)
    assert len(server.requests) == 1


def test_answer_cut_in_half_is_lost():
    with Server() as server:
        server.script(Answer.json({"ok": "x" * 100}, fault="cut"))
        result = failure(session().send("POST", server.url, body=b"{}"))
    assert (result.kind, result.was_sent, result.status) == (FailureKind.LOST, True, 200)


def test_answer_that_is_not_http_is_malformed():
    with Server() as server:
        server.script(Answer(fault="garbage"))
        result = failure(session().send("POST", server.url, body=b"{}"))
    assert (result.kind, result.was_sent) == (FailureKind.MALFORMED, True)


@pytest.mark.parametrize("headers", [{}, {"Transfer-Encoding": "chunked"}])
def test_answer_over_the_cap_is_not_read(headers):
    body = b"x" * 200_000
    if headers:
        headers = {"Transfer-Encoding": "chunked", "Content-Length": ""}
        body = b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
    with Server() as server:
        server.script(Answer(headers=headers, body=body))
        result = failure(session(max_body_bytes=100_000).send("POST", server.url, body=b"{}"))
    assert (result.kind, result.was_sent, result.status) == (FailureKind.TOO_LARGE, True, 200)


def test_compressed_answer_is_read_and_a_bomb_is_not():
    with Server() as server:
        server.script(
            Answer(headers={"Content-Encoding": "gzip"}, body=gzip.compress(b'{"ok":true}')),
            Answer(headers={"Content-Encoding": "gzip"}, body=gzip.compress(b"\0" * 50_000_000)),
        )
        client = session()
        first = client.send("GET", server.url)
        assert isinstance(first, Response)
        assert first.body == b'{"ok":true}'
        assert failure(client.send("GET", server.url)).kind is FailureKind.TOO_LARGE


def test_nobody_listens_was_not_sent():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    result = failure(session().send("POST", f"http://127.0.0.1:{port}/", body=b"{}"))
    assert (result.kind, result.was_sent) == (FailureKind.CONNECT, False)


def test_unknown_name_was_not_sent():
    def resolver(host, port):
        raise socket.gaierror(socket.EAI_NONAME, "no")

    result = failure(session(resolver=resolver).send("POST", "https://nobody.test/", body=b"{}"))
    assert (result.kind, result.was_sent) == (FailureKind.DNS, False)


# -- connections, headers, redirects


def test_connection_is_kept_for_the_next_call():
    with Server() as server:
        client = session()
        for _ in range(5):
            assert isinstance(client.send("POST", server.url, body=b"{}"), Response)
    assert server.connections == 1


def test_kept_connection_closed_by_server_is_replaced_and_the_call_arrives_once():
    with Server() as server:
        client = session()
        for number in range(5):
            server.script(Answer.json({}, fault="close_after"))
            result = client.send("POST", f"{server.url}/{number}", body=b"{}")
            assert isinstance(result, Response)
            _wait_until_stale(client)
    assert [request.path for request in server.requests] == [f"/{number}" for number in range(5)]
    assert server.connections == 5


def _wait_until_stale(client):
    wires = next(iter(client._idle.values()))
    deadline = time.monotonic() + 5
    while wires and not wires[0].is_stale() and time.monotonic() < deadline:
        time.sleep(0.001)


def test_lost_answer_on_kept_connection_is_not_sent_again_for_a_write_but_is_for_a_read():
    with Server() as server:
        client = session()
        assert isinstance(client.send("GET", server.url), Response)
        server.script(Answer(fault="close"))
        assert failure(client.send("POST", f"{server.url}/write", body=b"{}")).was_sent
        assert isinstance(client.send("GET", server.url), Response)
        server.script(Answer(fault="close"))
        assert isinstance(client.send("GET", f"{server.url}/read"), Response)
    paths = [request.path for request in server.requests]
    assert paths.count("/write") == 1
    assert paths.count("/read") == 2


def test_surplus_bytes_after_an_answer_never_answer_the_next_call():
    with Server() as server:
        forged = b"HTTP/1.1 200 X\r\nContent-Length: 6\r\n\r\nforged"
        server.script(Answer(headers={"Content-Length": "4"}, body=b"true" + forged))
        client = session()
        first, second = client.send("GET", server.url), client.send("GET", server.url)
    assert isinstance(first, Response)
    assert first.body == b"true"
    assert isinstance(second, Response)
    assert second.body == b"{}"
    assert server.connections == 2


def test_redirect_is_an_answer_and_is_not_followed():
    with Server() as target, Server() as server:
        server.script(Answer(status=307, headers={"Location": target.url}))
        result = session().send("POST", server.url, body=b'{"secret": 1}', headers={"X-Api-Key": "k"})
        assert isinstance(result, Response)
        assert result.status == 307
        assert result.headers["LOCATION"] == target.url
    assert target.requests == []


def test_environment_proxy_and_netrc_are_ignored(monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("default login a password b\n")
    monkeypatch.setenv("NETRC", os.fspath(netrc))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with Server() as server:
        assert isinstance(session().send("GET", server.url), Response)
    assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize("headers", [{"X": "a\r\nY: b"}, {"X\r\nY": "b"}, {"X": "a\0"}, {"Host": "evil"}, {"X": "\u20ac"}])
def test_header_that_would_break_the_request_is_refused(headers):
    with Server() as server, pytest.raises(ConfigError):
        session().send("GET", server.url, headers=headers)
    assert server.requests == []


def test_many_threads_share_a_session():
    with Server(lambda request: Answer(body=request.body)) as server:
        client = session()
        wrong = []

        def work(number):
            for turn in range(30):
                body = f"{number}-{turn}".encode()
                result = client.send("POST", server.url, body=body)
                if not isinstance(result, Response) or result.body != body:
                    wrong.append(result)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        client.close()
    assert wrong == []
    assert server.connections <= 8


# -- Retry-After

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "value, seconds",
    [
        ("12", 12.0),
        (" 0 ", 0.0),
        ("1.5", 1.5),
        ("999999", 3600.0),
        ("Mon, 23 Nov 2026 12:00:30 GMT", 30.0),
        ("Monday, 23-Nov-26 12:00:30 GMT", 30.0),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0.0),
        ("Mon, 23 Nov 2027 11:00:00 GMT", 3600.0),
        ("soon", None),
        ("-5", None),
        ("", None),
        (None, None),
        ("1e9", None),
        ("Mon, 99 Nov 2026 99:00:00 GMT", None),
    ],
)
def test_retry_after_in_either_form(value, seconds):
    assert parse_retry_after(value, now=NOW) == seconds


def test_retry_after_cap_is_the_callers():
    assert parse_retry_after("100", now=NOW, max_seconds=5) == 5
    assert parse_retry_after(str(timedelta(hours=1).seconds), now=NOW, max_seconds=10_000) == 3600


# -- redaction

SECRET = 'pa"ss/w+rd&1é'


@pytest.mark.parametrize(
    "text",
    [
        f"login with {SECRET} failed",
        "GET /x?pw=pa%22ss%2Fw%2Brd%261%C3%A9 refused",
        '{"echo": "pa\\"ss/w+rd&1é"}',
        "cGEic3MvdytyZCYxw6k=",
    ],
)
def test_redactor_masks_configured_secret_in_every_spelling(text):
    masked = Redactor([SECRET]).excerpt(text)
    assert "•••" in masked
    for part in ("ss/w", "ss%2Fw", "cGEic3Mv"):
        assert part not in masked


@pytest.mark.parametrize(
    "text, gone",
    [
        ("GET https://x/y?token=SECRET123&page=2", "SECRET123"),
        ("https://x/y?page=2&api_key=SECRET123", "SECRET123"),
        ("Authorization: Bearer abc.DEF-123456", "abc.DEF"),
        ("X-Api-Key: SECRET123", "SECRET123"),
        ('{"access_token": "SECRET123", "expires_in": 3}', "SECRET123"),
        ('{"user": {"Password":"SECRET 123"}}', "SECRET"),
        ("{'client_secret': 'SECRET123'}", "SECRET123"),
        ("Set-Cookie: session=SECRET123; Path=/", "SECRET123"),
        ("your token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln is bad", "eyJhbGci"),
        ("key sk_live_51Habcdefghijklmno is revoked", "51Habcdef"),
        ("got AbCdEf0123456789AbCdEf0123456789AbCd", "AbCdEf0123456789"),
    ],
)
def test_redactor_masks_what_looks_secret(text, gone):
    masked = Redactor().excerpt(text)
    assert gone not in masked
    assert "•••" in masked


@pytest.mark.parametrize(
    "text",
    [
        "property age: 'abc' is not an integer",
        "UNIQUE constraint failed: contacts.email",
        '{"id":"6f1f3a52-7f0e-4a8b-9d9b-0f7f0a1f2b3c","status":"error"}',
        "request 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 failed",
    ],
)
def test_redactor_leaves_ordinary_answers_alone(text):
    assert Redactor(["hunter22"]).excerpt(text) == text


def test_redactor_masks_short_secret_as_a_word_only():
    assert Redactor(["abc"]).excerpt("abc abcd") == "••• abcd"


def test_redactor_caps_and_never_leaves_half_a_secret():
    secret = "S3cret-" + "q" * 60
    for shift in range(0, 90, 7):
        text = "a b " * ((4096 - 70 + shift) // 4) + secret + " tail" * 2000
        masked = Redactor([secret]).excerpt(text)
        assert len(masked) <= 4096
        assert "S3cret" not in masked
    many = (secret + " ") * 500
    assert "S3cret" not in Redactor([secret]).excerpt(many)


def test_redactor_drops_control_characters_and_direction_marks():
    assert Redactor().excerpt(b"a\x00b\x1b[31m\xe2\x80\xaec\xff") == "ab[31mc\ufffd"
    assert Redactor().message("one\r\n  two") == "one two"


def test_redactor_learns_a_refreshed_token():
    redactor = Redactor(["old-token"])
    redactor.add("new-token")
    assert redactor.excerpt("old-token new-token") == "••• •••"


def test_failure_message_holds_no_query():
    result = failure(session(resolver=lambda h, p: []).send("GET", "https://x.test/?token=SECRET123"))
    assert "SECRET123" not in result.message
