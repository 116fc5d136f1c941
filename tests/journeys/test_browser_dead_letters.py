"""The work of a support agent, in a real browser: find why a row failed, mend it in the warehouse, send it again, see it
resolved; discard and undo; take the rows along as a file."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dlq.models import DLQEntry
from syncs.models import Run
from syncs.services import runs, worker
from tests import seeds
from tests.faults.api import Api, People
from tests.journeys.test_browser_console import CHROMIUM, DESKTOP, Visit
from tests.journeys.test_browser_console import browser as browser  # the fixture
from tests.servers import Answer, Request

pytestmark = [
    pytest.mark.browser,
    pytest.mark.once("sqlite"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is missing: the console was NOT looked at in a browser"),
]


class Desk:
    """Twelve people in the warehouse; the API refuses every name that says ``bad``, whoever it belongs to."""

    def __init__(self, folder: Path, api: Api) -> None:
        self.api = api
        api.before = self._refuse_bad_names
        self.people = People(folder, api, 12)
        for number in (3, 5, 8):
            self.rename(number, f"bad {number}")
        self.people.run()

    def rename(self, number: int, name: str) -> None:
        self.people.sql("UPDATE people SET name = ? WHERE id = ?", name, number)

    def _refuse_bad_names(self, request: Request, records: list[dict[str, Any]]) -> Answer | None:
        wrong = {"code": "INVALID_NAME", "message": "name: the value is not valid", "field": "name"}
        self.api.bad = {record["id"]: wrong for record in records if record["name"].startswith("bad")}
        return None

    def work_off(self) -> Run:
        """What a worker does with the one run that waits."""
        claim = runs.claim(worker="journey")
        assert claim is not None
        worker.execute(claim)
        return Run.objects.get(pk=claim.run_id)

    def status_of(self, key: int) -> str:
        return DLQEntry.objects.get(sync=self.people.sync, row_key=str(key)).status


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    api = Api()
    with api.server:
        yield Desk(tmp_path, api)


@pytest.fixture
def agent(browser: Any, live_server: Any, desk: Desk) -> Iterator[Visit]:
    seeds.user("ana", is_superuser=True)
    visit = Visit(browser, live_server.url, viewport=DESKTOP, accept_downloads=True)
    visit.page.set_default_timeout(15_000)
    yield visit
    visit.context.close()
    assert visit.complaints == []
    assert visit.foreign == []


def open_entry(agent: Visit, key: str) -> None:
    """By the menu, the search box and the row: as a person gets there."""
    agent.go("/admin/")
    agent.page.click("nav >> text=Dead letters")
    agent.page.fill("input[name=q]", key)
    agent.page.press("input[name=q]", "Enter")
    agent.page.wait_for_url("**q=**")
    agent.page.click(f".rd-key a:has-text('{key}')")
    agent.page.wait_for_selector(f"h1:has-text('{key}')")


def said(agent: Visit) -> str:
    return str(agent.page.inner_text(".messagelist"))


def test_found_mended_in_the_warehouse_reprocessed_resolved(agent: Visit, desk: Desk):
    open_entry(agent, "3")
    page = agent.page
    text = page.inner_text("#content")
    for wanted in ("INVALID_NAME", "the value is not valid", "Correct the value in the warehouse", "bad 3"):
        assert wanted in text
    assert "named in the error" in page.inner_text(".rd-blamed")

    desk.rename(3, "good at last")
    page.click("button:has-text('Reprocess')")
    page.wait_for_selector(".messagelist")
    assert "1 dead letter is queued for run" in said(agent)
    assert desk.status_of(3) == "queued"

    run = desk.work_off()
    assert (run.trigger, run.accepted_count) == ("reprocess", 1)
    assert desk.api.held[3]["name"] == "good at last"
    page.click(".messagelist a")
    page.wait_for_selector("h1 .badge-succeeded")
    open_entry_again = page.url
    agent.go("/admin/dlq/dlqentry/?status=any&key=3")
    page.click(".rd-key a")
    page.wait_for_selector("h1 .badge-resolved")
    assert f"run {run.pk}" in page.inner_text("#content")
    assert page.locator("button:has-text('Reprocess')").count() == 0
    assert open_entry_again.endswith(f"/{run.pk}/change/")


def test_reprocess_of_a_row_that_nobody_mended_opens_it_again(agent: Visit, desk: Desk):
    open_entry(agent, "5")
    agent.page.click("button:has-text('Reprocess')")
    agent.page.wait_for_selector(".messagelist")
    run = desk.work_off()
    assert (run.status, run.dead_lettered_count) == ("partial", 1)
    agent.page.reload()
    agent.page.wait_for_selector("h1 .badge-open")
    assert DLQEntry.objects.get(row_key="5").attempt_count == 2


def test_discard_asks_why_and_can_be_undone(agent: Visit, desk: Desk):
    open_entry(agent, "8")
    page = agent.page
    page.click("summary:has-text('Discard')")
    page.click(".rd-popover button:visible")  # the browser refuses: no reason is given
    assert desk.status_of(8) == "open"
    page.fill("#id_reason", "a test account")
    page.click(".rd-popover button:visible")
    page.wait_for_selector("h1 .badge-discarded")
    assert "a test account" in page.inner_text("#content")
    plain = desk.people.run()
    assert (plain.skipped_count, desk.status_of(8)) == (3, "discarded")
    page.click("summary:has-text('Reopen')")
    page.click(".rd-popover button:visible")
    page.wait_for_selector("h1 .badge-open")
    assert "ana" in page.inner_text("#content")


def test_the_row_of_now_is_read_once_the_page_is_shown(agent: Visit, desk: Desk):
    desk.rename(3, "good at last")
    open_entry(agent, "3")
    page = agent.page
    page.wait_for_selector("#rd-row .rd-compare-live")
    assert "Changed since" in page.inner_text(".rd-blamed")
    assert "good at last" in page.inner_text(".rd-blamed")
    assert "The row has changed since." in page.inner_text("#rd-row")
    desk.rename(3, "bad once more")
    page.click("text=Look again")
    page.wait_for_selector(".rd-blamed:has-text('bad once more')")
    page.click("#rd-passport summary")
    page.wait_for_selector(".rd-timeline .rd-moment-failed")
    page.keyboard.press("n")
    page.wait_for_url("**/change/?in=**")
    assert page.inner_text("h1") != ""


def test_a_correction_is_written_looked_at_and_delivered(agent: Visit, desk: Desk):
    open_entry(agent, "5")
    page = agent.page
    page.click("text=Edit payload")
    text = page.input_value("#id_payload")
    page.fill("#id_payload", text.replace("bad 5", "corrected by hand"))
    page.fill("#id_reason", "VEND-5")
    page.click("text=Look at the difference")
    assert "1 field changed" in page.inner_text("#content")
    page.click("text=Keep and send it")
    page.wait_for_selector(".messagelist")
    assert "1 dead letter is queued for run" in said(agent)
    run = desk.work_off()
    assert (run.status, run.accepted_count) == ("succeeded", 1)
    assert desk.api.held[5]["name"] == "corrected by hand"
    desk.people.run()
    assert desk.api.held[5]["name"] == "corrected by hand"  # the row has not changed, so the correction stands
    page.reload()
    page.wait_for_selector("h1 .badge-resolved")
    assert "the corrected payload" in page.inner_text("#history")
    assert "VEND-5" in page.inner_text("#history")


def test_all_of_one_error_are_reprocessed_in_bulk(agent: Visit, desk: Desk):
    for number in (3, 5, 8):
        desk.rename(number, f"mended {number}")
    page = agent.page
    agent.go("/admin/dlq/errorgroup/")
    page.click(".rd-error a")
    page.wait_for_url("**/errorgroup/**")
    page.click(".rd-work button:has-text('Reprocess')")
    page.wait_for_selector("h1:has-text('Reprocess 3 dead letters')")
    page.click("button:has-text('Reprocess 3 dead letters')")  # it waits for the look, which finds the rows changed
    page.wait_for_selector("h1 .badge-queued")
    worker.until_idle()
    page.wait_for_selector("text=Finished: 3 resolved.")  # the page refreshes by itself
    assert {desk.status_of(number) for number in (3, 5, 8)} == {"resolved"}


def test_where_nothing_changed_the_root_cause_is_to_be_confirmed(agent: Visit, desk: Desk):
    page = agent.page
    agent.go("/admin/dlq/dlqentry/bulk/?act=reprocess&status=open")
    page.wait_for_selector("text=Of 3 looked at: 0 changed, 0 gone, 3 the same.")
    page.wait_for_selector("text=likely to recreate the same error")
    page.check("input[name=mode][value=payload]")
    assert page.locator(".rd-unchanged").is_visible()
    desk.rename(3, "mended")
    page.reload()
    page.wait_for_selector("text=Of 3 looked at: 1 changed, 0 gone, 2 the same.")
    assert not page.locator(".rd-unchanged").is_visible()
    page.check("input[name=mode][value=payload]")
    assert page.locator(".rd-unchanged").is_visible()  # the payload is as it was
    page.check("input[name=mode][value=current]")
    assert not page.locator(".rd-unchanged").is_visible()


def test_a_discard_is_watched_and_undone(agent: Visit, desk: Desk):
    page = agent.page
    agent.go("/admin/dlq/dlqentry/?status=open")
    page.check("input[name=across]")
    page.click(".rd-bulkbar button:has-text('Discard')")
    page.select_option("#id_usual", label="Test data")
    page.click("button:has-text('Discard 3 dead letters')")
    page.wait_for_selector("h1 .badge-queued")
    worker.until_idle()
    page.wait_for_selector("text=Finished: 3 discarded.")
    assert desk.status_of(3) == "discarded"
    page.click("text=Undo the discard")
    page.wait_for_selector("h1:has-text('Reopen 3 dead letters')")
    worker.until_idle()
    page.wait_for_selector("text=Finished: 3 reopened.")
    assert {desk.status_of(number) for number in (3, 5, 8)} == {"open"}


def test_nothing_ticked_is_refused_in_words(agent: Visit):
    agent.go("/admin/dlq/dlqentry/?status=open")
    agent.page.click(".rd-bulkbar button:has-text('Discard')")
    agent.page.wait_for_selector(".messagelist")
    assert "Nothing is chosen. Tick rows" in said(agent)


@pytest.mark.parametrize("format", ["csv", "json"])
def test_rows_are_taken_along_as_a_file(agent: Visit, desk: Desk, tmp_path: Path, format: str):
    page = agent.page
    agent.go("/admin/dlq/dlqentry/?status=open")
    page.check("#rd-all")
    page.click(".rd-bulkbar button:has-text('Export')")
    page.check(f"input[name=format][value={format}]")
    with page.expect_download() as waiting:
        page.click("button:has-text('Export 3 dead letters')")
    file = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(file)
    text = file.read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines())) if format == "csv" else json.loads(text)
    assert {row["row_key"] for row in rows} == {"3", "5", "8"}
    assert {row["error_code"] for row in rows} == {"INVALID_NAME"}
    assert DLQEntry.objects.get(row_key="3").events.filter(kind="exported").exists()


def test_a_large_export_is_fetched_from_the_page_of_its_worker(agent: Visit, desk: Desk, settings: Any, tmp_path: Path):
    settings.RETL = {**settings.RETL, "EXPORT_STREAM_ROWS": 2, "EXPORT_DIR": str(tmp_path)}
    page = agent.page
    agent.go("/admin/dlq/dlqentry/?status=open")
    page.check("input[name=across]")
    page.click(".rd-bulkbar button:has-text('Export')")
    page.click("button:has-text('Export 3 dead letters')")
    page.wait_for_url("**/dlq/export/**")
    page.wait_for_selector("h1 .badge-queued")
    worker.until_idle()
    page.wait_for_selector("h1 .badge-ready")  # the page refreshes by itself
    with page.expect_download() as waiting:
        page.click("a:has-text('Download')")
    waiting.value.save_as(tmp_path / "fetched.csv")
    rows = list(csv.DictReader((tmp_path / "fetched.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["row_key"] for row in rows} == {"3", "5", "8"}
