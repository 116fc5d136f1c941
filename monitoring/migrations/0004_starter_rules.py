"""Rules to begin with: an installation whose alerts nobody has set up yet tells its owners all the same."""

from django.db import migrations

STARTERS = [
    ("runs_fail", "Runs fail", "run_failed", "warning", {}),
    ("runs_keep_failing", "Runs keep failing", "run_failed", "page", {"failures_to_fail": 3}),
    ("login", "Login refused, or about to expire", "credential", "page", {}),
    ("late", "Late against the schedule", "late", "warning", {}),
    ("stale", "Nothing arrived for too long", "freshness", "warning", {}),
    ("rows_fail", "Rows fail", "error_rate", "warning", {}),
    (
        "many_rows_fail",
        "Every fifth row fails",
        "error_rate",
        "page",
        {"error_rate_warn_percent": 20, "error_rate_fail_percent": 20},
    ),
    ("zero_rows", "Runs read nothing", "zero_rows", "warning", {}),
    ("volume", "Far more or fewer rows than usual", "volume", "warning", {}),
    ("slow", "Runs are slow", "duration", "warning", {}),
    ("backlog", "A thousand dead letters are open", "dlq_depth", "warning", {"dlq_depth_warn": 1000}),
    ("old_backlog", "Dead letters wait for too long", "dlq_age", "warning", {}),
    ("drift", "Destination schema changed", "drift", "warning", {}),
    ("setup", "A sync cannot run as it is set up", "setup", "warning", {}),
    ("permission", "Missing permission", "permission", "warning", {}),
    ("new_error", "New error", "new_group", "warning", {}),
    ("regressed_error", "Error came back", "regressed_group", "warning", {}),
    ("worker_silent", "No worker gives a sign of life", "worker_silent", "page", {}),
    ("queue_stuck", "Runs wait though workers live", "queue_stuck", "page", {}),
]


def write(apps, schema_editor):
    rules = apps.get_model("monitoring", "AlertRule").objects.using(schema_editor.connection.alias)
    if rules.exists():
        return
    for template, name, condition, severity, limits in STARTERS:
        rules.create(template=template, name=name, condition=condition, severity=severity, limits=limits)


class Migration(migrations.Migration):
    dependencies = [("monitoring", "0003_subscriptions")]

    operations = [migrations.RunPython(write, migrations.RunPython.noop, elidable=True)]
