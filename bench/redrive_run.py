"""One run of Redrive on the bench table, as a worker does it: claim, execute, everything recorded. Prints one JSON object."""

from __future__ import annotations

import argparse
import json
import os
import resource
import time


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--warehouse", required=True, help="postgresql URL")
    parser.add_argument("--url", required=True)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--again", action="store_true", help="run a second time: nothing changed")
    parser.add_argument("--profile", default="")
    arguments = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "retl_project.settings")
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    import django

    django.setup()
    from bench.setting_up import new_sync
    from syncs.choices import Trigger
    from syncs.destinations import registry as destination_kinds
    from syncs.services import execution, runs
    from syncs.sources import registry as source_kinds

    # A worker lives long: what it imports on the first run of a kind is not part of a run.
    destination_kinds.module("http")
    source_kinds.module("postgresql")
    sync = new_sync(arguments.warehouse, arguments.url, arguments.batch, arguments.threads)
    results = []
    for _ in range(2 if arguments.again else 1):
        run = runs.request(sync=sync, trigger=Trigger.MANUAL)
        before = resource.getrusage(resource.RUSAGE_SELF)
        started = time.perf_counter()
        claim = runs.claim(run_id=run.pk, worker="bench")
        assert claim is not None
        if arguments.profile:
            import cProfile

            profile = cProfile.Profile()
            profile.runcall(execution.execute, claim)
            profile.dump_stats(arguments.profile)
        else:
            execution.execute(claim)
        seconds = time.perf_counter() - started
        run.refresh_from_db()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        results.append(
            {
                "seconds": seconds,
                "status": run.status,
                "failure": run.failure_message,
                "read": run.read_count,
                "accepted": run.accepted_count,
                "unchanged": run.unchanged_count,
                "skipped": run.skipped_count,
                "rejected": run.dead_lettered_count,
                "requests": run.request_count,
                "cpu": usage.ru_utime + usage.ru_stime - before.ru_utime - before.ru_stime,
                "rss_mb": usage.ru_maxrss / 1024,
            }
        )
    print(json.dumps(results if arguments.again else results[0]))


if __name__ == "__main__":
    main()
