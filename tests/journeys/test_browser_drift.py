"""A CRM's administrator adds a required field between two runs: noticed, explained, mapped, previewed, the backlog cleared.

In a real browser, against the sandbox CRM as a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dlq.models import BulkOperation, DLQEntry
from monitoring.services import evaluation
from retl_project.demo import crm_connection, setup
from syncs.choices import ConnectionRole, Trigger
from syncs.models import Connection, FieldMapping, Run, Sync
from syncs.services import runs, worker
from tests import seeds
from tests.journeys.test_browser_console import CHROMIUM, DESKTOP, Visit
from tests.journeys.test_browser_console import browser as browser  # the fixture
from tests.retl_project.crm import Crm, sandbox_crm
from tests.syncs.schema_world import sqlite

pytestmark = [
    pytest.mark.browser,
    pytest.mark.once("sqlite"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is missing: the drift was NOT looked at in a browser"),
]
COUNTRIES = (("DE", "Germany", "Europe"), ("FR", "France", "Europe"), ("JP", "Japan", "Asia"), ("PE", "Peru", "America"))


class Stage:
    """Four countries in a SQLite warehouse, and a sync that sends them to the CRM's countries."""

    def __init__(self, folder: Path, crm: Crm) -> None:
        self.crm = crm
        self.path = folder / "warehouse.sqlite3"
        values = ", ".join(f"('{code}', '{name}', '{region}', 1)" for code, name, region in COUNTRIES)
        create = "CREATE TABLE countries (code TEXT, name TEXT, region TEXT, airport_count INTEGER)"
        sqlite(self.path, create, f"INSERT INTO countries VALUES {values}")
        source = Connection.objects.create(
            name="Warehouse", role=ConnectionRole.SOURCE, kind="sqlite", config={"path": str(self.path)}
        )
        self.target = Connection.objects.create(
            name="Sandbox CRM", role=ConnectionRole.DESTINATION, kind="http",
            config=crm_connection.config(crm.address), secrets=crm_connection.secrets(),
        )  # fmt: skip
        self.sync = Sync.objects.create(
            name="Countries", source=source, destination=self.target, destination_object="countries", key_columns="code",
            query="SELECT code, name, region, airport_count FROM countries",
        )  # fmt: skip
        for position, line in enumerate(setup.COUNTRY_MAPPING):
            FieldMapping.objects.create(sync=self.sync, position=position, **line)

    def run(self) -> Run:
        run = runs.request(sync=self.sync, trigger=Trigger.MANUAL)
        claim = runs.claim(run_id=run.pk, worker="journey")
        assert claim is not None
        worker.execute(claim)
        run.refresh_from_db()
        return run

    def rename(self, *codes: str) -> None:
        sqlite(self.path, *(f"UPDATE countries SET name = name || ' again' WHERE code = '{code}'" for code in codes))


@pytest.fixture
def stage(tmp_path: Path, transactional_db: None) -> Iterator[Stage]:
    with sandbox_crm() as crm:
        yield Stage(tmp_path, crm)


@pytest.fixture
def agent(browser: Any, live_server: Any, stage: Stage) -> Iterator[Visit]:
    seeds.user("ana", is_superuser=True)
    visit = Visit(browser, live_server.url, viewport=DESKTOP)
    visit.page.set_default_timeout(15_000)
    yield visit
    visit.context.close()
    # The refused act is answered with 400, which the browser reports; anything else would be a fault of ours.
    assert [text for text in visit.complaints if "status of 400" not in text] == []
    assert visit.foreign == []


def add_required_field(browser: Any, crm: Crm) -> None:
    """As the CRM's administrator does it: in the CRM's own pages."""
    page = browser.new_page()
    page.goto(f"{crm.address}/admin/fields?object=countries")
    page.fill("form:has(input[value=add]) input[name=name]", "tier")
    page.fill("input[name=options]", "gold, silver")
    page.check("input[name=required]")
    page.click("button:has-text('Add')")
    page.wait_for_selector("td:has-text('tier')")
    page.close()


def test_a_new_required_field_is_noticed_explained_mapped_and_the_backlog_cleared(agent: Visit, browser: Any, stage: Stage):
    page, sync = agent.page, stage.sync
    at_sync = f"/admin/syncs/sync/{sync.pk}/"

    # The first run is fine, and somebody looks at the fields once.
    assert stage.run().accepted_count == 4
    agent.go(f"/admin/syncs/connection/{stage.target.pk}/")
    page.click("a:has-text('Fields')")
    page.click("a:has-text('countries')")
    page.click("button:has-text('Ask the destination now')")
    page.wait_for_selector("text=4 fields are kept as version 1")

    # Then the CRM changes, and three rows of the next run are refused.
    add_required_field(browser, stage.crm)
    stage.rename("DE", "FR", "JP")
    assert stage.run().dead_lettered_count == 3
    assert set(DLQEntry.objects.values_list("error_type", "field")) == {("missing_required", "tier")}
    evaluation.judge(sync.pk)

    # Status and event: the refresh finds the change and says whom it touches.
    agent.go(at_sync)
    page.click("button:has-text('Refresh fields')")
    page.wait_for_selector(".messagelist :text('The mapping of “Countries” is touched')")
    agent.go(at_sync)
    assert "Destination schema changed: the new field “tier” is required." in page.inner_text(".rd-notice-warn")
    assert page.locator("h1 .badge-degraded").count() == 1

    # The drift page: what changed, what it breaks, which dead letters it explains.
    page.click("text=look at what changed")
    row = page.locator(".rd-changes tr", has_text="tier")
    assert "New required field" in row.inner_text()
    assert "Add a line for it" in row.inner_text()
    row.locator("a:has-text('3')").click()
    page.wait_for_selector(".rd-key")
    assert page.locator(".rd-key a").all_inner_texts() == ["JP", "FR", "DE"]

    # The backlog is held back, with the way out.
    agent.go(at_sync)
    page.click("text=Clear backlog")
    page.wait_for_selector("text=reprocess waits for a preview")
    page.wait_for_selector("text=Of 3 looked at")
    if page.locator("input[name=acknowledged]").is_visible():
        page.check("input[name=acknowledged]")
    page.click("button:has-text('Reprocess 3 dead letters')")
    page.wait_for_selector("[role=alert]:has-text('has changed since its last preview')")
    assert not BulkOperation.objects.exists()

    # A preview of the old mapping shows the break, and releases nothing.
    page.click("a:has-text('preview the sync')")
    page.wait_for_selector("text=This preview is not clean yet")
    assert page.locator("button:has-text('release them')").count() == 0

    # A new line for the field, then a preview that is clean.
    page.click("a:has-text('Map fields')")
    page.click("button[aria-label='Map tier']")
    page.wait_for_selector("#line-4")
    page.select_option("select[name=lines-4-kind]", "constant")
    page.fill("#value-4", "gold")
    page.click("button[value=save_preview]")
    page.wait_for_url("**/preview/")
    page.wait_for_selector("text=This preview is clean")
    page.click("button:has-text('release them')")
    page.wait_for_selector(".messagelist :text('is settled')")
    sync.refresh_from_db()
    assert sync.drift_since is None

    # Now the backlog goes.
    page.click("text=Clear backlog")
    page.wait_for_selector("text=Of 3 looked at")
    assert page.locator("text=reprocess waits for a preview").count() == 0
    page.click("button:has-text('Reprocess 3 dead letters')")
    page.wait_for_selector("h1 .badge")
    worker.until_idle()
    page.wait_for_selector("text=Finished")
    assert set(DLQEntry.objects.values_list("status", flat=True)) == {"resolved"}
    held = stage.crm.records("countries")
    assert {code for code, properties in held.items() if properties.get("tier") == "gold"} >= {"DE", "FR", "JP"}
    assert held["JP"]["name"] == "Japan again"
    assert stage.run().dead_lettered_count == 0
    evaluation.judge(sync.pk)
    agent.go(at_sync)
    assert page.locator("h1 .badge-healthy").count() == 1
