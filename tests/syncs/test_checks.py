from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.conf import settings

from syncs import checks
from tests.installation import Installation

PRODUCTION = {
    "DEBUG": "0",
    "SECRET_KEY": secrets.token_urlsafe(60),
    "RETL_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
    "ALLOWED_HOSTS": "redrive.example.org",
    "DATABASE_URL": "postgresql://redrive@127.0.0.1:1/redrive",  # checks ask no database
}


pytestmark = pytest.mark.once("sqlite")  # of settings, in processes of their own


@pytest.fixture(scope="module")
def redrive() -> Iterator[Installation]:
    with Installation() as installation:
        yield installation


# -- from outside, as an operator sees it


def test_deploy_check_is_clean_under_production_settings(redrive: Installation):
    done = redrive.manage("check", "--deploy", "--fail-level", "WARNING", **PRODUCTION)
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


@pytest.mark.parametrize(
    "missing, words",
    [("SECRET_KEY", "SECRET_KEY is not set"), ("RETL_ENCRYPTION_KEYS", "RETL_ENCRYPTION_KEYS is not set")],
)
def test_start_outside_debug_without_own_keys_is_refused(redrive: Installation, missing: str, words: str):
    given = {name: value for name, value in PRODUCTION.items() if name != missing}
    done = redrive.manage("check", **given)
    assert done.returncode != 0
    assert words in done.stderr


def test_start_with_the_local_keys_outside_debug_is_refused(redrive: Installation):
    local = redrive.json(
        "from retl_project import settings as s\nprint(json.dumps([s._LOCAL_SECRET_KEY, s._LOCAL_ENCRYPTION_KEY]))"
    )
    given = redrive.manage("check", **{**PRODUCTION, "SECRET_KEY": local[0]})
    assert "SECRET_KEY is not set" in given.stderr
    # Among others too: everybody knows this key.
    given = redrive.manage("check", **{**PRODUCTION, "RETL_ENCRYPTION_KEYS": f"{Fernet.generate_key().decode()},{local[1]}"})
    assert "holds the local key" in given.stderr


def test_make_key_works_outside_debug_before_there_is_a_key(redrive: Installation):
    done = redrive.manage("make_key", DEBUG="0")
    assert done.returncode == 0, done.stderr
    assert Fernet(done.stdout.strip())
    # Only alone and by its name: nothing else may start on the local keys.
    for arguments in (("make_key", "--traceback"), ("check", "make_key"), ("migrate", "--check")):
        refused = redrive.manage(*arguments, DEBUG="0")
        assert refused.returncode != 0
        assert "SECRET_KEY is not set" in refused.stderr


def test_debug_with_a_public_host_is_refused(redrive: Installation):
    done = redrive.manage("check", ALLOWED_HOSTS="redrive.example.org")
    assert done.returncode != 0
    assert "Set DEBUG=0" in done.stderr


def test_several_workers_on_sqlite_are_warned_about_before_production(redrive: Installation):
    url = {"DATABASE_URL": f"sqlite:///{redrive.database_path}"}
    done = redrive.manage("check", "--deploy", "--fail-level", "WARNING", **{**PRODUCTION, **url}, REDRIVE_WORKERS="2")
    assert done.returncode != 0
    assert "syncs.W001" in done.stderr
    alone = redrive.manage("check", "--deploy", "--fail-level", "WARNING", **{**PRODUCTION, **url}, REDRIVE_WORKERS="1")
    assert alone.returncode == 0, alone.stderr
    plain = redrive.manage("check", "--fail-level", "WARNING", REDRIVE_WORKERS="2")
    assert plain.returncode == 0, plain.stderr


# -- each check


def ids(found: list[Any]) -> list[str]:
    return [message.id for message in found]


def test_ports_of_the_shipped_settings_are_whole():
    assert checks.check_ports(None) == []


@pytest.mark.parametrize(
    "path, expected",
    [
        ("dlq.nowhere.Sink", "syncs.E001"),
        ("", "syncs.E001"),
        ("dlq.sink.Nothing", "syncs.E001"),
        ("builtins.dict", "syncs.E002"),
    ],
)
@pytest.mark.parametrize("name", ["REJECTED_ROW_SINK", "REPROCESS_SELECTION", "PAGE_MASK"])
def test_port_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch, name: str, path: str, expected: str):
    monkeypatch.setitem(settings.RETL, name, path)
    (found,) = checks.check_ports(None)
    assert found.id == expected
    assert name in found.msg


@pytest.mark.parametrize(
    "keys, expected", [(["short"], "syncs.E003"), ([], "syncs.E004"), ([Fernet.generate_key().decode(), "x"], "syncs.E003")]
)
def test_bad_encryption_keys_are_found_without_showing_them(monkeypatch: pytest.MonkeyPatch, keys: list[str], expected: str):
    monkeypatch.setitem(settings.RETL, "ENCRYPTION_KEYS", keys)
    (found,) = checks.check_encryption_keys(None)
    assert found.id == expected
    assert "short" not in str(found)


def test_connection_pool_is_refused(monkeypatch: pytest.MonkeyPatch):
    assert checks.check_no_pool(None) == []
    monkeypatch.setattr(settings, "DATABASES", {"default": {"ENGINE": "x", "OPTIONS": {"pool": True}}})
    assert ids(checks.check_no_pool(None)) == ["syncs.E005"]


def test_lease_that_is_too_short_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(settings.RETL, "LEASE_SECONDS", 30)
    assert checks.check_lease(None) == []
    monkeypatch.setitem(settings.RETL, "LEASE_SECONDS", 2)
    assert ids(checks.check_lease(None)) == ["syncs.E006"]
