"""Memory of a worker over runs of growing size: it must not grow with the rows. Prints the peak resident size of each run."""

from __future__ import annotations

import argparse
import json

from bench.engine import call, prepare, server


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench memory")
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--again", action="store_true", help="a second run each, in which nothing has changed")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    results = []
    for rows in arguments.rows:
        warehouse, environment = prepare(rows)
        with server(reject=True, delay_ms=0) as address:
            common = ["--url", f"{address}/batch", "--batch", str(arguments.batch), "--threads", str(arguments.threads)]
            again = ["--again"] if arguments.again else []
            outcome = call(environment, "bench.redrive_run", "--warehouse", warehouse, *common, *again)
        runs = outcome if isinstance(outcome, list) else [outcome]
        results.extend({"rows": rows, **run} for run in runs)
    if arguments.json:
        print(json.dumps(results))
        return
    for run in results:
        print(
            f"{run['rows']:>10,} rows: peak {run['rss_mb']:.0f} MB, {run['read'] / run['seconds']:,.0f} rows/s, "
            f"accepted {run['accepted']:,}, unchanged {run['unchanged']:,}, dead-lettered {run['rejected']:,}"
        )
