"""The API reference and the pages of API keys in a real browser: strict content policy, phone, dark, "Try it out"."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from syncs.models import Tag
from tests import seeds
from tests.api.kit import key_of
from tests.journeys import test_browser_console as console
from tests.journeys.test_browser_console import DESKTOP, PHONE, Visit, browser

__all__ = ["browser"]
pytestmark = console.pytestmark
SHOTS = os.environ.get("REDRIVE_SHOTS", "")
LOOKS = [("light", DESKTOP, "light"), ("dark", DESKTOP, "dark"), ("phone", PHONE, "dark")]


@pytest.fixture
def visit(browser: Any, live_server: Any) -> Iterator[Callable[..., Visit]]:
    seeds.user("ana", is_superuser=True)
    yield from console.visiting(browser, live_server.url)


def shoot(seen: Visit, name: str) -> None:
    if SHOTS:
        seen.page.screenshot(path=f"{Path(SHOTS)}/{name}.png", full_page=True)


@pytest.mark.parametrize(
    ("name", "viewport", "scheme"), [("light", DESKTOP, "light"), ("dark", DESKTOP, "dark"), ("phone", PHONE, "dark")]
)
def test_reference_obeys_the_content_policy_and_fits(visit: Any, name: str, viewport: dict[str, int], scheme: str):
    seen = visit(viewport=viewport, color_scheme=scheme)
    seen.go("/api/docs")
    seen.page.wait_for_selector(".opblock-tag")
    shoot(seen, f"api-docs-{name}")
    seen.page.click("#operations-tag-Tags")
    seen.page.click("#operations-Tags-tags_create .opblock-summary-control")
    seen.page.wait_for_selector("#operations-Tags-tags_create .responses-table")
    assert seen.overflow <= 0
    shoot(seen, f"api-docs-{name}-open")
    assert seen.complaints == []
    assert seen.foreign == []


def test_try_it_out_acts_by_the_session(visit: Any):
    seen = visit()
    seen.go("/api/docs")
    seen.page.click("#operations-tag-Tags")
    block = seen.page.locator("#operations-Tags-tags_create")
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Try it out").click()
    block.locator("textarea.body-param__text").fill('{"name": "tried"}')
    block.get_by_role("button", name="Execute").click()
    block.locator(".live-responses-table .response-col_status", has_text="201").wait_for()
    assert Tag.objects.get().name == "tried"
    shoot(seen, "api-docs-tried")
    assert seen.complaints == []


@pytest.mark.parametrize(
    ("name", "viewport", "scheme"), [("light", DESKTOP, "light"), ("dark", DESKTOP, "dark"), ("phone", PHONE, "light")]
)
def test_pages_of_keys_obey_the_content_policy_and_fit(visit: Any, name: str, viewport: dict[str, int], scheme: str):
    seen = visit(viewport=viewport, color_scheme=scheme)
    ana = seeds.User.objects.get(username="ana")
    for scopes in (("read", "run"), ("read", "run", "dlq:act", "dlq:raw", "write", "admin")):
        key_of(ana, *scopes)
    for path in ("apikey/", "apikey/?whose=all", "apikey/add/", "serviceaccount/", "serviceaccount/add/"):
        seen.go(f"/admin/syncs/{path}")
        shoot(seen, f"keys-{name}-{path.replace('/', '-').replace('?', '-')}")
        assert seen.overflow <= 0, path
    seen.go("/admin/syncs/apikey/")
    seen.page.locator("summary", has_text="Rotate").first.click()
    shoot(seen, f"keys-{name}-rotate")
    assert seen.overflow <= 0
    seen.page.get_by_role("button", name="Make a new key").first.click()
    seen.page.wait_for_selector("#id_secret")
    assert seen.page.input_value("#id_secret").startswith("rd_")
    shoot(seen, f"keys-{name}-secret")
    assert seen.overflow <= 0
    assert seen.complaints == []
    assert seen.foreign == []
