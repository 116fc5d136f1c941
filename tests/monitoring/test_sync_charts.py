"""The charts on the page of one sync: its own figures over the time that the address asks for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from dlq.models import GroupDay, GroupHour
from monitoring.admin import sync_charts
from monitoring.models import DepthHour
from syncs.services import periods
from tests import seeds

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 23, 14, 20, tzinfo=UTC)


def charts(client: Client, sync: Any, query: str = "") -> dict[str, Any]:
    """What the tag gave its template."""
    answer = client.get(f"/admin/syncs/sync/{sync.pk}/{query}")
    assert answer.status_code == 200
    return sync_charts.context(answer.wsgi_request, sync)


def test_page_draws_the_syncs_own_rows_durations_and_dead_letters(admin_client: Client, time_machine: Any):
    time_machine.move_to(NOW, tick=False)
    source, destination = seeds.connections()
    mine, other = (seeds.sync(source, destination, name) for name in ("Mine", "Other"))
    for sync, hours, seconds, refused in ((mine, 2, 90, 40), (mine, 2, 30, 0), (mine, 26, 10, 0), (other, 2, 9000, 99)):
        at = NOW - timedelta(hours=hours)
        run = seeds.run(sync, "partial", refused=refused, started_at=at - timedelta(seconds=seconds), finished_at=at)
        periods.add(run.pk)
    group = seeds.entries(run, 3)
    GroupHour.objects.create(group=group, hour=NOW.replace(minute=0), failed_count=7)
    GroupDay.objects.create(group=group, day=NOW.date(), failed_count=7)
    for sync, depth in ((mine, 12), (other, 90)):
        DepthHour.objects.create(sync=sync, hour=NOW.replace(hour=12, minute=0), open_count=depth)
    found = charts(admin_client, mine, "?period=24h")
    assert found["rows_chart"].rows == [("23 Nov 12:00", ["980", "40", "500"])]  # the dashed line: the hour of the day before
    assert found["duration_chart"].rows == [("23 Nov 12:00", ["1 min", "1 min 30 s"])]
    depth = dict(found["depth_chart"].rows)
    assert (depth["23 Nov 11:00"], depth["23 Nov 12:00"], depth["23 Nov 14:00"], depth["now"]) == (["0"], ["12"], ["12"], ["0"])
    assert found["types_chart"].is_empty
    days = charts(admin_client, mine, "?period=30d")
    assert [name for name, _cells in days["rows_chart"].rows] == ["Mon 23 Nov", "Sun 22 Nov"]
    of_other = charts(admin_client, other, "?period=30d")
    assert of_other["types_chart"].legend[0].value == "7"
    assert of_other["duration_chart"].ticks[0].text.endswith(" h")


def test_unknown_period_is_named_and_charts_need_their_rights(admin_client: Client):
    sync = seeds.sync(*seeds.connections())
    html = admin_client.get(f"/admin/syncs/sync/{sync.pk}/?period=9y").content.decode()
    assert "Period: there is no “9y”. Known: 24h" in html
    client = Client()
    client.force_login(seeds.user("sid", "syncs.view_sync"))
    assert 'id="over-time"' not in client.get(f"/admin/syncs/sync/{sync.pk}/").content.decode()
