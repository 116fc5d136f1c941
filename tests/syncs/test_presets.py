"""Presets: strict to read, wholly explained, and chosen on the form of a new connection."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.test import Client

from syncs.destinations import presets
from syncs.destinations.http_api import FIELDS, validate
from syncs.errors import ConfigError

SHIPPED = presets.shipped()
SECRETS = {field.name: "x" for field in FIELDS if field.is_secret}
ADD = "/admin/syncs/connection/add/?role=destination&kind=http"
GOOD = """
answer_class = "H"
title = "Billing"
like = "billing"
summary = "One a call."
[config]
base_url = "https://billing.example.com"
[config.objects.customers.operations.upsert]
method = "PUT"
path = "/customers/{key}"
[explain]
"base_url" = "Its address."
"""


def leaves(value: Any, path: str = "") -> list[str]:
    if isinstance(value, dict):
        return [leaf for name, item in value.items() for leaf in leaves(item, f"{path}.{name}" if path else name)]
    return [path]


def test_there_is_one_for_each_class():
    assert [preset.answer_class for preset in SHIPPED] == list("ABCDEFGH")


@pytest.mark.parametrize("preset", SHIPPED, ids=lambda preset: preset.name)
def test_every_setting_of_a_preset_is_explained_and_valid(preset):
    explained = [line.path for line in preset.lines]
    lacking = [
        leaf for leaf in leaves(preset.config) if not any(leaf == path or leaf.startswith(f"{path}.") for path in explained)
    ]
    own = [leaf for leaf in lacking if not leaf.startswith("objects.")]
    below = [leaf for leaf in lacking if leaf.startswith("objects.")]
    assert (own, below) == ([], [])
    assert validate(preset.config, SECRETS) == []
    assert set(preset.config) <= {field.name for field in FIELDS}


@pytest.mark.parametrize(
    "old, new, named",
    [
        ('title = "Billing"', 'titel = "Billing"', "titel: There is no such key. Did you mean “title”?"),
        ('like = "billing"', "", "like: Is required."),
        ('answer_class = "H"', 'answer_class = "Z"', "answer_class: “Z” is not a class"),
        ('method = "PUT"', 'metod = "PUT"', "config.objects.customers.operations.upsert.metod: There is no such key"),
        ('method = "PUT"', 'id = "a..b"', "config.objects.customers.operations.upsert.id: “a..b” is not a path"),
        (
            'method = "PUT"',
            "success = {status = [204], present = ['id']}",
            "success.status: An answer of status 204 has no body",
        ),
        ('"base_url" = ', '"base_ulr" = ', "explain.base_ulr: There is no such setting"),
        ('title = "Billing"', "title = ", "cannot be read as TOML"),
        ('base_url = "https', 'base_url = "ftp', "config.base_url"),
    ],
)
def test_bad_file_names_itself_and_the_key(tmp_path: Path, old: str, new: str, named: str):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(ConfigError) as error:
        presets.load_file(path)
    assert error.value.message.startswith("mine.toml: ")
    assert named in error.value.message


def test_folder_offers_the_good_ones_and_tells_of_the_others(tmp_path: Path, admin_client: Client, settings: Any):
    (tmp_path / "billing.toml").write_text(GOOD)
    (tmp_path / "broken.toml").write_text(GOOD.replace("title", "<b>titel</b>"))
    (tmp_path / "bad.toml").write_text(GOOD.replace("title", "titel"))
    (tmp_path / "a-atomic.toml").write_text(GOOD)
    settings.RETL = {**settings.RETL, "PRESET_FOLDER": str(tmp_path)}
    html = admin_client.get(ADD).content.decode()
    assert "preset=billing" in html
    assert html.count("preset=a-atomic") == 1
    assert "bad.toml: titel: There is no such key" in html
    assert "<b>titel" not in html
    warned = [str(message.msg) for message in run_checks() if message.id == "syncs.W003"]
    assert sorted(text.split(":")[0] for text in warned) == ["Preset a-atomic.toml", "Preset bad.toml", "Preset broken.toml"]


def test_missing_folder_is_told_by_the_check(tmp_path: Path, settings: Any):
    settings.RETL = {**settings.RETL, "PRESET_FOLDER": str(tmp_path / "none")}
    assert [message.id for message in run_checks() if "There is no folder" in str(message.msg)] == ["syncs.W003"]


@pytest.mark.parametrize("preset", SHIPPED, ids=lambda preset: preset.name)
def test_form_begins_with_the_chosen_preset_and_explains_it(admin_client: Client, preset):
    answer = admin_client.get(f"{ADD}&preset={preset.name}")
    form = answer.context["adminform"].form
    assert form["config__base_url"].value() == preset.config["base_url"]
    assert form["config__objects"].value() == preset.config["objects"] or preset.name in str(answer.context["preset"].name)
    html = answer.content.decode()
    assert all(line.explanation.split(".")[0].split("'")[0][:30] in html for line in preset.lines)


def test_preset_as_it_is_saves_a_connection_that_holds_it(admin_client: Client):
    from syncs.models import Connection
    from tests.syncs.admin_forms import posted

    preset = next(preset for preset in SHIPPED if preset.name == "c-position")
    url = f"{ADD}&preset=c-position"
    answer = admin_client.post(url, posted(admin_client.get(url)) | {"name": "CRM", "secret__token": "t"})
    assert answer.status_code == 302
    assert Connection.objects.get(name="CRM").config == preset.config


@pytest.mark.parametrize("address", [f"{ADD}&preset=nope", f"{ADD}&preset=../a-atomic"])
def test_unknown_preset_is_not_found(admin_client: Client, address: str):
    assert admin_client.get(address).status_code == 404


def test_other_kinds_offer_no_presets(admin_client: Client):
    assert "presets-title" not in admin_client.get(ADD.replace("http", "database")).content.decode()


def test_page_of_the_documentation_names_each_and_its_example_is_one(tmp_path: Path):
    page = (Path(__file__).resolve().parents[2] / "docs" / "presets.md").read_text()
    assert all(f"`{preset.name}`" in page for preset in SHIPPED)
    example = page.split("```toml")[1].split("```")[0]
    assert tomllib.loads(example)
    path = tmp_path / "example.toml"
    path.write_text(example)
    assert presets.load_file(path).answer_class == "H"
