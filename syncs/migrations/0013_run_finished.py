from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("syncs", "0012_fill_periods")]

    operations = [
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=models.Q(("finished_at__isnull", False)), fields=["finished_at", "id"], name="run_finished"
            ),
        ),
    ]
