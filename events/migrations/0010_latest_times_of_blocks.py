"""The latest time of each block of the feed. A new table; replays fill it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("events", "0009_endpoint_facts")]

    operations = [
        migrations.CreateModel(
            "Block",
            [
                (
                    "last",
                    models.PositiveBigIntegerField(primary_key=True, serialize=False),
                ),
                ("latest", models.DateTimeField()),
            ],
            {"ordering": ["last"]},
        ),
    ]
