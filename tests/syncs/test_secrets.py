from __future__ import annotations

import pytest
from cryptography.fernet import Fernet
from django.conf import settings
from django.core import serializers
from django.core.management import call_command
from django.db import connection

from syncs.models import Connection
from syncs.secrets import Cipher, SecretsError, key_id
from tests.syncs.objects import make_connection

OLD, NEW, OTHER = (Fernet.generate_key().decode() for _ in range(3))


def test_value_comes_back_and_the_text_shows_nothing():
    cipher = Cipher([OLD])
    text = cipher.encrypt({"token": "hunter2", "größe": "ä"})
    assert "hunter2" not in text
    assert text.startswith(key_id(OLD) + ":")
    assert cipher.decrypt(text) == {"token": "hunter2", "größe": "ä"}


def test_first_key_encrypts_and_all_decrypt():
    text = Cipher([OLD]).encrypt({"a": 1})
    rotated = Cipher([NEW, OLD])
    assert rotated.decrypt(text) == {"a": 1}
    assert rotated.encrypt({"a": 1}).startswith(rotated.current_key_id)
    assert rotated.current_key_id == key_id(NEW)


def test_missing_key_is_named():
    text = Cipher([OLD]).encrypt({"token": "hunter2"})
    with pytest.raises(SecretsError, match=key_id(OLD)) as caught:
        Cipher([OTHER]).decrypt(text)
    assert "hunter2" not in str(caught.value)


def changed_in_the_middle(text: str) -> str:
    return text[:60] + ("A" if text[60] != "A" else "B") + text[61:]


@pytest.mark.parametrize(
    "damage", [lambda text: text[:-4], changed_in_the_middle, lambda text: key_id(OLD) + ":", lambda text: "plain"]
)
def test_damaged_value_raises(damage):
    cipher = Cipher([OLD])
    with pytest.raises(SecretsError):
        cipher.decrypt(damage(cipher.encrypt({"a": 1})))


@pytest.mark.parametrize("keys", [[], ["short"], [OLD, ""]])
def test_keys_that_are_none_are_refused(keys: list[str]):
    with pytest.raises(ValueError):
        Cipher(keys)


@pytest.mark.django_db
def test_database_and_dumps_hold_no_secret():
    saved = make_connection(secrets={"token": "hunter2"})
    with connection.cursor() as cursor:
        cursor.execute("SELECT secrets FROM syncs_connection WHERE id = %s", [saved.pk])
        assert "hunter2" not in cursor.fetchone()[0]
    assert "hunter2" not in serializers.serialize("json", Connection.objects.all())
    assert Connection.objects.get(pk=saved.pk).secrets == {"token": "hunter2"}


@pytest.mark.django_db
def test_wrong_key_raises_and_never_returns_ciphertext(monkeypatch: pytest.MonkeyPatch):
    saved = make_connection(secrets={"token": "hunter2"})
    monkeypatch.setitem(settings.RETL, "ENCRYPTION_KEYS", [OTHER])
    loaded = Connection.objects.get(pk=saved.pk)
    for _ in range(2):
        with pytest.raises(SecretsError):
            _ = loaded.secrets
    assert "hunter2" not in repr(Connection.objects.values_list("secrets", flat=True).get(pk=saved.pk))


@pytest.mark.django_db
def test_saving_other_fields_under_a_wrong_key_keeps_the_stored_secrets(monkeypatch: pytest.MonkeyPatch):
    saved = make_connection(secrets={"token": "hunter2"})
    with monkeypatch.context() as patch:
        patch.setitem(settings.RETL, "ENCRYPTION_KEYS", [OTHER])
        loaded = Connection.objects.get(pk=saved.pk)
        loaded.description = "changed"
        loaded.save(update_fields=["description"])
    found = Connection.objects.get(pk=saved.pk)
    assert (found.description, found.secrets) == ("changed", {"token": "hunter2"})


@pytest.mark.django_db
def test_secrets_cannot_be_searched():
    with pytest.raises(TypeError):
        Connection.objects.filter(secrets__contains="hunter2").exists()


def test_make_key_prints_a_key_that_works(capsys: pytest.CaptureFixture[str]):
    call_command("make_key")
    key = capsys.readouterr().out.strip()
    assert Cipher([key]).decrypt(Cipher([key]).encrypt({"a": 1})) == {"a": 1}
