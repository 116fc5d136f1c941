"""How long the API takes to list dead letters with millions of them, and how many queries it makes: first pages and deep ones.

On the database of ``bench pages`` (``--keep``), with an API key, through all of Django in this process.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

from bench.pages import as_table, database, measure, prepare

LIST = "/api/v1/dead-letters"
DEEP = 50_000  # dead letters above a deep page: page 1,000 of fifty each


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench api")
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--syncs", type=int, default=40)
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--requests", type=int, default=40, help="per list, after two that are not counted")
    parser.add_argument("--keep", type=Path, help="folder of the filled database, as of “bench pages”")
    parser.add_argument("--only", default="", help="lists whose name holds this")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that the server is stopped as well
    home = arguments.keep or Path(tempfile.mkdtemp(prefix="redrive-api-", dir="/tmp"))
    home.mkdir(parents=True, exist_ok=True)
    with database(arguments.database, home, is_kept=arguments.keep is not None) as url:
        os.environ |= {"DATABASE_URL": url, "REDRIVE_VAR": str(home / "var"), "LOG_LEVEL": "WARNING", "DEBUG": "1"}
        os.environ["RETL_API_REQUESTS_PER_MINUTE"] = "1000000"
        prepare(arguments.entries, arguments.syncs)
        results = measure(arguments.requests, arguments.only, addresses(), key=_key())
    report = {"database": arguments.database, "entries": arguments.entries, "pages": results}
    sys.stdout.write(json.dumps(report, indent=1) + "\n" if arguments.json else as_table(report))


def _key() -> str:
    """Of a superuser; the one of an earlier time is taken away."""
    from django.contrib.auth.models import User

    from syncs.choices import Scope
    from syncs.models import ApiKey
    from syncs.services import api_keys

    owner = User.objects.get(username="bench")
    ApiKey.objects.filter(user=owner, name="bench").delete()
    text, prefix, digest = api_keys.made()
    ApiKey.objects.create(user=owner, name="bench", prefix=prefix, digest=digest, scopes=[Scope.READ.value])
    return text


def addresses() -> dict[str, list[str]]:
    """Name -> addresses that are asked for in turn."""
    from bench.pages import _day
    from dlq.models import DLQEntry, ErrorGroup
    from syncs.models import Sync

    newest = DLQEntry.objects.filter(status="open").order_by("-last_failed_at", "-id")
    syncs = list(Sync.objects.filter(name__startswith="Filled").values_list("pk", flat=True))
    groups = list(ErrorGroup.objects.order_by("-total_count").values_list("pk", flat=True)[:5])
    entries = list(newest.values_list("pk", flat=True)[:20_000:1_000])
    keys = list(newest.values_list("row_key", flat=True)[:20_000:1_000])
    types = ("validation", "timeout", "too_large", "unknown_outcome")
    lists: dict[str, list[str]] = {
        "no filter": [""],
        "all statuses": ["status=any"],
        "one sync": [f"sync={pk}" for pk in syncs],
        "error type": [f"error_type={one}" for one in types],
        "response code": [f"code={one}" for one in (400, 409, 413, 502, "none")],
        "error code": [f"error_code={one}" for one in ("INVALID_EMAIL", "PAYLOAD_TOO_LARGE")],
        "last 24 hours": ["failed=24h", "failed=24h&status=any"],
        "a day in the past": [f"from={_day(days)}&to={_day(days)}" for days in (3, 30, 60)],
        "older than": [f"age={age}" for age in ("1d", "7d", "30d")],
        "error group": [f"group={pk}" for pk in groups],
        "attempts": [f"attempts={least}" for least in (2, 5)],
        "row changed since": [f"row={state}" for state in ("changed", "unknown")],
        "sync, type, code, time": [f"sync={pk}&error_type=validation&code=400&failed=7d" for pk in syncs],
        "text in groups": [f"{urlencode({'q': text})}" for text in ("allowed options", "larger than")],
    }
    found = {f"{name}: first page": [f"{LIST}?{query}" for query in queries] for name, queries in lists.items()}
    below = {f"{name}: deep page": [_deep(query) for query in queries[:5]] for name, queries in lists.items()}
    deep = {name: [one for one in pages if one] for name, pages in below.items() if any(pages)}
    return found | deep | {
        "500 rows: first page": [f"{LIST}?limit=500"],
        "row key": [f"{LIST}?key={key}" for key in keys],
        "text, key": [f"{LIST}?q={key}" for key in keys],
        "owner": [f"{LIST}?owner=me", f"{LIST}?owner=none"],
        "count": [f"{LIST}/count", f"{LIST}/count?status=any", f"{LIST}/count?failed=24h"],
        "one dead letter": [f"{LIST}/{pk}" for pk in entries],
        "error groups": ["/api/v1/error-groups", "/api/v1/error-groups?show=all&order=most"],
    }  # fmt: skip


def _deep(query: str) -> str:
    """The page below the 50,000th of this list; where it is shorter, the one at its middle; empty: nothing is in it."""
    from django.contrib.auth.models import User
    from django.test import RequestFactory
    from django.utils import timezone

    from dlq.api.entry_filters import EntryFilters
    from dlq.services import selection
    from dlq.services.paging import Position
    from syncs.rest import paging

    user: Any = User.objects.get(username="bench")
    settled = selection.parse(parse_qs(query), user=user).filter.at(timezone.now())
    rows = settled.entries().order_by("-last_failed_at", "-id").only("last_failed_at")
    found = list(rows[DEEP : DEEP + 1])
    if not found:
        middle = rows.count() // 2
        found = list(rows[middle : middle + 1])
    if not found:
        return ""
    cursor = paging.wanted(RequestFactory().get(f"{LIST}?{query}")).cursor(
        {"at": str(Position.of(found[0])), **EntryFilters.kept(settled)}
    )
    return f"{LIST}?{query}&{urlencode({'cursor': cursor})}"


__all__ = ["main"]
