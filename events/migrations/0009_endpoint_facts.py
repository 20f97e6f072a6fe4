"""Facts about endpoints. The previous release makes endpoints without these columns."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("events", "0008_withdrawal_returned")]

    operations = [
        migrations.AddField(
            "endpoint",
            "beginnings",
            models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            "endpoint",
            "unsigned_since",
            models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            "endpoint",
            "unsigned_times",
            models.PositiveSmallIntegerField(db_default=0, default=0),
        ),
    ]
