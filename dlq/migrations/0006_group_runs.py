"""First and last run of the error groups that are there. Apart from the columns: PostgreSQL makes their indexes at its end."""

from django.db import migrations

RUNS = """
    UPDATE dlq_errorgroup SET
        first_run_id = (SELECT min(first_run_id) FROM dlq_dlqentry WHERE group_id = dlq_errorgroup.id),
        last_run_id = (SELECT max(run_id) FROM dlq_dlqentry WHERE group_id = dlq_errorgroup.id)
"""


class Migration(migrations.Migration):
    dependencies = [
        ("dlq", "0005_groups"),
    ]

    operations = [
        migrations.RunSQL(RUNS, migrations.RunSQL.noop),
    ]
