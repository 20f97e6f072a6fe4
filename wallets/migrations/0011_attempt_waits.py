"""An attempt knows how long ago it was sent by elapsed time, which nobody can set.

NULL for the attempts that there are, and for those of workers of the release before,
which still run: of them it is counted from the first look on.
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
