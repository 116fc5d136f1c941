"""The peer: what a careful engineer writes in an afternoon. psycopg named cursor, requests, a thread pool; no books kept."""

from __future__ import annotations

import argparse
import json
import resource
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import psycopg
import requests

COLUMNS = ("id", "email", "first_name", "last_name", "company", "score", "segment", "city", "is_active", "updated_at")
local = threading.local()


def post(url: str, records: list[dict]) -> tuple[int, int]:
    if not hasattr(local, "session"):
        local.session = requests.Session()
    response = local.session.post(
        url, data=json.dumps({"records": records}), headers={"Content-Type": "application/json"}, timeout=30
    )
    response.raise_for_status()
    results = response.json()["results"]
    good = sum(result["status"] == "ok" for result in results)
    return good, len(results) - good


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dsn", required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--threads", type=int, default=8)
    arguments = parser.parse_args()
    started = time.perf_counter()
    good = bad = 0
    pending: set[Future] = set()
    with psycopg.connect(arguments.dsn) as connection, ThreadPoolExecutor(arguments.threads) as pool:
        with connection.cursor(name="rows") as cursor:
            cursor.itersize = 2000
            cursor.execute(f"SELECT {', '.join(COLUMNS)} FROM bench_rows ORDER BY id")
            while rows := cursor.fetchmany(arguments.batch):
                records = [
                    {**dict(zip(COLUMNS, row, strict=True)), "score": float(row[5]), "updated_at": row[9].isoformat()}
                    for row in rows
                ]
                pending.add(pool.submit(post, arguments.url, records))
                if len(pending) >= arguments.threads * 2:
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    for future in done:
                        good, bad = good + future.result()[0], bad + future.result()[1]
        for future in pending:
            good, bad = good + future.result()[0], bad + future.result()[1]
    seconds = time.perf_counter() - started
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "seconds": seconds,
                "accepted": good,
                "rejected": bad,
                "cpu": usage.ru_utime + usage.ru_stime,
                "rss_mb": usage.ru_maxrss / 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
