"""Mapping a CRM in a real browser: suggestions, an error, save, preview, rows sent; with JavaScript and without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from syncs.models import Run, Sync
from syncs.services import mappings
from tests import seeds
from tests.journeys.test_browser_console import CHROMIUM, DESKTOP, PHONE, Visit, visiting
from tests.journeys.test_browser_console import browser as browser  # the fixture
from tests.syncs import mapper_world as world
from tests.syncs.mapper_world import url

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.once("sqlite"),  # pages behave alike on both databases
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is missing: the mapper was NOT looked at in a browser"),
]


@pytest.fixture
def sync(tmp_path: Path) -> Sync:
    seeds.user("ana", is_superuser=True)
    return world.sync(tmp_path)


@pytest.fixture
def visit(browser: Any, live_server: Any, sync: Sync) -> Iterator[Callable[..., Visit]]:
    yield from visiting(browser, live_server.url)


def map_and_send(seen: Visit, sync: Sync) -> None:
    """The whole way, by buttons alone: it is the same with and without JavaScript."""
    page = seen.page
    seen.go(f"/admin/syncs/sync/{sync.pk}/")
    page.click("text=Map fields")
    page.wait_for_url("**/mapping/")
    page.click("button:has-text('Take all')")
    page.wait_for_selector("#line-4")
    assert page.input_value("#value-1") == "mail"
    assert page.locator("#rd-needed").count() == 0
    page.fill("#value-2", "frist_name")
    page.click("button[value=save]")
    page.wait_for_selector("#line-2 .rd-finding-error")
    assert "Did you mean “first_name”?" in page.inner_text("#line-2 .rd-findings")
    assert [line.destination_field for line in mappings.lines(sync)] == ["external_id"]
    page.fill("#value-2", "first_name")
    page.fill("#rd-note", "first mapping")
    page.click("button[value=save_preview]")
    page.wait_for_url("**/preview/")
    assert "is saved as version 1" in page.inner_text(".messagelist")
    assert [line.column for line in mappings.lines(sync)] == ["id", "mail", "first_name", "plan", "city"]
    assert page.locator("td .badge-new:has-text('Create')").count() == 3
    page.uncheck("input[name=key][value=c2]")
    page.click("button:has-text('Send ticked rows')")
    page.wait_for_selector("h1:has-text('Send 2 rows')")
    assert not Run.objects.exists()
    page.click("button:has-text('Send 2 rows')")
    page.wait_for_url("**/admin/syncs/run/**")
    assert Run.objects.get().options == {"keys": ["c1", "c3"]}


def test_mapping_is_made_previewed_and_sent(visit: Callable[..., Visit], sync: Sync):
    seen = visit()
    map_and_send(seen, sync)
    assert (seen.complaints, seen.foreign) == ([], [])


def test_mapping_is_made_previewed_and_sent_without_javascript(visit: Callable[..., Visit], sync: Sync):
    map_and_send(visit(java_script_enabled=False), sync)


def test_lines_are_checked_while_they_are_written_and_keep_the_cursor(visit: Callable[..., Visit], sync: Sync):
    seen = visit()
    page = seen.page
    seen.go(url(sync))
    page.click("button[aria-label='Take mail for email']")
    page.wait_for_selector("#value-1:focus")
    page.fill("#value-1", "mal")
    page.wait_for_selector("#line-1 .rd-finding-error")
    assert page.evaluate("document.activeElement.id") == "value-1"
    assert page.input_value("#value-1") == "mal"
    page.fill("#field-1", "age")
    page.fill("#value-1", "age")
    page.select_option("select[name=lines-1-type]", "integer")
    page.wait_for_selector("#line-1 .rd-finding-warning:has-text('1 of 3 sample rows would be refused')")
    page.fill("#value-1", "mail")
    page.wait_for_selector("[data-live='samples-1'] code:has-text('***')")
    assert seen.complaints == []
    assert [line.destination_field for line in mappings.lines(sync)] == ["external_id"]


def test_lines_move_and_fields_are_found_by_keyboard(visit: Callable[..., Visit], sync: Sync):
    seen = visit()
    page = seen.page
    seen.go(url(sync))
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "rd-find"
    page.keyboard.type("CITY")
    assert page.locator("#rd-others li:visible").all_inner_texts()[0].startswith("address.city")
    assert page.locator("#rd-others li:visible").count() == 1
    page.keyboard.press("Enter")  # finds, and neither saves nor leaves
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#value-1:focus")
    assert page.input_value("#field-1") == "address.city"
    page.locator("#line-1 summary").click()
    page.focus("#value-1")
    page.keyboard.press("Alt+ArrowUp")
    page.wait_for_selector("#value-0:focus")
    assert page.input_value("#field-0") == "address.city"
    assert page.locator("#line-0 details[open]").count() == 1  # what was open stays open
    page.keyboard.press("Alt+ArrowUp")  # it is the first already
    assert page.input_value("#field-1") == "external_id"
    assert seen.complaints == []


def test_what_somebody_else_saved_is_shown_beside_ones_own(visit: Callable[..., Visit], sync: Sync):
    seen = visit()
    seen.go(url(sync))
    seen.page.click("button[aria-label='Take mail for email']")
    seen.page.wait_for_selector("#line-1")
    theirs = [*mappings.lines(sync), mappings.MappingField("plan", column="plan")]
    mappings.save(sync, theirs, opened=mappings.digest(sync), by=None, door="cli")
    seen.page.click("button[value=save]")
    seen.page.wait_for_selector("[role=alert]")
    said = seen.page.inner_text("[role=alert]")
    assert "was saved by somebody else" in said
    assert "column plan" in said
    assert "column mail" in said
    seen.page.click("button:has-text('Save mine over it')")
    seen.page.wait_for_selector(".messagelist .success")
    assert [line.destination_field for line in mappings.lines(sync)] == ["external_id", "email"]


@pytest.mark.parametrize(("viewport", "scheme"), [(DESKTOP, "dark"), (PHONE, "light")])
def test_pages_fit_obey_the_content_policy_and_pass_axe(
    visit: Callable[..., Visit], sync: Sync, viewport: dict[str, int], scheme: str
):
    from axe_playwright_python.sync_playwright import Axe

    seen = visit(viewport=viewport, color_scheme=scheme)
    found = {}
    for path in (url(sync), f"{url(sync, 'preview')}?rows=5", f"{url(sync, 'preview')}?keys=c1%0Agone"):
        seen.go(path)
        assert seen.overflow <= 0, path
        assert seen.page.evaluate("document.querySelectorAll('[style],style,script:not([src])').length") == 0, path
        assert seen.page.locator("h1").count() == 1
        for one in Axe().run(seen.page, options={"runOnly": {"type": "tag", "values": RULES}}).response["violations"]:
            found[path, one["id"]] = [node["html"][:150] for node in one["nodes"]][:3]
    assert found == {}
    assert seen.complaints == []
