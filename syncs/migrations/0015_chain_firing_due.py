from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("syncs", "0014_api")]

    operations = [
        migrations.AddIndex(
            model_name="chainfiring",
            index=models.Index(condition=models.Q(("outcome", "")), fields=["id"], name="chain_firing_due"),
        ),
    ]
