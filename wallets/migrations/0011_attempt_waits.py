"""An attempt stores how long ago it was sent, by elapsed time, which nobody can set.

It is NULL for existing attempts, and for those of the previous release's workers, which
still run: their time counts from the first look-up on.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("wallets", "0010_alarm_about_anything")]

    operations = [
        migrations.AddField(
            "attempt",
            "waits",
            models.JSONField(blank=True, default=None, editable=False, null=True),
        ),
    ]
