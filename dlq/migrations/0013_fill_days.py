from django.db import migrations

# The days of failures that were counted by hour before there were days.
_FILL = """
    INSERT INTO dlq_groupday (group_id, day, failed_count)
    SELECT group_id, {day}, SUM(failed_count) FROM dlq_grouphour GROUP BY group_id, {day}
    ON CONFLICT (group_id, day) DO NOTHING"""
_DAY = {"postgresql": "CAST(hour AT TIME ZONE 'UTC' AS date)", "sqlite": "SUBSTR(hour, 1, 10)"}


def fill(apps, schema_editor):
    schema_editor.execute(_FILL.format(day=_DAY[schema_editor.connection.vendor]))


class Migration(migrations.Migration):
    dependencies = [("dlq", "0012_days_and_oldest")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop, elidable=True)]
