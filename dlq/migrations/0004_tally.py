"""Count dead letters by triggers, starting from those that are there. See docs/decisions/0009-counts-by-triggers.md."""

from django.db import migrations

from dlq import triggers


def install(apps, schema_editor):
    triggers.install(schema_editor.connection)
    triggers.fill(schema_editor.connection)


def remove(apps, schema_editor):
    triggers.remove(schema_editor.connection)


class Migration(migrations.Migration):
    dependencies = [
        ("dlq", "0003_operation_waves"),
    ]

    operations = [migrations.RunPython(install, remove)]
