from django.db import migrations

# Hours and days of the runs that ended before these were counted; what is there already stays.
_FILL = """
    INSERT INTO {table} (
        sync_id, starts_at, run_count, succeeded_count, partial_count, failed_count, cancelled_count, skipped_run_count,
        read_count, accepted_count, unchanged_count, skipped_count, dead_lettered_count, pending_count,
        request_count, retry_count, bytes_sent, milliseconds, slowest_ms
    )
    SELECT
        sync_id, {start}, SUM(ran), SUM({succeeded}), SUM({partial}), SUM({failed}), SUM({cancelled}), SUM(1 - ran),
        SUM(ran * read_count), SUM(ran * accepted_count), SUM(ran * unchanged_count), SUM(ran * skipped_count),
        SUM(ran * dead_lettered_count), SUM(ran * pending_count), SUM(ran * request_count), SUM(ran * retry_count),
        SUM(ran * bytes_sent), SUM(ran * took), MAX(ran * took)
    FROM (
        SELECT
            syncs_run.*, CASE WHEN status = 'skipped' THEN 0 ELSE 1 END AS ran,
            CASE WHEN started_at IS NULL OR finished_at < started_at THEN 0 ELSE {took} END AS took
        FROM syncs_run WHERE finished_at IS NOT NULL
    ) AS ended
    GROUP BY sync_id, {start}
    ON CONFLICT (sync_id, starts_at) DO NOTHING"""
_START = {
    "postgresql": "DATE_TRUNC('{unit}', finished_at, 'UTC')",
    "sqlite": {"hour": "SUBSTR(finished_at, 1, 13) || ':00:00'", "day": "SUBSTR(finished_at, 1, 10) || ' 00:00:00'"},
}
_TOOK = {
    "postgresql": "CAST(ROUND(EXTRACT(EPOCH FROM finished_at - started_at) * 1000) AS bigint)",
    "sqlite": "CAST(ROUND((JULIANDAY(finished_at) - JULIANDAY(started_at)) * 86400000) AS integer)",
}


def fill(apps, schema_editor):
    vendor = schema_editor.connection.vendor
    counted = {
        name: f"CASE WHEN status = '{name}' THEN 1 ELSE 0 END" for name in ("succeeded", "partial", "failed", "cancelled")
    }
    for table, unit in (("syncs_synchour", "hour"), ("syncs_syncday", "day")):
        start = _START[vendor][unit] if vendor == "sqlite" else _START[vendor].format(unit=unit)
        schema_editor.execute(_FILL.format(table=table, start=start, took=_TOOK[vendor], **counted))


class Migration(migrations.Migration):
    dependencies = [("syncs", "0011_run_failure_role")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop, elidable=True)]
