from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("dlq", "0002_workbench"),
    ]

    operations = [
        migrations.AddField(
            model_name="bulkoperation",
            name="ends_as",
            field=models.CharField(blank=True, default="", max_length=10),
        ),
        migrations.AddField(
            model_name="bulkoperation",
            name="halted_wave",
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="bulkoperation",
            name="waves",
            field=models.JSONField(blank=True, default=list),
        ),
        migrations.AlterField(
            model_name="bulkoperation",
            name="halt_percent",
            field=models.PositiveSmallIntegerField(default=100),
        ),
    ]
