"""The console in a real browser: strict content policy, phone, dark, keyboard, no JavaScript, live progress."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from syncs.models import Run, Sync
from tests import seeds

CHROMIUM = Path("/usr/bin/chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.once("sqlite"),  # pages behave alike on both databases
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is missing: the console was NOT looked at in a browser"),
]
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    # The driver runs an event loop in this thread; Django would take it for asynchronous code.
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield found
        found.close()
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def data(tmp_path: Path) -> Any:
    return seeds.console(str(seeds.warehouse(tmp_path / "warehouse.sqlite3")), run_count=5)


class Visit:
    """A browser context that is logged in and keeps every complaint of the console and every foreign address."""

    def __init__(self, browser: Any, base: str, **options: Any) -> None:
        self.base, self.complaints, self.foreign = base, [], []
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.complaints.append(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: None if request.url.startswith(base) else self.foreign.append(request.url))
        self.go("/admin/login/")
        self.page.fill("#id_username", "ana")
        self.page.fill("#id_password", seeds.PASSWORD)
        self.page.click("[type=submit]")
        self.page.wait_for_url("**/admin/")

    def go(self, path: str) -> None:
        assert self.page.goto(self.base + path).status == 200, path

    @property
    def overflow(self) -> int:
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def visiting(browser: Any, base: str) -> Generator[Callable[..., Visit], None, list[Visit]]:
    """For a fixture to yield from: begins visits of the console, and ends them. Returns those that were made."""
    made: list[Visit] = []

    def start(**options: Any) -> Visit:
        made.append(Visit(browser, base, **{"viewport": DESKTOP, **options}))
        made[-1].page.set_default_timeout(15_000)
        return made[-1]

    yield start
    for one in made:
        one.context.close()
    return made


@pytest.fixture
def visit(browser: Any, live_server: Any, data: Any) -> Iterator[Callable[..., Visit]]:
    yield from visiting(browser, live_server.url)


def pages(data: Any) -> list[str]:
    sync, run = "/admin/syncs/sync/", "/admin/syncs/run/"
    middle = data.syncs[2].pk
    return [
        "/admin/",
        sync,
        f"{sync}?status=failing&owner=none",
        f"{sync}{middle}/",
        f"{sync}{middle}/change/",
        f"{sync}{middle}/preview/",
        f"{sync}{middle}/versions/1/",
        f"{sync}add/",
        run,
        f"{run}?status=nonsense",
        f"{run}{data.partial.pk}/change/",
        f"{run}{data.failed.pk}/change/",
        f"{run}{data.live.pk}/change/",
        "/admin/syncs/connection/",
        "/admin/syncs/connection/add/",
        "/admin/syncs/connection/add/?role=source&kind=postgresql",
        f"/admin/syncs/connection/{data.destination.pk}/change/",
    ]


@pytest.mark.parametrize(("viewport", "scheme"), [(DESKTOP, "light"), (DESKTOP, "dark"), (PHONE, "light")])
def test_every_page_obeys_the_content_policy_and_fits(visit: Any, data: Any, viewport: dict[str, int], scheme: str):
    seen = visit(viewport=viewport, color_scheme=scheme)
    for path in pages(data):
        seen.go(path)
        assert seen.overflow <= 0, f"{path} is {seen.overflow} px too wide"
        assert seen.page.locator("h1").count() == 1, path
        assert seen.page.evaluate("document.querySelectorAll('[style],style,script:not([src])').length") == 0, path
    assert seen.complaints == []
    assert seen.foreign == []


def test_theme_switch_overrides_the_system(visit: Any):
    seen = visit(color_scheme="light")
    background = "getComputedStyle(document.body).backgroundColor"
    light = seen.page.evaluate(background)
    for _ in range(3):
        if seen.page.evaluate("document.documentElement.dataset.theme") == "dark":
            break
        seen.page.click(".theme-toggle")
    assert seen.page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert seen.page.evaluate(background) != light


def test_run_and_pause_without_javascript(visit: Any, data: Any):
    seen = visit(java_script_enabled=False)
    sync = data.syncs[6]
    seen.go(f"/admin/syncs/sync/{sync.pk}/")
    seen.page.click("text=Run now")
    assert f"“{sync.name}”: run" in seen.page.inner_text(".messagelist")
    seen.page.click("summary:has-text('Pause')")
    seen.page.fill("#pause-reason", "the token is rotated")
    seen.page.click("button:has-text('Pause this sync')")
    seen.page.wait_for_selector(".messagelist:has-text('is paused')")
    assert Sync.objects.get(pk=sync.pk).pause_reason == "the token is rotated"
    assert "the token is rotated" in seen.page.inner_text("#content")


def test_filters_work_without_javascript(visit: Any):
    seen = visit(java_script_enabled=False)
    seen.go("/admin/syncs/run/")
    seen.page.click("summary:has-text('Status')")
    seen.page.check("input[name=status][value=failed]")
    seen.page.click("button:has-text('Apply')")
    seen.page.wait_for_url("**status=failed**")
    assert seen.page.locator("#result_list tbody tr").count() == 1
    assert "Status: Failed" in seen.page.inner_text(".rd-chips")


def test_filter_opens_and_applies_by_keyboard(visit: Any):
    seen = visit()
    seen.go("/admin/syncs/run/")
    seen.page.focus(".rd-filterbar summary")
    seen.page.keyboard.press("Enter")
    seen.page.keyboard.press("Tab")
    seen.page.keyboard.press("Space")
    seen.page.keyboard.press("Enter")
    seen.page.wait_for_url("**status=queued*")


def test_selected_syncs_are_paused_by_button(visit: Any, data: Any):
    seen = visit()
    seen.go("/admin/syncs/sync/")
    seen.page.check(f"input.action-select[value='{data.syncs[7].pk}']")
    seen.page.click(".actions button:has-text('Pause')")
    seen.page.wait_for_selector(".messagelist .success")
    assert Sync.objects.get(pk=data.syncs[7].pk).is_paused
    assert seen.complaints == []


def test_live_run_refreshes_itself_and_ends(visit: Any, data: Any):
    seen = visit()
    seen.go(f"/admin/syncs/run/{data.live.pk}/change/")
    assert "5,500" in seen.page.inner_text(".rd-progress-line")
    Run.objects.filter(pk=data.live.pk).update(accepted_count=4_000)
    seen.page.wait_for_selector(".rd-progress-line:has-text('7,500')")
    Run.objects.filter(pk=data.live.pk).update(
        status="succeeded", accepted_count=5_900, finished_at=data.live.started_at, lease_until=None
    )
    seen.page.wait_for_selector("h1 .badge-succeeded")
    assert "9,400" in seen.page.inner_text(".rd-equation")
    assert seen.complaints == []


def test_run_page_without_javascript_reloads_itself(visit: Any, data: Any):
    seen = visit(java_script_enabled=False)
    seen.go(f"/admin/syncs/run/{data.live.pk}/change/")
    assert seen.page.locator("meta[http-equiv=refresh]").count() == 1


def test_step_opens_with_its_attempts(visit: Any, data: Any):
    seen = visit()
    seen.go(f"/admin/syncs/run/{data.partial.pk}/change/")
    step = seen.page.locator(".rd-step", has_text="4 rows refused")
    assert not step.locator(".rd-attempt").first.is_visible()
    step.locator("summary").focus()
    seen.page.keyboard.press("Enter")
    assert step.locator(".rd-attempt").count() == 2
    assert step.locator(".rd-attempt").first.is_visible()
    assert "req-429-1" in step.inner_text()


def test_wrong_edit_shows_its_errors_and_saves_nothing(visit: Any, data: Any):
    seen = visit()
    seen.go(f"/admin/syncs/sync/{data.syncs[2].pk}/change/")
    seen.page.fill("#id_query", "SELECT id, name FROM contacts")
    seen.page.click("input[name=_save]")
    seen.page.wait_for_selector(".errornote")
    errors = seen.page.locator(".errorlist").all_inner_texts()
    assert any("email" in text for text in errors)
    assert Sync.objects.get(pk=data.syncs[2].pk).query == data.syncs[2].query


def test_phone_shows_lists_as_cards(visit: Any):
    seen = visit(viewport=PHONE)
    seen.go("/admin/syncs/run/")
    cell = seen.page.locator("#result_list td[data-label='Sync']").first
    assert cell.evaluate("element => getComputedStyle(element).display") == "grid"
    assert cell.evaluate("element => getComputedStyle(element, '::before').content") == '"Sync"'
