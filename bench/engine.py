"""Redrive, everything recorded, against a plain psycopg + requests + threads script: interleaved, same table, same server.

Reported are paired ratios (Redrive's rows/s by the script's, round by round), their median, and CPU and memory of both.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import secrets
import statistics
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import psycopg

from tests import postgres

MAKE_ROWS = """
CREATE TABLE bench_rows AS SELECT
  n AS id, 'person' || n || '@example.com' AS email, 'First' || (n % 997) AS first_name, 'Last' || (n % 1009) AS last_name,
  'Company ' || (n % 5000) AS company, round((random() * 100)::numeric, 2) AS score,
  (ARRAY['gold', 'silver', 'bronze'])[1 + n % 3] AS segment, 'City ' || (n % 300) AS city, n % 2 = 0 AS is_active,
  timestamptz '2026-01-01 00:00:00+00' + n * interval '1 second' AS updated_at
FROM generate_series(1, %(rows)s) AS n;
ALTER TABLE bench_rows ADD PRIMARY KEY (id);
ANALYZE bench_rows;
"""


@contextlib.contextmanager
def server(*, reject: bool, delay_ms: float) -> Iterator[str]:
    command = [sys.executable, "-m", "bench.server", "--delay-ms", str(delay_ms), *(["--reject"] if reject else [])]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait()


def get(url: str) -> dict:
    with urllib.request.urlopen(url) as answer:
        return json.load(answer)


def call(environment: dict[str, str], module: str, *arguments: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def prepare(rows: int) -> tuple[str, dict[str, str]]:
    """A warehouse with the table, and an application database that is set up. Both on the throwaway server."""
    if not postgres.ensure():
        raise SystemExit("The engine bench needs PostgreSQL: install it, or set TEST_DATABASE_URL.")
    warehouse = postgres.create_database("bench_warehouse")
    with psycopg.connect(warehouse, autocommit=True) as connection:
        for statement in MAKE_ROWS.replace("%(rows)s", str(rows)).split(";\n"):
            if statement.strip():
                connection.execute(statement)  # type: ignore[call-overload]
    application = postgres.create_database("bench_application")
    environment = {
        **os.environ,
        "DATABASE_URL": application,
        "LOG_LEVEL": "WARNING",
        "DEBUG": "0",  # as in production: Django's debug mode keeps every statement
        "SECRET_KEY": secrets.token_urlsafe(50),
        "RETL_ENCRYPTION_KEYS": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "RETL_ALLOWED_PRIVATE_NETWORKS": "127.0.0.0/8",
    }
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], env=environment, check=True, stdout=subprocess.DEVNULL)
    return warehouse, environment


def measure(arguments: argparse.Namespace) -> dict:
    warehouse, environment = prepare(arguments.rows)
    cases = []
    for batch in arguments.batch:
        with server(reject=arguments.reject, delay_ms=arguments.delay_ms) as address:
            rounds = [one_round(arguments, batch, address, warehouse, environment) for _ in range(arguments.rounds)]
        ratios = [one["ratio"] for one in rounds]
        cases.append({"batch": batch, "ratio": round(statistics.median(ratios), 3), "ratios": ratios, "rounds": rounds})
    return {"rows": arguments.rows, "threads": arguments.threads, "delay_ms": arguments.delay_ms, "cases": cases}


def one_round(arguments: argparse.Namespace, batch: int, address: str, warehouse: str, environment: dict[str, str]) -> dict:
    common = ["--url", f"{address}/batch", "--batch", str(batch), "--threads", str(arguments.threads)]
    get(f"{address}/reset")
    plain = call(environment, "bench.plain", "--dsn", warehouse, *common)
    expected = get(f"{address}/report")
    get(f"{address}/reset")
    ours = call(environment, "bench.redrive_run", "--warehouse", warehouse, *common)
    report = get(f"{address}/report")
    if (report["distinct"], report["doubled"], ours["accepted"]) != (expected["distinct"], 0, expected["distinct"]):
        raise SystemExit(f"The two did not deliver the same rows: {report} {ours} {expected}")
    return {
        "ratio": round(plain["seconds"] / ours["seconds"], 3),
        "plain_rows_s": round(arguments.rows / plain["seconds"]),
        "redrive_rows_s": round(arguments.rows / ours["seconds"]),
        "plain_cpu_s": round(plain["cpu"], 2),
        "redrive_cpu_s": round(ours["cpu"], 2),
        "plain_rss_mb": round(plain["rss_mb"]),
        "redrive_rss_mb": round(ours["rss_mb"]),
    }


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench engine")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--batch", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--delay-ms", type=float, default=0)
    parser.add_argument("--reject", action="store_true", help="refuse one record in a hundred")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    result = measure(arguments)
    if arguments.json:
        print(json.dumps(result))
        return
    for case in result["cases"]:
        last = case["rounds"][-1]
        print(f"batch {case['batch']}: {case['ratio']} x the plain script {case['ratios']}; last round {last}")
