"""The dead letter list in a real browser: keyboard, chips, views, ticks, phone, without JavaScript, and what axe finds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from dlq.models import DLQEntry, SavedView
from tests import seeds
from tests.dlq.objects import make_entries, make_entry, make_group, make_run
from tests.journeys.test_browser_console import CHROMIUM, DESKTOP, PHONE, Visit, visiting
from tests.journeys.test_browser_console import browser as browser  # the fixture
from tests.syncs.objects import make_sync

pytestmark = [
    pytest.mark.browser,
    pytest.mark.once("sqlite"),  # pages behave alike on both databases
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is missing: the list was NOT looked at in a browser"),
]
LIST = "/admin/dlq/dlqentry/"
FOCUSED_KEY = "document.activeElement.closest('tr')?.querySelector('.rd-key')?.innerText"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


@pytest.fixture
def entries() -> SimpleNamespace:
    """130 open ones of one cause and three of another, which are Ana's; the newest first is K-2, K-1, K-0."""
    ana = seeds.user("ana", is_superuser=True)
    sync = make_sync(name="Customers to CRM")
    run, now = make_run(sync), timezone.now()
    make_entries(130, run, make_group(sync), last_failed_at=now - timedelta(minutes=5), http_status=422)
    other = make_group(sync, error_type="missing_required", error_code="REQUIRED", field="stage", title="stage is required")
    for number in range(3):
        make_entry(
            run, group=other, row_key=f"K-{number}", owner=ana, error_code="REQUIRED", http_status=400, row_state="changed",
            field="stage", message="stage is required", payload=json.dumps({"stage": ""}),
            last_failed_at=now - timedelta(seconds=9 - number),
        )  # fmt: skip
    return SimpleNamespace(sync=sync, ana=ana)


@pytest.fixture
def visit(browser: Any, live_server: Any, entries: SimpleNamespace) -> Iterator[Callable[..., Visit]]:
    for one in (yield from visiting(browser, live_server.url)):
        assert one.complaints == []
        assert one.foreign == []


def ticked(page: Any) -> int:
    return int(page.locator(".rd-entries tbody input:checked").count())


def test_rows_are_walked_ticked_and_opened_by_the_keyboard_alone(visit: Callable[..., Visit]):
    desk = visit()
    page = desk.page
    desk.go(f"{LIST}?status=open")
    for keys, wanted in (("j", "K-2"), ("jj", "K-0"), ("k", "K-1"), ("kkkk", "K-2")):
        for key in keys:
            page.keyboard.press(key)
        assert page.evaluate(FOCUSED_KEY) == wanted
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    page.keyboard.press("x")
    page.keyboard.press("j")
    page.keyboard.press("x")
    assert ticked(page) == 2
    assert page.inner_text(".rd-ticked") == "2 of 50 on this page ticked"
    assert page.get_attribute(".rd-ticked", "aria-live") == "polite"
    page.keyboard.press("x")
    assert ticked(page) == 1
    page.keyboard.press("*")
    assert ticked(page) == 50
    page.keyboard.press("*")
    assert ticked(page) == 0
    page.keyboard.press("o")
    page.wait_for_selector("h1:has-text('K-1')")
    assert "in=status%3Dopen" in page.url
    page.keyboard.press("n")
    page.wait_for_selector("h1:has-text('K-0')")
    page.keyboard.press("p")
    page.wait_for_selector("h1:has-text('K-1')")


def test_a_key_asks_for_a_bulk_act_on_what_is_ticked_else_on_the_row(visit: Callable[..., Visit]):
    desk = visit()
    page = desk.page
    desk.go(f"{LIST}?status=open")
    page.keyboard.press("j")
    page.keyboard.press("d")
    page.wait_for_selector("h1:has-text('Discard 1')")
    assert DLQEntry.objects.filter(status="open").count() == 133  # asked, not done
    desk.go(f"{LIST}?status=open")
    for key in "jxjxr":
        page.keyboard.press(key)
    page.wait_for_selector("h1:has-text('Reprocess 2')")


def test_keys_are_letters_while_one_types_and_can_be_switched_off(visit: Callable[..., Visit]):
    desk = visit()
    page = desk.page
    desk.go(f"{LIST}?status=open")
    page.keyboard.press("/")
    page.keyboard.type("jjxdr?")
    assert page.input_value("#rd-q") == "jjxdr?"
    assert ticked(page) == 0
    assert page.url.endswith("?status=open")
    page.locator("#rd-q").evaluate("box => box.blur()")
    page.keyboard.press("Control+d")
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open]")
    assert "Tick the row" in page.inner_text("dialog")
    page.uncheck("#rd-keys-on")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog[open]", state="detached")
    page.reload()
    page.keyboard.press("j")
    assert page.evaluate(FOCUSED_KEY) is None
    page.click("#rd-keys-button")
    page.check("#rd-keys-on")
    page.click("dialog button")
    page.keyboard.press("j")
    assert page.evaluate(FOCUSED_KEY) == "K-2"


def test_pages_are_turned_by_keys(visit: Callable[..., Visit]):
    desk = visit()
    page = desk.page
    desk.go(f"{LIST}?status=open")
    first = page.inner_text(".rd-entries tbody tr:first-child .rd-key")
    page.keyboard.press("n")
    page.wait_for_url("**after=**")
    assert page.inner_text(".rd-entries tbody tr:first-child .rd-key") != first
    page.keyboard.press("p")
    page.wait_for_url("**before=**")
    assert page.inner_text(".rd-entries tbody tr:first-child .rd-key") == first


def test_filter_by_popover_gives_a_chip_and_an_address_to_share(visit: Callable[..., Visit]):
    desk = visit()
    page = desk.page
    desk.go(f"{LIST}?status=open")
    page.click("summary:has-text('Response code')")
    assert page.inner_text(".rd-popover:visible label:has-text('400') .rd-facet") == "3"
    page.check(".rd-popover:visible input[value='400']")
    page.click(".rd-popover:visible button")
    page.wait_for_url(f"**{LIST}?status=open&code=400")  # nothing empty in it
    assert page.locator(".rd-entries tbody tr").count() == 3
    assert "stage = empty" in page.inner_text(".rd-entries tbody tr:first-child .rd-error")
    page.click(".rd-chip-remove:has-text('Response code')")
    page.wait_for_url(f"**{LIST}?status=open")
    page.click("summary:has-text('More')")
    page.fill("input[name=attempts]", "9")
    page.click(".rd-more button")
    page.wait_for_url("**attempts=9")
    page.click(".rd-empty .rd-chip:has-text('attempts')")
    page.wait_for_url(f"**{LIST}?status=open")


def test_popovers_find_options_and_close_by_escape_and_by_a_click_beside(visit: Callable[..., Visit]):
    desk = visit()
    page = desk.page
    desk.go(f"{LIST}?status=open")
    page.click("summary:has-text('Error type')")
    page.keyboard.type("requir")  # the search box has the focus
    assert page.locator(".rd-popover:visible .rd-options label:visible").count() == 1
    page.keyboard.press("Escape")
    assert page.locator(".rd-popover:visible").count() == 0
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    page.click("summary:has-text('Status')")
    page.click("h1")
    assert page.locator(".rd-popover:visible").count() == 0


def test_view_is_saved_found_again_renamed_and_deleted(visit: Callable[..., Visit], entries: SimpleNamespace):
    desk = visit()
    page = desk.page
    desk.go(f"{LIST}?status=open&code=400")
    page.click("summary:has-text('Save this view')")
    page.fill("#rd-view-name", "Stage missing")
    page.check("input[name=shared]")
    page.click("text=Save view")
    page.wait_for_selector(".rd-views a[aria-current]:has-text('Stage missing')")
    view = SavedView.objects.get()
    assert (view.query, view.is_shared, view.owner) == ("status=open&code=400", True, entries.ana)
    page.click(".rd-views a:has-text('Open')")
    page.click(".rd-views a:has-text('Stage missing')")
    page.wait_for_url("**code=400")
    assert page.locator(".rd-entries tbody tr").count() == 3
    page.click("text=All views")
    page.click("summary:has-text('Rename')")
    page.fill(f"#rd-name-{view.pk}", "No stage")
    page.keyboard.press("Enter")
    page.wait_for_selector("th:has-text('No stage')")
    page.click("button:has-text('Delete')")
    page.wait_for_selector("text=No saved views yet")


def test_ticks_the_bar_and_all_that_match_go_together(visit: Callable[..., Visit]):
    desk = visit()
    page = desk.page
    desk.go(f"{LIST}?status=open")
    page.click(".rd-entries tbody tr:nth-child(2) input")
    page.click(".rd-entries tbody tr:nth-child(5) input", modifiers=["Shift"])
    assert ticked(page) == 4
    page.mouse.wheel(0, 1500)
    page.wait_for_function("document.querySelector('.rd-bulkbar').getBoundingClientRect().top >= 0")
    assert page.locator(".rd-bulkbar").bounding_box()["y"] < 5  # it stays in sight
    page.check("input[name=across]")
    assert page.locator(".rd-entries tbody input:disabled").count() == 50
    assert "All 133 that match" in page.inner_text(".rd-across")
    page.click(".rd-bulkbar button:has-text('Discard')")
    page.wait_for_selector("h1:has-text('Discard 133')")


def test_phone_shows_cards_and_a_bar_at_the_bottom_once_something_is_ticked(visit: Callable[..., Visit]):
    desk = visit(viewport=PHONE, has_touch=True)
    page = desk.page
    desk.go(f"{LIST}?status=open")
    assert desk.overflow <= 0
    assert page.locator(".rd-bulkbar .rd-buttons").is_hidden()
    page.tap(".rd-entries tbody tr:first-child .rd-tick input")
    box = page.locator(".rd-bulkbar .rd-buttons").bounding_box()
    assert abs(box["y"] + box["height"] - PHONE["height"]) < 2
    assert desk.overflow <= 0
    for name in ("Status", "More", "Failed"):
        page.tap(f"summary:has-text('{name}')")
        found = page.locator(".rd-popover:visible").bounding_box()
        assert found["x"] >= 0
        assert found["x"] + found["width"] <= PHONE["width"]
        page.keyboard.press("Escape")
    page.tap(".rd-bulkbar button:has-text('Reprocess')")
    page.wait_for_selector("h1:has-text('Reprocess 1')")


def test_everything_works_without_javascript(visit: Callable[..., Visit]):
    desk = visit(java_script_enabled=False)
    page = desk.page
    desk.go(f"{LIST}?status=open")
    page.click("summary:has-text('Response code')")
    page.check("input[name=code][value='400']")
    page.click("details[open] .rd-popover button")
    page.wait_for_url(f"**{LIST}?status=open&code=400")
    page.click("summary:has-text('Save this view')")
    page.fill("#rd-view-name", "Plain")
    page.click("text=Save view")
    page.wait_for_selector(".rd-views a[aria-current]:has-text('Plain')")
    page.check(".rd-entries tbody tr:first-child input")
    page.click(".rd-bulkbar button:has-text('Discard')")
    page.wait_for_selector("h1:has-text('Discard 1')")
    assert SavedView.objects.count() == 1


def test_tab_reaches_every_control_and_the_filters_can_be_skipped(visit: Callable[..., Visit]):
    desk = visit()
    page = desk.page
    desk.go(f"{LIST}?status=open&code=400")
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate("(e => (e.innerText || e.name || e.id || '').trim().split('\\n')[0])(document.activeElement)")
        )
        if seen[-1] == "K-0":
            break
    for wanted in ("Skip the filters", "Open", "Save this view", "q", "Status", "More", "Apply", "across", "Reprocess", "K-2"):
        assert any(text.startswith(wanted) for text in seen), (wanted, seen)
    page.focus(".rd-skip")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "rd-all"


@pytest.mark.parametrize(("viewport", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")])
def test_axe_finds_nothing(visit: Callable[..., Visit], viewport: dict[str, int], scheme: str, entries: SimpleNamespace):
    from axe_playwright_python.sync_playwright import Axe

    SavedView.objects.create(owner=entries.ana, name="Kept", query="status=open&code=400", is_shared=True)
    desk = visit(viewport=viewport, color_scheme=scheme)
    found = {}
    steps: list[tuple[str, str]] = [
        (f"{LIST}?status=open", ""), (f"{LIST}?status=open", "summary:has-text('More')"),
        (f"{LIST}?status=open&code=404", ""), (f"{LIST}views/", ""), (f"{LIST}?status=open", "summary:has-text('Status')"),
    ]  # fmt: skip
    for path, click in steps:
        desk.go(path)
        if click:
            desk.page.click(click)
        results = Axe().run(desk.page, options={"runOnly": {"type": "tag", "values": RULES}}).response["violations"]
        for one in results:
            found[path, click, one["id"]] = [node["html"][:150] for node in one["nodes"]][:3]
    assert found == {}
