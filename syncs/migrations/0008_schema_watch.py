import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("syncs", "0007_once_tokens"),
    ]

    operations = [
        migrations.CreateModel(
            name="SchemaWatch",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("object_name", models.CharField(max_length=255)),
                ("next_at", models.DateTimeField()),
                ("tried_at", models.DateTimeField(blank=True, null=True)),
                ("problem", models.TextField(blank=True, default="")),
                ("failed_count", models.PositiveIntegerField(default=0)),
                (
                    "connection",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="schema_watches", to="syncs.connection"
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("connection", "object_name"), name="schema_watch_once")],
            },
        ),
    ]
