from __future__ import annotations

import io
from collections import Counter
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import Count, F, Q, Sum

from dlq.choices import LIVE
from dlq.models import DLQEntry, ErrorGroup, GroupDay, GroupHour
from syncs.choices import RunStatus
from syncs.models import Run, Sync

pytestmark = pytest.mark.django_db


def fill(**options: Any) -> str:
    out = io.StringIO()
    call_command("fill_dlq", **({"entries": 400, "syncs": 3, "yes": True} | options), stdout=out)
    return out.getvalue()


@pytest.fixture(autouse=True)
def unvacuumed(monkeypatch: pytest.MonkeyPatch) -> None:
    """VACUUM cannot be run inside a test's transaction."""
    monkeypatch.setattr("dlq.management.commands.fill_dlq.refresh_statistics", lambda: None)


def test_all_counts_agree_with_the_entries(capsys: pytest.CaptureFixture[str]) -> None:
    assert "400 of 400" in fill()
    call_command("dlq_recount", check=True)
    assert "All counts agree" in capsys.readouterr().out
    assert DLQEntry.objects.count() == 400
    per_group = dict(DLQEntry.objects.values_list("group").annotate(count=Count("pk")))
    assert per_group == dict(ErrorGroup.objects.values_list("pk", "total_count"))
    assert per_group == dict(GroupHour.objects.values_list("group").annotate(count=Sum("failed_count")))
    assert per_group == dict(GroupDay.objects.values_list("group").annotate(count=Sum("failed_count")))
    live = dict(DLQEntry.objects.filter(status__in=LIVE).values_list("group").annotate(count=Count("pk")))
    assert live == dict(ErrorGroup.objects.filter(open_count__gt=0).values_list("pk", "open_count"))
    per_run = dict(DLQEntry.objects.values_list("run").annotate(count=Count("pk")))
    assert per_run == dict(Run.objects.values_list("pk", "dead_lettered_count"))
    assert set(Run.objects.values_list("status", flat=True)) == {RunStatus.PARTIAL}


def test_entries_hang_together() -> None:
    fill()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")  # what was known of these tables may be from when they were empty: minutes of nested loops
    entries = DLQEntry.objects.all()
    assert not entries.exclude(group__sync=F("sync"), run__sync=F("sync"), first_run__sync=F("sync"), version__sync=F("sync"))
    assert not entries.exclude(error_type=F("group__error_type"), error_code=F("group__error_code"))
    assert not entries.filter(Q(first_failed_at__gt=F("last_failed_at")) | Q(attempt_count__lt=F("failure_count")))
    assert not entries.filter(last_failed_at__lt=F("run__started_at"))
    assert not entries.filter(last_failed_at__gt=F("run__finished_at"))
    assert entries.aggregate(keys=Count("row_key", distinct=True))["keys"] == 400
    for entry in entries[:20]:
        assert entry.payload_values["properties"]["external_id"] == str(entry.source_values["id"])
    assert len(Counter(entries.values_list("status", flat=True))) >= 3


def test_a_second_fill_adds_to_the_first() -> None:
    fill()
    fill(entries=50, seed=2)
    assert DLQEntry.objects.count() == 450
    assert Sync.objects.count() == 3
    call_command("dlq_recount", check=True)


def test_the_same_seed_gives_the_same_entries() -> None:
    columns = ("row_key", "status", "error_type", "http_status", "payload", "attempt_count")
    fill()
    first = list(DLQEntry.objects.order_by("pk").values_list(*columns))
    DLQEntry.objects.all().delete()
    fill()
    second = list(DLQEntry.objects.order_by("pk").values_list(*columns))
    assert [row[1:4] for row in first] == [row[1:4] for row in second]


def test_a_console_in_production_is_not_filled_by_mistake(settings: Any) -> None:
    settings.DEBUG = False
    with pytest.raises(CommandError, match="--yes"):
        fill(yes=False)
    assert not DLQEntry.objects.exists()


@pytest.mark.parametrize("options", [{"entries": 0}, {"syncs": 0}, {"syncs": 1_001}])
def test_odd_sizes_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(CommandError, match="at least 1"):
        fill(**options)
