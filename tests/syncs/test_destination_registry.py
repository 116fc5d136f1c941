"""Kinds that other packages bring by entry point: really installed on the path, good ones and broken ones."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.core.checks import run_checks
from django.test import Client

from syncs.destinations import registry
from syncs.errors import ConfigError
from syncs.models import Connection
from syncs.services import connections

ADD = "/admin/syncs/connection/add/"
GOOD = """
from syncs.connectors import ConfigField, Issue
from syncs.destinations.base import Capabilities
from syncs.records import Operation, BatchResult, WRITTEN
from syncs.connectors import CheckReport

LABEL = "Acme CRM"
FIELDS = (ConfigField("address", "Address", is_required=True),)

def validate(config, secrets):
    if config.get("address") == "boom":
        raise KeyError("a secret text")
    return [] if config.get("address") else [Issue("address", "Is required.")]

def objects(config):
    return ["people"]

class Acme:
    capabilities = Capabilities(frozenset(Operation), frozenset())
    def check(self): return CheckReport(True, "Acme answers.")
    def fields(self): return None
    def write(self, batch): return BatchResult([WRITTEN] * len(batch.records))
    def confirm(self, batch, job): raise AssertionError
    def close(self): pass

def build(*, config, **rest):
    if config["address"] == "crash":
        raise ZeroDivisionError("a secret text")
    return object() if config["address"] == "empty" else Acme()
"""
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def installed(points: dict[str, str], **modules: str) -> None:
        for name, code in modules.items():
            (tmp_path / f"{name}.py").write_text(code)
        info = tmp_path / "acme_redrive-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-redrive\nVersion: 1.0\n")
        lines = "\n".join(f"{name} = {value}" for name, value in points.items())
        (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{lines}\n")
        forget()

    yield installed
    monkeypatch.undo()
    forget()
    for name in set(sys.modules) - before:
        if name.startswith("acme_"):
            del sys.modules[name]


def forget() -> None:
    registry._installed.cache_clear()
    registry._foreign.cache_clear()


def connection(**config: str) -> Connection:
    return Connection(name="Acme", role="destination", kind="acme", config=config)


@pytest.mark.django_db
def test_kind_of_another_package_is_offered_tested_and_saved(install: Install, admin_client: Client):
    install({"acme": "acme_good"}, acme_good=GOOD)
    assert ("acme", "Acme CRM") in registry.kinds()
    assert "Acme CRM" in admin_client.get(ADD).content.decode()
    url = f"{ADD}?role=destination&kind=acme"
    assert "config__address" in admin_client.get(url).context["adminform"].form.fields
    answer = admin_client.post(url, {"name": "Acme", "config__address": "https://acme.test"})
    assert answer.status_code == 302
    assert connections.check(Connection.objects.get(name="Acme")).message == "Acme answers."
    assert connections.objects(connection(address="x")) == ["people"]


BROKEN = {
    "cannot be imported: ModuleNotFoundError": {"acme": "acme_nowhere"},
    "cannot be imported: SyntaxError": {"acme": "acme_syntax"},
    "cannot be imported: RuntimeError": {"acme": "acme_raises"},
    "lacks FIELDS, validate, objects, build": {"acme": "acme_empty"},
    "declares FIELDS that are not ConfigField": {"acme": "acme_fields"},
}
MODULES = {
    "acme_syntax": "def (",
    "acme_raises": "raise RuntimeError('no database')",
    "acme_empty": "",
    "acme_fields": GOOD + "\nFIELDS = ({'name': 'address'},)",
}


@pytest.mark.django_db
@pytest.mark.parametrize("told", BROKEN)
def test_broken_package_is_told_and_the_console_stays_whole(install: Install, admin_client: Client, told: str):
    install(BROKEN[told], **MODULES)
    stored = Connection.objects.create(name="Acme", role="destination", kind="acme", config={"address": "x"})
    with pytest.raises(ConfigError) as error:
        registry.module("acme")
    assert told in error.value.message
    assert [message.id for message in run_checks() if told in str(message.msg)] == ["syncs.W002"]
    assert "acme (cannot be used)" in admin_client.get(ADD).content.decode()
    assert told in admin_client.get(f"{ADD}?role=destination&kind=acme", follow=True).content.decode()
    assert admin_client.get("/admin/syncs/connection/").status_code == 200
    assert admin_client.get(f"/admin/syncs/connection/{stored.pk}/change/", follow=True).status_code == 200
    assert not connections.check(stored).is_ok
    assert told in stored.state_message
    assert registry.module("http")


def test_names_that_are_taken_or_odd_are_refused_and_told(install: Install):
    install({"http": "acme_good", "Big Name": "acme_good", "acme": "acme_good"}, acme_good=GOOD)
    told = dict(registry.problems())
    assert "taken by Redrive's own kind" in told["http"]
    assert "lower-case letters" in told["Big Name"]
    assert registry.module("http").__name__ == "syncs.destinations.http_api"
    assert dict(registry.kinds())["acme"] == "Acme CRM"


def test_accidents_of_the_package_become_sentences_without_its_secrets(install: Install):
    install({"acme": "acme_good"}, acme_good=GOOD)
    (issue,) = connections.validate(connection(address="boom"))
    assert (issue.field, "KeyError" in issue.message, "secret" in issue.message) == ("kind", True, False)
    for address, told in {"crash": "ZeroDivisionError", "empty": "lacks check, fields, write"}.items():
        with pytest.raises(ConfigError) as error:
            registry.build("acme", config={"address": address}, credentials=None, object_name="people", options={})
        assert told in error.value.message
        assert "secret" not in error.value.message


def test_unknown_kind_names_the_known_ones():
    with pytest.raises(ConfigError, match=r"no destination kind “nope”.*http.*salesforce"):
        registry.module("nope")
