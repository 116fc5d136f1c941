"""What a person may type or set is named somewhere in the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import get_commands

from syncs.destinations.registry import DESTINATION_KINDS
from syncs.errors import ErrorType
from syncs.sources.registry import SOURCE_KINDS

ROOT = Path(__file__).resolve().parents[2]
APPS = ("retl_project", "syncs", "dlq", "monitoring")
PAGES = sorted((ROOT / "docs").rglob("*.md"))
TEXT = "\n".join(path.read_text() for path in [*PAGES, ROOT / "README.md"])
COMMANDS = sorted(name for name, app in get_commands().items() if app in APPS)
VARIABLES = sorted(set(re.findall(r"env(?:\.\w+)?\(\s*\"([A-Z_]+)\"", (ROOT / "retl_project" / "settings.py").read_text())))
TARGETS = sorted(re.findall(r"^([a-z][a-z-]*):.*## ", (ROOT / "Makefile").read_text(), re.M))


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_documented(name: str):
    assert f"`{name}" in TEXT or f"manage.py {name}" in TEXT


@pytest.mark.parametrize("name", sorted(settings.RETL))
def test_setting_is_documented(name: str):
    assert f"`{name}`" in TEXT


@pytest.mark.parametrize("name", VARIABLES)
def test_environment_variable_is_documented(name: str):
    assert f"`{name}`" in TEXT


@pytest.mark.parametrize("name", sorted({*SOURCE_KINDS, *DESTINATION_KINDS}))
def test_kind_of_connection_is_documented(name: str):
    assert f"`{name}`" in TEXT


@pytest.mark.parametrize("name", sorted(ErrorType))
def test_error_type_is_documented(name: str):
    assert f"`{name}`" in TEXT


@pytest.mark.parametrize("name", TARGETS)
def test_make_target_is_documented(name: str):
    assert f"`make {name}" in TEXT or f"make {name}" in TEXT


def links() -> list[tuple[Path, str]]:
    found = []
    for page in [*PAGES, *ROOT.glob("*.md")]:
        prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
        found += [(page, link) for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", prose) if "://" not in link]
    return found


def test_links_between_pages_lead_somewhere():
    broken = [f"{page.relative_to(ROOT)}: {link}" for page, link in links() if not (page.parent / link).exists()]
    assert broken == []


def test_every_page_is_linked_from_the_index():
    index = ROOT / "docs" / "index.md"
    linked = {(page.parent / link).resolve() for page, link in links() if page == index}
    assert [str(page.relative_to(ROOT)) for page in PAGES if page != index and page not in linked] == []
